//! The primitives that can be measured, at the sizes they have in networks of 4-bit weights and 6-bit activations.

use clap::ValueEnum;
use eqo_checkpoints::cost::{Gate as Price, Group, MASK_BITS, packed_bytes};
use eqo_checkpoints::graph::{Conv, Output};
use eqo_checkpoints::winograd::Algorithm;
use eqo_protocol::Error;
use eqo_protocol::gates::Party;
use eqo_protocol::gates::and::{Factors, and};
use eqo_protocol::gates::convert::{bit_to_arithmetic, multiplex};
use eqo_protocol::gates::maximum::{negative, relu};
use eqo_protocol::gates::products::Products;
use eqo_protocol::gates::requantize::Requantization;
use eqo_protocol::gates::resize::{extend_known_msb, extend_signed, truncate_and_reduce};
use eqo_protocol::ot::{Correlation, CotShape, OtKind};

use super::pair::Part;
use crate::args::Ot;

/// Accumulator ring, output shift and activation bits.
const RING: u8 = 18;
const SHIFT: u8 = 9;
const ACT_BITS: u8 = 6;

/// What extensions go to, and the width of signs: those of published measurements.
const WIDE: u8 = 16;

/// Messages of a single COT.
const COT_BITS: u32 = 16;

/// Rows, columns and bits of the weights of a matrix product.
const SIDE: usize = 32;
const WEIGHT_BITS: u8 = 4;

/// What a party does before a gate's inputs are known; returns what it does afterwards. Both parties get the same one.
pub(super) type Gate = Box<dyn Fn(&mut Party<'_>) -> Result<Online, Error> + Sync>;

/// What a party does once a gate's inputs are known.
pub(super) type Online = Box<dyn FnOnce(&mut Party<'_>) -> Result<(), Error>>;

/// Something to measure.
pub(super) struct Primitive {
    pub(super) name: String,
    /// Bits of an element.
    pub(super) bits: u32,
    /// Elements at once.
    pub(super) elements: usize,
    /// What makes the random OTs.
    pub(super) ot: OtKind,
    /// Random OTs to prepare with the server and with the client as their sender; at least what the gate needs.
    pub(super) ots: [usize; 2],
    /// The part of a run that it is.
    pub(super) part: Part,
    pub(super) gate: Gate,
}

/// All primitives, `n` elements each, the gates on random OTs of `ot`.
pub(super) fn catalogue(n: usize, ot: Ot) -> Vec<Primitive> {
    let kind = ot.kind();
    let gate = |(name, bits, ots, gate): (&str, u32, [usize; 2], Gate)| Primitive {
        name: name.to_owned(),
        bits,
        elements: n,
        ot: kind,
        ots,
        part: Part::Gate,
        gate,
    };
    let gates = simple(n).into_iter().chain(compared(n)).chain([prepared_and(n), prepared_requantize(n)]);
    [base_ot()].into_iter().chain(random_ots(n)).chain(gates.map(gate)).chain([matmul(n, kind)]).collect()
}

/// Whatever number of elements is asked for: a session needs 128 in each direction.
fn base_ot() -> Primitive {
    Primitive {
        name: "base-ot".to_owned(),
        bits: 128,
        elements: 256,
        ot: OtKind::SoftSpoken1,
        ots: [0, 0],
        part: Part::Setup,
        gate: online(|_| Ok(())),
    }
}

/// One for each value of `--ot`.
fn random_ots(n: usize) -> impl Iterator<Item = Primitive> {
    Ot::value_variants().iter().map(move |&ot| Primitive {
        name: format!("random-ot-{}", ot_name(ot)),
        bits: 128,
        elements: n,
        ot: ot.kind(),
        ots: [n, 0],
        part: Part::Extension,
        gate: online(|_| Ok(())),
    })
}

/// Name, bits, random OTs by sender (server, client), and what is done.
type Entry = (&'static str, u32, [usize; 2], Gate);

/// Gates of a COT or two for each element.
fn simple(n: usize) -> [Entry; 4] {
    let (wide, narrow) = (u32::from(WIDE), u32::from(ACT_BITS) + 1);
    [
        ("cot", COT_BITS, [n, 0], online(move |party| cot(party, n))),
        (
            "bit-to-ring",
            narrow,
            [n, 0],
            online(move |party| bit_to_arithmetic(party, &bits(n), narrow).map(drop)),
        ),
        (
            "multiplex",
            narrow,
            [n, n],
            online(move |party| multiplex(party, &bits(n), &shares(n), narrow).map(drop)),
        ),
        (
            "extend-known-msb",
            wide,
            [n, 0],
            online(move |party| extend_known_msb(party, (narrow, wide), &reduced(n, ACT_BITS + 1)).map(drop)),
        ),
    ]
}

/// Gates with a comparison tree.
fn compared(n: usize) -> [Entry; 4] {
    let (ring, wide, count) = (u32::from(RING), u32::from(WIDE), n as u64);
    let narrow = ACT_BITS + 1;
    let ots = |price: Price| {
        let ots = price.ots();
        [ots.server_sends as usize, ots.client_sends as usize]
    };
    [
        (
            "sign",
            wide,
            ots(Price::sign(count, WIDE)),
            online(move |party| negative(party, wide, &reduced(n, WIDE)).map(drop)),
        ),
        (
            "extend-signed",
            wide,
            ots(Price::extend_signed(&[(narrow, count)], WIDE)),
            online(move |party| {
                extend_signed(party, (&[(narrow.into(), n)], wide), &reduced(n, narrow)).map(drop)
            }),
        ),
        (
            "truncate",
            ring,
            ots(Price::truncate_and_reduce(count, RING, SHIFT)),
            online(move |party| {
                truncate_and_reduce(party, (ring, SHIFT.into()), &reduced(n, RING)).map(drop)
            }),
        ),
        (
            "relu",
            wide,
            ots(Price::relu(count, WIDE)),
            online(move |party| relu(party, wide, &reduced(n, WIDE)).map(drop)),
        ),
    ]
}

/// With its triples made before its inputs are known.
fn prepared_and(n: usize) -> Entry {
    let gate = move |party: &mut Party<'_>| -> Result<Online, Error> {
        let triples = party.ots.bit_triples(n)?;
        Ok(Box::new(move |party| {
            let y = bits(n).into_iter().map(u8::from).collect();
            and(party, triples, &Factors { x: bits(n), y, pairs: 0 }).map(drop)
        }))
    };
    ("and", 1, [n, n], Box::new(gate))
}

/// The network's nonlinearity, whose client share is known before the image.
fn prepared_requantize(n: usize) -> Entry {
    let gate = move |party: &mut Party<'_>| -> Result<Online, Error> {
        let gate = Requantization::new(vec![group()], ACT_BITS, n, RING);
        if party.is_server() {
            let drawn = gate.server_draw(party)?;
            let offered = gate.server_offer(party, drawn)?;
            let prepared = gate.server_correct(party, offered)?;
            return Ok(Box::new(move |party| gate.server_run(party, prepared, &reduced(n, RING)).map(drop)));
        }
        let drawn = gate.client_draw(party)?;
        let chosen = gate.client_choose(party, drawn, &reduced(n, RING))?;
        let prepared = gate.client_correct(party, chosen)?;
        Ok(Box::new(move |party| gate.client_run(party, prepared).map(drop)))
    };
    let tree = group().comparison(ACT_BITS);
    // A triple for the masks and for each joint AND, a wrap, and one OT for the product that the client corrects.
    let triples = 1 + tree.joints.len();
    let server = triples + tree.leaf_ots() + MASK_BITS as usize + 1;
    ("requantize", RING.into(), [n * server, n * (triples + 1)], Box::new(gate))
}

/// A gate with nothing to do before its inputs are known but to have its random OTs.
fn online<F>(gate: F) -> Gate
where
    F: Fn(&mut Party<'_>) -> Result<(), Error> + Clone + Sync + 'static,
{
    Box::new(move |_| Ok(Box::new(gate.clone())))
}

/// What `--ot` calls it.
pub(super) fn ot_name(ot: Ot) -> String {
    ot.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// Products of a 32x32 matrix with as many columns as give `n` of them; all of it happens before the image is known.
fn matmul(n: usize, ot: OtKind) -> Primitive {
    let columns = n.div_ceil(SIDE * SIDE);
    let gate = move |party: &mut Party<'_>| -> Result<Online, Error> {
        let conv = matrix();
        let products = Products::new(&conv, columns);
        if party.is_server() {
            let half = 1 << (WEIGHT_BITS - 1);
            let codes: Vec<i8> = (0..SIDE * SIDE).map(|index| (index * 7 % 16) as i8 - half).collect();
            let drawn = products.server_draw(party, &codes)?;
            products.server(party, drawn)?;
        } else {
            let drawn = products.client_draw(party)?;
            products.client(party, drawn, &reduced(SIDE * columns, RING))?;
        }
        Ok(Box::new(|_| Ok(())))
    };
    Primitive {
        name: "matmul".to_owned(),
        bits: RING.into(),
        elements: SIDE * SIDE * columns,
        ot,
        ots: [0, SIDE * SIDE * usize::from(WEIGHT_BITS)],
        part: Part::Gate,
        gate: Box::new(gate),
    }
}

/// A matrix as a pointwise convolution.
fn matrix() -> Conv {
    Conv {
        input: 0,
        in_channels: SIDE,
        out_channels: SIDE,
        kernel: 1,
        stride: 1,
        padding: 0,
        algorithm: Algorithm::Direct,
        weight_exponents: vec![(0..WEIGHT_BITS).collect()],
        weight_offset: 0,
        tap_shifts: vec![vec![0; SIDE]],
        shortcut: None,
        ring_bits: vec![RING; SIDE],
        output: Output::Accumulator,
    }
}

fn group() -> Group {
    Group { ring: RING, shift: SHIFT, channels: vec![0] }
}

fn cot(party: &mut Party<'_>, n: usize) -> Result<(), Error> {
    if party.is_server() {
        let flips = party.channel.recv(packed_bytes(n as u64) as usize)?;
        let offered = party.ots.offer(n, &flips)?;
        let values = shares(n);
        let correlation = |ot: usize| Correlation { values: &values[ot..=ot], bits: COT_BITS };
        return party.ots.cot_send(party.channel, offered, correlation, keep);
    }
    let (chosen, flips) = party.ots.choose(bits(n))?;
    party.channel.send(flips)?;
    party.ots.cot_recv(party.channel, chosen, |_| CotShape { lanes: 1, bits: COT_BITS }, keep)
}

/// Keeps the compiler from leaving out the work that made a share.
fn keep(_: usize, share: &[u64]) {
    std::hint::black_box(share);
}

/// Any values do: what a gate sends and computes doesn't depend on them.
fn shares(n: usize) -> Vec<u64> {
    (0..n as u64).map(|index| index.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect()
}

fn reduced(n: usize, ring_bits: u8) -> Vec<u64> {
    shares(n).into_iter().map(|share| share >> (64 - ring_bits)).collect()
}

fn bits(n: usize) -> Vec<bool> {
    shares(n).into_iter().map(|share| share >> 63 == 1).collect()
}
