//! `<carries> <- Compare([y])`: carries of the addition of two shares, by one tree of 1-of-2^n OTs and ANDs.
//!
//! For shares `u + v` in Z_{2^l} the carry out of a segment of bits is `[2^q − 1 − u < v]` on that segment, so carries
//! are the millionaires' problem between the server's complemented bits and the client's (CrypTFlow2, eprint 2020/1002,
//! §3.1). [`Comparison`] says which digits and ANDs; all sections run in the same flights.
//!
//! *Leaves*: for each digit the server draws random bits and sends, for every value c of the client's digit,
//! `(x < c, x = c)` masked by them and by the pads of a 1-of-2^n OT; the random bits are its shares, what the client opens is the
//! client's. The top digits carry the pair of `y` and that of `y − 2^(a+s)` in one message, since the client's digit is the same.
//! *Merges*: `(lt_h ⊕ eq_h·lt_l, eq_h·eq_l)` by [`and`](super::and), all merges of a level in one exchange. XOR is right for
//! the sum because `lt_h` and `eq_h` exclude each other.
//!
//! The client's choices can be sent as soon as it knows its share, which in a network is before any image exists.
//!
//! *Privacy*: the client can open one message of each OT, masked by bits it doesn't know; the server receives masked choices
//! only. *Range*: any y. *Cost*: [`eqo_checkpoints::cost`]; 1 round for the leaves (2 if the choices are sent
//! then), one for each level.

mod leaves;

use eqo_checkpoints::cost::{Comparison, Joint};

pub use leaves::{ChosenLeaves, OfferedLeaves, leaf_choices, leaf_ots};

use super::and::{Factors, and};
use super::{Party, span};
use crate::Error;
use crate::ot::{BitTriples, Ots};
use crate::ring::pack::packed_bytes;

/// Elements that are compared alike.
pub struct Section {
    /// The tree.
    pub comparison: Comparison,
    /// How many elements.
    pub elements: usize,
    /// `s + a`: saturation subtracts 2 to this power. Only trees with double leaves use it.
    pub saturation_bit: u8,
}

/// XOR shares of carries of `y + server constant`, one of each kind for every element.
pub struct Carries {
    /// Out of the low s bits.
    pub carry: Vec<bool>,
    /// Into the sign bit.
    pub sign: Vec<bool>,
    /// Into the sign bit of `y − 2^(a+s)`.
    pub saturation: Vec<bool>,
}

/// Takes the triples of all levels out of the stock.
///
/// # Errors
/// [`Error::Exhausted`].
pub fn triples(ots: &mut Ots, sections: &[Section]) -> Result<Vec<BitTriples>, Error> {
    let count = |level| {
        let joints = |section: &Section| {
            section.elements * section.comparison.joints.iter().filter(|joint| joint.level == level).count()
        };
        sections.iter().map(joints).sum()
    };
    (0..levels(sections)).map(|level| ots.bit_triples(count(level))).collect()
}

/// The carries of [`Comparison::carry`] of shares that the client didn't know before: leaves, choices included, and merges.
///
/// # Errors
/// [`Error::Exhausted`]; those of the channel.
pub fn carry(party: &mut Party, sections: &[Section], shares: &[u64]) -> Result<Vec<bool>, Error> {
    let _span = span("compare");
    let triples = triples(party.ots, sections)?;
    let leaves = if party.is_server() {
        let count = leaf_ots(sections);
        let flips = party.channel.recv(packed_bytes(count as u64) as usize)?;
        let offered = party.ots.offer(count, &flips)?;
        OfferedLeaves::new(party.ots, offered, sections)?.send(party, sections, shares)?
    } else {
        let (chosen, flips) = party.ots.choose(leaf_choices(sections, shares))?;
        party.channel.send(flips)?;
        ChosenLeaves::new(party.ots, chosen, sections)?.recv(party, sections)?
    };
    Ok(merge(party, sections, &leaves, triples)?.carry)
}

/// Merges the leaves of all sections.
///
/// # Errors
/// Those of the channel.
pub fn merge(
    party: &mut Party,
    sections: &[Section],
    leaves: &[u8],
    triples: Vec<BitTriples>,
) -> Result<Carries, Error> {
    let mut wires = to_wires(sections, leaves);
    for (level, triples) in triples.into_iter().enumerate() {
        merge_level(party, sections, &mut wires, (level, triples))?;
    }
    let gather = |wire: fn(&Comparison) -> usize| {
        let own = |(section, wires): (&Section, &Wires)| wires[wire(&section.comparison)].clone();
        sections.iter().zip(&wires).flat_map(own).collect()
    };
    Ok(Carries {
        carry: gather(|tree| tree.carry),
        sign: gather(|tree| tree.sign),
        saturation: gather(|tree| tree.saturation),
    })
}

/// For each wire of a section, a share for each element.
type Wires = Vec<Vec<bool>>;

/// The wires of every section with those of its leaves filled.
fn to_wires(sections: &[Section], leaves: &[u8]) -> Vec<Wires> {
    let mut rest = leaves;
    let fill = |section: &Section| {
        let mut wires = vec![Vec::new(); section.comparison.wires];
        for digit in &section.comparison.digits {
            let (own, tail) = rest.split_at(section.elements);
            rest = tail;
            for bit in 0..digit.leaf.message_bits() {
                wires[digit.wire + bit] = own.iter().map(|leaf| leaf >> bit & 1 == 1).collect();
            }
        }
        wires
    };
    sections.iter().map(fill).collect()
}

/// All ANDs of one level of all sections: one exchange. Pairs come first.
fn merge_level(
    party: &mut Party,
    sections: &[Section],
    wires: &mut [Wires],
    (level, triples): (usize, BitTriples),
) -> Result<(), Error> {
    let mut factors = Factors::default();
    for terms in [2, 1] {
        for (section, wires) in sections.iter().zip(wires.iter()) {
            for joint in section.comparison.joints_at(level, terms) {
                factors.x.extend_from_slice(&wires[joint.factor]);
                factors.y.extend(others(joint, wires, section.elements));
            }
        }
        if terms == 2 {
            factors.pairs = factors.x.len();
        }
    }
    let products = and(party, triples, &factors)?;
    let mut rest = products.as_slice();
    for terms in [2, 1] {
        for (section, wires) in sections.iter().zip(wires.iter_mut()) {
            for joint in section.comparison.joints_at(level, terms) {
                let (own, tail) = rest.split_at(section.elements);
                rest = tail;
                for (bit, term) in joint.terms.iter().enumerate() {
                    let product = own.iter().map(|product| product >> bit & 1 == 1);
                    wires[term.out] = match term.add {
                        Some(add) => product.zip(&wires[add]).map(|(product, add)| product ^ add).collect(),
                        None => product.collect(),
                    };
                }
            }
        }
    }
    Ok(())
}

fn others<'w>(joint: &'w Joint, wires: &'w Wires, elements: usize) -> impl Iterator<Item = u8> + 'w {
    (0..elements).map(move |i| {
        let terms = joint.terms.iter().enumerate();
        terms.fold(0, |bits, (bit, term)| bits | u8::from(wires[term.other][i]) << bit)
    })
}

fn levels(sections: &[Section]) -> usize {
    sections.iter().map(|section| section.comparison.levels()).max().unwrap_or(0)
}
