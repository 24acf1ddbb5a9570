//! 1-of-2^n OT from n random OTs (after Naor and Pinkas, STOC 1999), as pads: the sender gets a pad for each of the 2^n
//! messages, the receiver that of the message it chose.
//!
//! The pad of message c is H(k_1[c_1] ^ ... ^ k_n[c_n], c): the inner keys k_i[b] are already hashes, so delta has left them,
//! and the outer hash breaks the linear relations between their sums.

use zeroize::Zeroizing;

use super::hash::tweak;
use super::{Block, ChosenOts, OfferedOts, Ots};
use crate::Error;

/// Instances whose pads are made together.
const GROUP: usize = 64;

/// Instances of one size, one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OneOfN {
    /// How many.
    pub count: usize,
    /// n: each instance is an OT of one message out of 2^n; 1 to 4.
    pub digit_bits: u32,
    /// Bits of a message, 1 to 4.
    pub message_bits: u32,
}

impl OneOfN {
    /// Bits of all messages of an instance, at most 64.
    pub fn width(&self) -> u32 {
        self.message_bits << self.digit_bits
    }
}

impl Ots {
    /// Calls `each(run, pads)` for groups of instances of each run in order. A pad is a word of
    /// [`width`](OneOfN::width) bits: message c takes the `message_bits` bits from `c * message_bits` on.
    ///
    /// # Errors
    /// [`Error::Config`] for sizes outside those of [`OneOfN`] or another number of OTs than the sum of
    /// `count * digit_bits`.
    pub fn offered_messages(
        &mut self,
        ots: OfferedOts,
        runs: &[OneOfN],
        mut each: impl FnMut(&OneOfN, &[u64]),
    ) -> Result<(), Error> {
        check_runs(runs, ots.count())?;
        let mut words = Zeroizing::new(Vec::with_capacity(GROUP));
        let mut first = 0;
        for run in runs {
            let n = run.digit_bits as usize;
            for start in (0..run.count).step_by(GROUP) {
                let instances = GROUP.min(run.count - start);
                let pads = self.all_messages(&ots, first, instances, n);
                first += instances * n;
                words.clear();
                words.extend(pads.chunks_exact(1 << n).map(|pads| word(pads, run.message_bits)));
                each(run, &words);
            }
        }
        Ok(())
    }

    /// The pads of the chosen messages, in order: the choices of `digit_bits` OTs, the lowest bit first, are the message's
    /// index.
    ///
    /// # Errors
    /// As [`Ots::offered_messages`].
    pub fn chosen_messages(&mut self, ots: ChosenOts, runs: &[OneOfN]) -> Result<Vec<u8>, Error> {
        check_runs(runs, ots.choices().len())?;
        let mut pads = Vec::with_capacity(runs.iter().map(|run| run.count).sum());
        let mut first = 0;
        for run in runs {
            let n = run.digit_bits as usize;
            let mask = u8::MAX >> (8 - run.message_bits);
            for start in (0..run.count).step_by(GROUP) {
                let instances = GROUP.min(run.count - start);
                let chosen = self.chosen_message(&ots, first, instances, n);
                first += instances * n;
                pads.extend(chosen.iter().map(|pad| *pad as u8 & mask));
            }
        }
        Ok(pads)
    }

    /// The pads of all messages of the `instances` instances from OT `first` on.
    fn all_messages(
        &mut self,
        ots: &OfferedOts,
        first: usize,
        instances: usize,
        n: usize,
    ) -> Zeroizing<Vec<Block>> {
        let delta = *self.sender.delta;
        let keys = self.sender.hash.blocks((first..first + instances * n).flat_map(|ot| {
            let zero = ots.zero[ot];
            [zero, zero ^ delta].map(|key| (key, tweak(ots.first_serial + ot as u64)))
        }));
        let mut inputs = Zeroizing::new(Vec::with_capacity(instances << n));
        for (instance, keys) in keys.chunks_exact(2 * n).enumerate() {
            let tweak = tweak(ots.first_serial + (first + instance * n) as u64);
            for message in 0..1_usize << n {
                let sum =
                    keys.chunks_exact(2).enumerate().fold(0, |sum, (i, key)| sum ^ key[message >> i & 1]);
                inputs.push((sum, message_tweak(tweak, message)));
            }
        }
        self.sender.hash.blocks(inputs.iter().copied())
    }

    /// The pad of the chosen message of each of the `instances` instances from OT `first` on.
    fn chosen_message(
        &mut self,
        ots: &ChosenOts,
        first: usize,
        instances: usize,
        n: usize,
    ) -> Zeroizing<Vec<Block>> {
        let range = first..first + instances * n;
        let keys = self
            .receiver
            .hash
            .blocks(range.clone().map(|ot| (ots.key[ot], tweak(ots.first_serial + ot as u64))));
        let sums = keys.chunks_exact(n).map(|keys| keys.iter().fold(0, |sum, key| sum ^ key));
        let chosen = ots.choices()[range].chunks_exact(n);
        self.receiver.hash.blocks(sums.zip(chosen).enumerate().map(|(instance, (sum, bits))| {
            let message = bits.iter().rev().fold(0, |digit, bit| digit << 1 | usize::from(*bit));
            (sum, message_tweak(tweak(ots.first_serial + (first + instance * n) as u64), message))
        }))
    }
}

/// The tweak of a message of the instance whose first OT has this tweak, which made its inner key.
fn message_tweak(first: Block, message: usize) -> Block {
    first + 1 + message as Block
}

fn word(pads: &[Block], message_bits: u32) -> u64 {
    let mask = (1_u64 << message_bits) - 1;
    pads.iter().rev().fold(0, |word, pad| word << message_bits | *pad as u64 & mask)
}

fn check_runs(runs: &[OneOfN], ots: usize) -> Result<(), Error> {
    let fits = |run: &OneOfN| (1..=4).contains(&run.digit_bits) && (1..=4).contains(&run.message_bits);
    let needed: usize = runs.iter().map(|run| run.count * run.digit_bits as usize).sum();
    if needed == ots && runs.iter().all(fits) {
        return Ok(());
    }
    Err(Error::Config {
        what: "1-of-2^n OT",
        expected: "digits and messages of 1 to 4 bits, an OT for each bit of a digit".into(),
        found: format!("{needed} bits of digits for {ots} OTs"),
        next: "split longer digits into several OTs",
    })
}
