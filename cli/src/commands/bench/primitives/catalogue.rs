//! The primitives that can be measured, at the sizes they have in networks of 4-bit weights and 6-bit activations.

use clap::ValueEnum;
use eqo_checkpoints::cost::Group;
use eqo_checkpoints::graph::{Conv, Output};
use eqo_checkpoints::winograd::Algorithm;
use eqo_protocol::Error;
use eqo_protocol::gates::Party;
use eqo_protocol::gates::and::and;
use eqo_protocol::gates::compare::{Section, compare};
use eqo_protocol::gates::convert::bit_to_arithmetic;
use eqo_protocol::gates::extend::extend;
use eqo_protocol::gates::matmul::Products;
use eqo_protocol::gates::multiplex::multiplex;
use eqo_protocol::gates::requantize::requantize;
use eqo_protocol::ot::OtKind;

use super::pair::Part;
use crate::args::Ot;

/// Accumulator ring, output shift and activation bits.
const RING: u8 = 18;
const SHIFT: u8 = 9;
const ACT_BITS: u8 = 6;

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
    [base_ot()].into_iter().chain(random_ots(n)).chain(gates(n, kind)).chain([matmul(n, kind)]).collect()
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

fn gates(n: usize, ot: OtKind) -> Vec<Primitive> {
    let tree = group().comparison(ACT_BITS);
    let compared = [tree.leaf_ots() + tree.ands(), tree.ands()];
    let requantized = [compared[0] + 3, compared[1] + 2];
    let (ring, narrow) = (u32::from(RING), u32::from(ACT_BITS) + 1);
    let gates: [(&str, u32, [usize; 2], Gate); 7] = [
        ("cot", COT_BITS, [1, 0], online(move |party| cot(party, n))),
        ("and", 1, [1, 1], online(move |party| and(party, &bits(n), &bits(n)).map(drop))),
        (
            "bit-to-ring",
            narrow,
            [1, 0],
            online(move |party| bit_to_arithmetic(party, &bits(n), narrow).map(drop)),
        ),
        (
            "multiplex",
            narrow,
            [1, 1],
            online(move |party| multiplex(party, &bits(n), &shares(n), narrow).map(drop)),
        ),
        (
            "extend",
            ring,
            [1, 0],
            online(move |party| extend(party, ACT_BITS, RING, reduced(n, ACT_BITS + 1)).map(drop)),
        ),
        ("compare", ring, compared, online(move |party| compare_all(party, n))),
        (
            "requantize",
            ring,
            requantized,
            online(move |party| requantize(party, &[group()], ACT_BITS, n, reduced(n, RING)).map(drop)),
        ),
    ];
    let primitive = |(name, bits, ots, gate): (&str, u32, [usize; 2], Gate)| Primitive {
        name: name.to_owned(),
        bits,
        elements: n,
        ot,
        ots: ots.map(|each| each * n),
        part: Part::Gate,
        gate,
    };
    gates.into_iter().map(primitive).collect()
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

/// Products of a 32x32 matrix with as many columns as give `n` of them.
fn matmul(n: usize, ot: OtKind) -> Primitive {
    let columns = n.div_ceil(SIDE * SIDE);
    let gate = move |party: &mut Party<'_>| {
        let conv = matrix();
        let products = Products { conv: &conv, lanes: columns };
        let rows = reduced(SIDE * columns, RING);
        let half = 1 << (WEIGHT_BITS - 1);
        let codes: Vec<i8> = (0..SIDE * SIDE).map(|index| (index * 7 % 16) as i8 - half).collect();
        if party.is_server() { products.server(party, &codes, &rows) } else { products.client(party, &rows) }
            .map(drop)
    };
    Primitive {
        name: "matmul".to_owned(),
        bits: RING.into(),
        elements: SIDE * SIDE * columns,
        ot,
        ots: [0, SIDE * SIDE * usize::from(WEIGHT_BITS)],
        part: Part::Gate,
        gate: online(gate),
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
        party.ots.cot_send_scalars(party.channel, &shares(n), |_| COT_BITS).map(drop)
    } else {
        party.ots.cot_recv_scalars(party.channel, &bits(n), |_| COT_BITS).map(drop)
    }
}

fn compare_all(party: &mut Party<'_>, n: usize) -> Result<(), Error> {
    let section =
        Section { comparison: group().comparison(ACT_BITS), elements: n, saturation_bit: SHIFT + ACT_BITS };
    compare(party, &[section], &reduced(n, RING)).map(drop)
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
