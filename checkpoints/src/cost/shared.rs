//! Gates for shares that neither party knew before: what they send, once random OTs are there. They compose
//! what a network's last step needs when it reveals a class only, and what people measure alone.

use super::comparison::Comparison;
use super::ledger::{Flow, Ledger, Ots, Scope, Sender};
use super::wire::packed_bytes;
use crate::graph::Conv;

/// A gate on shares; widths in bits, counts in elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// XOR shares of one carry of each element; the number of elements of each tree.
    Carry(Vec<(Comparison, u64)>),
    /// Shared bits to Z_{2^ring}.
    Convert {
        /// Elements.
        count: u64,
        /// w; free for 1.
        ring: u64,
    },
    /// Products of a shared bit and a shared element of Z_{2^ring}.
    Multiplex {
        /// Elements.
        count: u64,
        /// Width of the elements.
        ring: u64,
    },
    /// Elements with a known top bit to a wider ring.
    ExtendKnownMsb {
        /// Elements.
        count: u64,
        /// Width before.
        from: u64,
        /// Width after.
        to: u64,
    },
    /// Several gates, one after the other.
    Sequence(Vec<Gate>),
}

impl Gate {
    /// Signs of signed elements of Z_{2^ring}.
    pub fn sign(count: u64, ring: u8) -> Self {
        Self::Carry(vec![(Comparison::carry_only(ring - 1), count)])
    }

    /// `max(x, 0)`.
    pub fn relu(count: u64, ring: u8) -> Self {
        Self::Sequence(vec![Self::sign(count, ring), Self::Multiplex { count, ring: u64::from(ring) }])
    }

    /// Signed elements to Z_{2^to}: `from` lists widths and how many elements have them.
    pub fn extend_signed(from: &[(u8, u64)], to: u8) -> Self {
        let trees = from.iter().map(|&(bits, count)| (Comparison::carry_only(bits), count)).collect();
        let count = from.iter().map(|(_, count)| count).sum();
        let narrowest = from.iter().map(|(bits, _)| *bits).min().unwrap_or(to);
        let convert = Self::Convert { count, ring: u64::from(to - narrowest) };
        Self::Sequence(vec![Self::Carry(trees), convert])
    }

    /// `x >> shift` in Z_{2^(ring − shift)}.
    pub fn truncate_and_reduce(count: u64, ring: u8, shift: u8) -> Self {
        let carry = Self::Carry(vec![(Comparison::carry_only(shift), count)]);
        Self::Sequence(vec![carry, Self::Convert { count, ring: u64::from(ring - shift) }])
    }

    /// The largest of `size` elements for each of `rows` rows, and its place if that has bits.
    pub fn maximum(rows: u64, size: u64, ring: u8, place_bits: u8) -> Self {
        let mut gates = Vec::new();
        let mut left = size;
        while left > 1 {
            let count = rows.saturating_mul(left / 2);
            gates.push(Self::sign(count, ring));
            gates.push(Self::Multiplex { count, ring: u64::from(ring) });
            if place_bits > 0 {
                gates.push(Self::Multiplex { count, ring: u64::from(place_bits) });
            }
            left = left.div_ceil(2);
        }
        Self::Sequence(gates)
    }

    /// The random OTs it consumes.
    pub fn ots(&self) -> Ots {
        let (server_sends, client_sends) = match self {
            Self::Carry(trees) => {
                let sum = |of: &dyn Fn(&Comparison) -> usize| {
                    trees.iter().fold(0, |sum: u64, (tree, count)| {
                        sum.saturating_add(count.saturating_mul(of(tree) as u64))
                    })
                };
                let joints = sum(&|tree| tree.joints.len());
                (sum(&Comparison::leaf_ots).saturating_add(joints), joints)
            }
            Self::Convert { count, ring } => (if *ring > 1 { *count } else { 0 }, 0),
            Self::Multiplex { count, .. } => (*count, *count),
            Self::ExtendKnownMsb { count, from, to } => (if to > from { *count } else { 0 }, 0),
            Self::Sequence(gates) => {
                let mut sum = Ots::default();
                gates.iter().for_each(|gate| sum += gate.ots());
                return sum;
            }
        };
        Ots { server_sends, client_sends }
    }

    /// Its traffic alone.
    pub fn flow(&self) -> Flow {
        let mut ledger = Ledger::new();
        ledger.set_scope(Scope::Result);
        self.book(&mut ledger);
        ledger.row(Scope::Result)
    }

    pub(super) fn book(&self, ledger: &mut Ledger) {
        match self {
            Self::Carry(trees) => carry(ledger, trees),
            Self::Convert { count, ring } if *ring > 1 => cot(ledger, *count, ring - 1),
            Self::Convert { .. } => {}
            Self::Multiplex { count, ring } => {
                ledger.exchange(packed_bytes(*count));
                ledger.exchange(packed_bytes(count.saturating_mul(*ring)));
            }
            Self::ExtendKnownMsb { count, from, to } if to > from => cot(ledger, *count, to - from),
            Self::ExtendKnownMsb { .. } => {}
            Self::Sequence(gates) => gates.iter().for_each(|gate| gate.book(ledger)),
        }
    }
}

/// The gates that turn shares of logits into shares of the place of the largest: their common ring has room for differences.
pub fn top1(conv: &Conv, rows: usize) -> Gate {
    let wide = conv.widest_ring() + 1;
    let from: Vec<(u8, u64)> = conv.ring_bits.iter().map(|&ring| (ring, rows as u64)).collect();
    let extend = Gate::extend_signed(&from, wide);
    Gate::Sequence(vec![extend, Gate::maximum(rows as u64, conv.out_channels as u64, wide, place_bits(conv))])
}

/// Bits of the place of a logit, at least 1.
pub fn place_bits(conv: &Conv) -> u8 {
    (usize::BITS - (conv.out_channels - 1).leading_zeros()).max(1) as u8
}

fn cot(ledger: &mut Ledger, count: u64, bits: u64) {
    ledger.send(Sender::Client, packed_bytes(count));
    ledger.send(Sender::Server, packed_bytes(count.saturating_mul(bits)));
}

fn carry(ledger: &mut Ledger, trees: &[(Comparison, u64)]) {
    let sum = |of: &dyn Fn(&Comparison) -> usize| {
        packed_bytes(
            trees
                .iter()
                .fold(0, |sum: u64, (tree, count)| sum.saturating_add(count.saturating_mul(of(tree) as u64))),
        )
    };
    ledger.send(Sender::Client, sum(&Comparison::leaf_ots));
    ledger.send(Sender::Server, sum(&Comparison::leaf_message_bits));
    for level in 0..trees.iter().map(|(tree, _)| tree.levels()).max().unwrap_or(0) {
        ledger.exchange(sum(&|tree| tree.opened_at(level)));
    }
}
