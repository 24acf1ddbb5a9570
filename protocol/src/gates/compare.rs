//! `<carry>, <sign>, <saturation> <- Compare([y])`: the three carries a requantization needs, by one comparison tree.
//!
//! For shares `u + v` in Z_{2^l} the carry out of a segment of bits is `[2^q − 1 − u < v]` on that segment, so carries
//! are the millionaires' problem between the server's complemented bits and the client's (CrypTFlow2, eprint 2020/1002,
//! §3.1). [`Comparison`] says which digits and merges; all groups run in the same flights.
//!
//! *Leaves*: for each digit the server draws random bits and sends, for every value c of the client's digit,
//! `(x < c, x = c)` masked by them in a 1-of-2^n OT; the random bits are its shares, what the client receives is the
//! client's. The top digits carry the pair of `y` and that of `y − 2^(a+s)` in one message, since the client's digit is the same.
//! *Merges*: `(lt_h ⊕ eq_h·lt_l, eq_h·eq_l)` by [`and`](super::and), all merges of a level in one exchange. XOR is right for
//! the sum because `lt_h` and `eq_h` exclude each other.
//!
//! *Privacy*: the client learns one message of each OT, masked by bits it doesn't know; the server learns nothing from OT.
//! *Range*: any y. *Cost*: [`eqo_checkpoints::cost`]; 2 rounds for the leaves, one for each level.

use eqo_checkpoints::cost::{Comparison, Digit, Leaf, Merge};
use rand::Rng;

use super::Party;
use super::and::and;
use crate::Error;
use crate::ot::OneOfN;

/// Elements that are compared alike.
pub struct Section {
    /// The tree.
    pub comparison: Comparison,
    /// How many elements.
    pub elements: usize,
    /// `s + a`: saturation subtracts 2 to this power.
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

/// Compares the shares of all sections, which follow each other in `shares`.
///
/// # Errors
/// Those of the channel and of an empty stock of OTs.
pub fn compare(party: &mut Party, sections: &[Section], shares: &[u64]) -> Result<Carries, Error> {
    let mut wires = leaves(party, sections, shares)?;
    let levels = sections.iter().map(|section| section.comparison.levels()).max().unwrap_or(0);
    for level in 0..levels {
        merge_level(party, sections, &mut wires, level)?;
    }
    let collect = |wire: fn(&Comparison) -> usize| {
        let pick = |(section, wires): (&Section, &Vec<Wire>)| wires[wire(&section.comparison)].clone();
        sections.iter().zip(&wires).flat_map(pick).map(|pair| pair & LT == LT).collect()
    };
    Ok(Carries {
        carry: collect(|tree| tree.carry),
        sign: collect(|tree| tree.sign),
        saturation: collect(|tree| tree.saturation),
    })
}

/// Shares of `lt` (bit 0) and `eq` (bit 1) for each element of a section.
type Wire = Vec<u8>;

const LT: u8 = 1;
const EQ: u8 = 2;

/// The wires of every section with their leaves filled.
fn leaves(party: &mut Party, sections: &[Section], shares: &[u64]) -> Result<Vec<Vec<Wire>>, Error> {
    let runs: Vec<OneOfN> = sections
        .iter()
        .flat_map(|section| {
            section.comparison.digits.iter().map(|digit| OneOfN {
                count: section.elements,
                digit_bits: u32::from(digit.bits),
                message_bits: digit.leaf.message_bits() as u32,
            })
        })
        .collect();
    let leaves = if party.is_server() {
        offer_leaves(party, sections, shares, &runs)?
    } else {
        choose_leaves(party, sections, shares, &runs)?
    };
    let mut rest = leaves.as_slice();
    let mut wires = Vec::with_capacity(sections.len());
    for section in sections {
        let mut filled: Vec<Wire> = vec![Vec::new(); section.comparison.wires];
        for digit in &section.comparison.digits {
            let (leaf, tail) = rest.split_at(section.elements);
            rest = tail;
            filled[digit.wire] = leaf.to_vec();
            if digit.leaf == Leaf::Double {
                filled[digit.wire + 1] = leaf.iter().map(|pairs| pairs >> 2).collect();
            }
        }
        wires.push(filled);
    }
    Ok(wires)
}

/// The server's side of the leaves: random shares, and the OT messages that give the client the rest.
fn offer_leaves(
    party: &mut Party,
    sections: &[Section],
    shares: &[u64],
    runs: &[OneOfN],
) -> Result<Vec<u8>, Error> {
    let mut mine = vec![0; runs.iter().map(|run| run.count).sum()];
    party.rng.fill_bytes(&mut mine);
    let mut messages = Vec::with_capacity(runs.iter().map(|run| run.count << run.digit_bits).sum());
    let mut masks = mine.as_slice();
    for (section, digit, shares) in digits(sections, shares) {
        let (own, tail) = masks.split_at(section.elements);
        masks = tail;
        for (&share, &mask) in shares.iter().zip(own) {
            let shifted = share.wrapping_sub(1 << section.saturation_bit);
            offer(&mut messages, *digit, [share, shifted], mask);
        }
    }
    party.ots.one_of_n_send(party.channel, runs, &messages)?;
    Ok(mine)
}

/// The masked messages of one leaf, one for every value of the client's digit.
fn offer(messages: &mut Vec<u8>, digit: Digit, shares: [u64; 2], mask: u8) {
    let [plain, shifted] = shares.map(|share| !cut(share, digit) & (digit_mask(digit)));
    let pair = |own: u8, their: u8| u8::from(own < their) | u8::from(own == their) << 1;
    messages.extend((0..1 << digit.bits).map(|their| pair(plain, their) | pair(shifted, their) << 2).map(
        |pairs| {
            let used = (1_u8 << digit.leaf.message_bits()) - 1;
            (pairs ^ mask) & used
        },
    ));
}

/// The client's side of the leaves: its digits choose.
fn choose_leaves(
    party: &mut Party,
    sections: &[Section],
    shares: &[u64],
    runs: &[OneOfN],
) -> Result<Vec<u8>, Error> {
    let mut choices = Vec::with_capacity(runs.iter().map(|run| run.count).sum());
    for (_, digit, shares) in digits(sections, shares) {
        choices.extend(shares.iter().map(|&share| cut(share, *digit)));
    }
    party.ots.one_of_n_recv(party.channel, runs, &choices)
}

/// Every digit of every section with the section's shares, in the order of the leaves.
fn digits<'s>(
    sections: &'s [Section],
    shares: &'s [u64],
) -> impl Iterator<Item = (&'s Section, &'s Digit, &'s [u64])> {
    let mut rest = shares;
    sections.iter().flat_map(move |section| {
        let (own, tail) = rest.split_at(section.elements);
        rest = tail;
        section.comparison.digits.iter().map(move |digit| (section, digit, own))
    })
}

fn cut(share: u64, digit: Digit) -> u8 {
    (share >> digit.offset) as u8 & digit_mask(digit)
}

fn digit_mask(digit: Digit) -> u8 {
    (1 << digit.bits) - 1
}

/// All merges of one level of all sections: one exchange.
fn merge_level(
    party: &mut Party,
    sections: &[Section],
    wires: &mut [Vec<Wire>],
    level: usize,
) -> Result<(), Error> {
    let at_level = |section: &Section| -> Vec<Merge> {
        section.comparison.merges.iter().filter(|merge| merge.level == level).copied().collect()
    };
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for (section, wires) in sections.iter().zip(wires.iter()) {
        for merge in at_level(section) {
            for bit in [LT, EQ].into_iter().take(merge.ands()) {
                x.extend(wires[merge.high].iter().map(|pair| pair & EQ != 0));
                y.extend(wires[merge.low].iter().map(|pair| pair & bit != 0));
            }
        }
    }
    let products = and(party, &x, &y)?;
    let mut rest = products.as_slice();
    for (section, wires) in sections.iter().zip(wires) {
        for merge in at_level(section) {
            let (lt, tail) = rest.split_at(section.elements);
            let (eq, tail) = tail.split_at(if merge.with_eq { section.elements } else { 0 });
            rest = tail;
            let mut out: Wire =
                wires[merge.high].iter().zip(lt).map(|(high, &lt)| (high & LT) ^ u8::from(lt)).collect();
            out.iter_mut().zip(eq).for_each(|(out, &eq)| *out |= u8::from(eq) << 1);
            wires[merge.out] = out;
        }
    }
    Ok(())
}
