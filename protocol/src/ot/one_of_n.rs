//! 1-of-2^n OT from n random OTs (after Naor and Pinkas, STOC 1999).
//!
//! The pad of message c is H(k_1[c_1] ^ ... ^ k_n[c_n], c): the inner keys k_i[b] are already hashes, so delta has left them,
//! and the outer hash breaks the linear relations between their sums.

use zeroize::Zeroizing;

use super::hash::tweak;
use super::stock::{ReceiverDraw, SenderDraw};
use super::{Block, Ots};
use crate::Error;
use crate::ring::pack::{pack_bits, packed_bytes, unpack_bits};
use crate::transport::{Channel, PackedRecv, PackedSend};

/// Instances whose pads are made together.
const GROUP: usize = 64;

/// Instances of one size, one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OneOfN {
    /// How many.
    pub count: usize,
    /// n: each instance is an OT of one message out of 2^n; 1 to 4.
    pub digit_bits: u32,
    /// Bits of a message, 1 to 8.
    pub message_bits: u32,
}

impl Ots {
    /// Sender of 1-of-2^n OTs of several sizes in the same flights. `messages` holds the 2^n messages of each instance of each
    /// run in order, of which the low `message_bits` bits count.
    ///
    /// # Errors
    /// [`Error::Config`] for sizes outside those of [`OneOfN`] or the wrong number of messages; [`Error::Exhausted`] if fewer
    /// than the sum of `count * digit_bits` OTs are left as sender; those of the channel.
    ///
    /// # Communication cost
    /// Receives `ceil(sum of count * digit_bits / 8)` bytes, then sends
    /// `ceil(sum of count * 2^digit_bits * message_bits / 8)`. Two rounds.
    pub fn one_of_n_send(
        &mut self,
        channel: &mut Channel,
        runs: &[OneOfN],
        messages: &[u8],
    ) -> Result<(), Error> {
        check_sizes(runs)?;
        check_length("messages", runs.iter().map(|run| run.count << run.digit_bits).sum(), messages.len())?;
        let drawn = self.sender.draw(ots_of(runs))?;
        let flips = channel.recv(packed_bytes(drawn.q.len() as u64) as usize)?;
        let flips = unpack_bits(&flips, drawn.q.len());
        let mut message = PackedSend::new(channel);
        let mut masked = Vec::with_capacity(GROUP << 4);
        let (mut rest, mut ot) = (messages, 0);
        for run in runs {
            let n = run.digit_bits as usize;
            let (own, tail) = rest.split_at(run.count << n);
            rest = tail;
            for messages in own.chunks(GROUP << n) {
                let next = ot + (messages.len() >> n) * n;
                let pads = self.pads_to_send(&drawn, &flips, ot..next, n);
                ot = next;
                masked.clear();
                let lanes = messages.iter().zip(pads.iter());
                masked.extend(lanes.map(|(message, pad)| u64::from(*message) ^ *pad as u64));
                message.put_all(&masked, run.message_bits)?;
            }
        }
        message.finish()
    }

    /// Receives message `digits[j]` of each instance j. Counterpart of [`one_of_n_send`](Self::one_of_n_send), at the same
    /// cost.
    ///
    /// # Errors
    /// [`Error::Config`] also for a digit of more than `digit_bits` bits; otherwise as the sender, for OTs as receiver.
    pub fn one_of_n_recv(
        &mut self,
        channel: &mut Channel,
        runs: &[OneOfN],
        digits: &[u8],
    ) -> Result<Vec<u8>, Error> {
        check_sizes(runs)?;
        check_length("digits", runs.iter().map(|run| run.count).sum(), digits.len())?;
        let sizes: Vec<usize> =
            runs.iter().flat_map(|run| std::iter::repeat_n(run.digit_bits as usize, run.count)).collect();
        check_length(
            "oversized digits",
            0,
            digits.iter().zip(&sizes).filter(|(digit, n)| **digit >> **n != 0).count(),
        )?;
        let drawn = self.receiver.draw(ots_of(runs))?;
        let bits = digits.iter().zip(&sizes).flat_map(|(digit, &n)| (0..n).map(move |i| digit >> i & 1 == 1));
        let flips: Vec<bool> = bits.zip(drawn.choices()).map(|(bit, random)| bit ^ random).collect();
        channel.send(pack_bits(&flips))?;
        let bits =
            runs.iter().map(|run| ((run.count as u64) << run.digit_bits) * u64::from(run.message_bits)).sum();
        let mut message = PackedRecv::new(channel, packed_bytes(bits) as usize);
        let mut received = Vec::with_capacity(digits.len());
        let (mut rest, mut ot) = (digits, 0);
        for run in runs {
            let (own, tail) = rest.split_at(run.count);
            rest = tail;
            let mut offered = vec![0; 1 << run.digit_bits];
            for digits in own.chunks(GROUP) {
                let pads = self.pads_to_open(&drawn, ot, digits, run.digit_bits as usize);
                ot += digits.len() * run.digit_bits as usize;
                for (digit, pad) in digits.iter().zip(pads.iter()) {
                    message.get_all(&mut offered, run.message_bits)?;
                    let opened = offered[usize::from(*digit)] ^ *pad as u64;
                    received.push(opened as u8 & (u8::MAX >> (8 - run.message_bits)));
                }
            }
        }
        Ok(received)
    }

    /// The pads of all messages of the instances that use the OTs `ots`.
    fn pads_to_send(
        &mut self,
        drawn: &SenderDraw,
        flips: &[bool],
        ots: std::ops::Range<usize>,
        n: usize,
    ) -> Zeroizing<Vec<Block>> {
        let delta = *self.sender.delta;
        let keys = self.sender.hash.blocks(ots.clone().flat_map(|ot| {
            let zero = drawn.q[ot] ^ if flips[ot] { delta } else { 0 };
            [zero, zero ^ delta].map(|key| (key, tweak(drawn.first_serial + ot as u64)))
        }));
        let pad = |ot: usize, choice: usize| {
            let key = |i: usize| keys[2 * (ot - ots.start + i) + (choice >> i & 1)];
            ((0..n).map(key).fold(0, |sum, key| sum ^ key), message_tweak(drawn.first_serial, ot, choice))
        };
        let all = ots.clone().step_by(n).flat_map(|ot| (0..1 << n).map(move |choice| (ot, choice)));
        self.sender.hash.blocks(all.map(|(ot, choice)| pad(ot, choice)))
    }

    /// The pad of the chosen message of each instance, the first of which uses the OTs from `first` on.
    fn pads_to_open(
        &mut self,
        drawn: &ReceiverDraw,
        first: usize,
        digits: &[u8],
        n: usize,
    ) -> Zeroizing<Vec<Block>> {
        let ots = first..first + digits.len() * n;
        let keys =
            self.receiver.hash.blocks(ots.map(|ot| (drawn.t[ot], tweak(drawn.first_serial + ot as u64))));
        let sums = keys.chunks_exact(n).map(|keys| keys.iter().fold(0, |sum, key| sum ^ key));
        self.receiver.hash.blocks(sums.zip(digits).enumerate().map(|(i, (sum, digit))| {
            (sum, message_tweak(drawn.first_serial, first + i * n, usize::from(*digit)))
        }))
    }
}

/// The tweak of message `choice` of the instance whose first OT is `ot`: tweak 0 of that OT made its inner key.
fn message_tweak(first_serial: u64, ot: usize, choice: usize) -> Block {
    tweak(first_serial + ot as u64) + 1 + choice as Block
}

fn ots_of(runs: &[OneOfN]) -> usize {
    runs.iter().map(|run| run.count * run.digit_bits as usize).sum()
}

fn check_sizes(runs: &[OneOfN]) -> Result<(), Error> {
    let fits = |run: &&OneOfN| (1..=4).contains(&run.digit_bits) && (1..=8).contains(&run.message_bits);
    runs.iter().find(|run| !fits(run)).map_or(Ok(()), |run| {
        Err(Error::Config {
            what: "1-of-2^n OT",
            expected: "digits of 1 to 4 bits, messages of 1 to 8 bits".into(),
            found: format!("{} and {}", run.digit_bits, run.message_bits),
            next: "split longer digits into several OTs",
        })
    })
}

fn check_length(what: &'static str, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found {
        return Ok(());
    }
    Err(Error::Config {
        what,
        expected: expected.to_string(),
        found: found.to_string(),
        next: "give a digit, or 2^n messages, for each instance",
    })
}
