//! The gates of SCI on n elements.

use super::super::ledger::Sender;
use super::super::wire::packed_bytes;
use super::super::{kkot_from_receiver, kkot_from_sender};
use super::Book;
use crate::baseline::{Multiplexer, Range};

/// Bits of a digit that one 1-of-16 OT compares.
pub const DIGIT_BITS: u32 = 4;

impl Book {
    /// 1-of-`options` OTs of `bits` bits, sent by the server.
    pub(super) fn one_of(&mut self, n: u64, options: u64, bits: u64) {
        self.ledger.cross([], kkot_from_receiver(n));
        self.ledger.send(Sender::Server, kkot_from_sender(n, options, bits));
    }

    /// A comparison of the parties' own integers (millionaires'; with equality where a further digit follows).
    pub(super) fn compare(&mut self, n: u64, bits: u32, equality: bool) {
        if bits == 1 && !equality {
            return self.choose(n, 1);
        }
        let messages = 1 + u64::from(equality);
        if bits <= DIGIT_BITS {
            return self.one_of(n, 1 << bits, messages);
        }
        let digits = u64::from(bits.div_ceil(DIGIT_BITS));
        self.one_of(n * digits, 16, 2);
        let levels = levels(digits, equality);
        self.and(n * levels.iter().sum::<u64>());
        for ands in levels {
            self.ledger.exchange(packed_bytes(2 * n * ands));
        }
    }

    /// ANDs of shared bits, or of random ones for triples, by 1-of-16 OTs, two by one.
    pub(super) fn and(&mut self, n: u64) {
        self.one_of(n.div_ceil(2), 16, 2);
    }

    /// Correlated OTs of `bits` bits chosen by the client.
    fn choose(&mut self, n: u64, bits: u64) {
        self.draw(n, 0);
        self.ledger.send(Sender::Client, packed_bytes(n));
        self.ledger.send(Sender::Server, packed_bytes(n * bits));
    }

    /// Shared bits to Z_{2^ring}; free for 1.
    pub(super) fn convert(&mut self, n: u64, ring: u32) {
        if ring > 1 {
            self.choose(n, u64::from(ring) - 1);
        }
    }

    pub(super) fn multiplex(&mut self, n: u64, ring: u32, kind: Multiplexer) {
        let messages = match kind {
            Multiplexer::Chosen => 2,
            Multiplexer::Correlated => 1,
        };
        self.draw(n, n);
        self.ledger.exchange(packed_bytes(n));
        self.ledger.exchange(packed_bytes(n * messages * u64::from(ring)));
    }

    /// The shared bit by which two shares of Z_{2^bits} wrap.
    pub(super) fn wrap(&mut self, n: u64, bits: u32, range: Range) {
        match range {
            Range::TopBitZero => self.one_of(n, 4, 1),
            Range::Signed | Range::Unsigned => self.compare(n, bits, false),
        }
    }

    pub(super) fn extend(&mut self, n: u64, (from, to): (u32, u32), range: Range) {
        self.wrap(n, from, range);
        self.convert(n, to - from);
    }

    pub(super) fn relu(&mut self, n: u64, bits: u32, multiplexer: Multiplexer) {
        self.compare(n, bits - 1, false);
        self.multiplex(n, bits, multiplexer);
    }

    /// The carry of the low bits, then whether the high ones wrap with it, or the top bits tell.
    pub(super) fn truncate(&mut self, n: u64, (bits, shift): (u32, u32), range: Range) {
        self.compare(n, shift, false);
        if range == Range::TopBitZero {
            self.wrap(n, bits, range);
        } else {
            self.compare(n, bits - shift, true);
            self.and(n);
        }
        self.convert(n, shift);
        self.convert(n, bits);
    }
}

/// ANDs of an element at each level of the tree over its digits: the pair of lowest digits needs no equality unless asked.
pub fn levels(digits: u64, equality: bool) -> Vec<u64> {
    let (mut nodes, mut levels) = (digits, Vec::new());
    while nodes > 1 {
        let pairs = nodes / 2;
        levels.push(2 * pairs - u64::from(!equality));
        nodes -= pairs;
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_takes_the_triples_of_sci() {
        for digits in 2..16_u64 {
            let log2 = u64::from(digits.next_power_of_two().trailing_zeros());
            assert_eq!(levels(digits, false).iter().sum::<u64>(), 2 * digits - 2 - log2, "{digits}");
            assert_eq!(levels(digits, true).iter().sum::<u64>(), 2 * digits - 2, "{digits}");
        }
    }
}
