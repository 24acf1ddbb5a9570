//! The leaves of a comparison: one 1-of-2^n OT for each digit of each element.

use eqo_checkpoints::cost::{Digit, Leaf};
use rand::Rng;
use zeroize::Zeroizing;

use super::Section;
use crate::Error;
use crate::gates::Party;
use crate::ot::{ChosenOts, OfferedOts, OneOfN, Ots};
use crate::ring::pack::{BitReader, BitWriter, packed_bytes};

/// The server's pads of all leaves, as they lie in its message.
pub struct OfferedLeaves(Zeroizing<Vec<u8>>);

/// The client's leaves: of each its digit (low four bits) and the pad of that message (high four bits).
pub struct ChosenLeaves(Zeroizing<Vec<u8>>);

/// Random OTs that the leaves take, all sent by the server: one for each bit that is compared.
pub fn leaf_ots(sections: &[Section]) -> usize {
    sections.iter().map(|section| section.elements * section.comparison.leaf_ots()).sum()
}

/// The bits by which the client with these shares chooses in the leaves' OTs.
pub fn leaf_choices(sections: &[Section], shares: &[u64]) -> Vec<bool> {
    let mut choices = Vec::with_capacity(leaf_ots(sections));
    for (_, digit, shares) in digits(sections, shares) {
        for share in shares {
            choices.extend((0..digit.bits).map(|bit| share >> (digit.offset + bit) & 1 == 1));
        }
    }
    choices
}

impl OfferedLeaves {
    /// Makes the pads.
    ///
    /// # Errors
    /// [`Error::Config`] for another number of OTs than [`leaf_ots`].
    pub fn new(ots: &mut Ots, offered: OfferedOts, sections: &[Section]) -> Result<Self, Error> {
        let mut pads = BitWriter::with_capacity(message_bits(sections));
        ots.offered_messages(offered, &runs(sections), |run, words| pads.put_all(words, run.width()))?;
        Ok(Self(Zeroizing::new(pads.finish())))
    }

    /// The server's shares of the leaves: random; sends the messages that give the client the rest.
    ///
    /// # Errors
    /// Those of the channel.
    pub fn send(
        self,
        party: &mut Party,
        sections: &[Section],
        shares: &[u64],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut masks = Zeroizing::new(vec![0; runs(sections).iter().map(|run| run.count).sum()]);
        party.rng.fill_bytes(&mut masks);
        let mut messages = BitWriter::with_capacity(message_bits(sections));
        let mut words = Vec::new();
        let mut rest = masks.as_slice();
        for (section, digit, shares) in digits(sections, shares) {
            let (own, tail) = rest.split_at(section.elements);
            rest = tail;
            let table = Table::new(*digit);
            let shift = if digit.leaf == Leaf::Double { 1 << section.saturation_bit } else { 0 };
            let word = |(share, mask): (&u64, &u8)| table.word([*share, share.wrapping_sub(shift)], *mask);
            words.clear();
            words.extend(shares.iter().zip(own).map(word));
            messages.put_all(&words, table.width);
        }
        let mut message = messages.finish();
        message.iter_mut().zip(self.0.iter()).for_each(|(byte, pad)| *byte ^= pad);
        party.channel.send(message)?;
        Ok(masks)
    }
}

impl ChosenLeaves {
    /// Makes the pads of the chosen messages.
    ///
    /// # Errors
    /// [`Error::Config`] for another number of OTs than [`leaf_ots`].
    pub fn new(ots: &mut Ots, chosen: ChosenOts, sections: &[Section]) -> Result<Self, Error> {
        let runs = runs(sections);
        let mut leaves = Vec::with_capacity(runs.iter().map(|run| run.count).sum());
        let mut bits = chosen.choices();
        for run in &runs {
            let (own, rest) = bits.split_at(run.count * run.digit_bits as usize);
            bits = rest;
            let digit = |bits: &[bool]| bits.iter().rev().fold(0, |digit, bit| digit << 1 | u8::from(*bit));
            leaves.extend(own.chunks_exact(run.digit_bits as usize).map(digit));
        }
        let pads = ots.chosen_messages(chosen, &runs)?;
        leaves.iter_mut().zip(pads).for_each(|(leaf, pad)| *leaf |= pad << 4);
        Ok(Self(Zeroizing::new(leaves)))
    }

    /// The client's shares of the leaves: receives the messages and opens those of its digits.
    ///
    /// # Errors
    /// Those of the channel.
    pub fn recv(self, party: &mut Party, sections: &[Section]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut leaves = self.0;
        let message = party.channel.recv(packed_bytes(message_bits(sections)) as usize)?;
        let mut messages = BitReader::new(&message);
        let mut words = Vec::new();
        let mut rest = leaves.as_mut_slice();
        for run in runs(sections) {
            let (own, tail) = rest.split_at_mut(run.count);
            rest = tail;
            words.resize(run.count, 0);
            messages.get_all(&mut words, run.width());
            for (leaf, word) in own.iter_mut().zip(&words) {
                let opened = word >> (u32::from(*leaf & 15) * run.message_bits);
                *leaf = (opened as u8 ^ *leaf >> 4) & (u8::MAX >> (8 - run.message_bits));
            }
        }
        Ok(leaves)
    }
}

/// The messages of a leaf as a word: that for the client's digit c takes the `bits` bits from `c * bits` on.
struct Table {
    digit: Digit,
    /// `(lt, eq)` against every c, for each digit of the server.
    pairs: [u64; 16],
    /// A one at the lowest bit of each message.
    ones: u64,
    used: u8,
    width: u32,
}

impl Table {
    fn new(digit: Digit) -> Self {
        let bits = digit.leaf.message_bits() as u32;
        let used = u8::MAX >> (8 - bits);
        let spread = |own: u64| {
            let pair = |their: u64| u64::from(own < their) | u64::from(own == their) << 1;
            (0..1 << digit.bits).map(|their| (pair(their) & u64::from(used)) << (their as u32 * bits)).sum()
        };
        let ones = (0..1 << digit.bits).map(|their: u32| 1 << (their * bits)).sum();
        Self {
            digit,
            pairs: std::array::from_fn(|own| spread(own as u64)),
            ones,
            used,
            width: bits << digit.bits,
        }
    }

    /// The masked messages against the server's share and its shifted share, which only double leaves use.
    fn word(&self, shares: [u64; 2], mask: u8) -> u64 {
        let digits = shares.map(|share| self.pairs[usize::from(cut(!share, self.digit))]);
        let pairs = if self.digit.leaf == Leaf::Double { digits[0] | digits[1] << 2 } else { digits[0] };
        pairs ^ self.ones.wrapping_mul(u64::from(mask & self.used))
    }
}

/// How many leaves and of which sizes, in protocol order.
fn runs(sections: &[Section]) -> Vec<OneOfN> {
    let run = |section: &Section, digit: &Digit| OneOfN {
        count: section.elements,
        digit_bits: u32::from(digit.bits),
        message_bits: digit.leaf.message_bits() as u32,
    };
    sections
        .iter()
        .flat_map(|section| section.comparison.digits.iter().map(move |digit| run(section, digit)))
        .collect()
}

fn message_bits(sections: &[Section]) -> u64 {
    sections.iter().map(|section| (section.elements * section.comparison.leaf_message_bits()) as u64).sum()
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
    (share >> digit.offset) as u8 & ((1 << digit.bits) - 1)
}
