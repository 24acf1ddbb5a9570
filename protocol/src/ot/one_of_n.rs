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

impl Ots {
    /// Sender of 1-of-2^`digit_bits` OTs. The messages of instance j are `messages[j << digit_bits..][..1 << digit_bits]`, of
    /// which the low `message_bits` bits count.
    ///
    /// # Errors
    /// [`Error::Config`] unless 1 <= `digit_bits` <= 4, 1 <= `message_bits` <= 8 and `messages` holds whole instances;
    /// [`Error::Exhausted`] if fewer than n * `digit_bits` OTs are left as sender; those of the channel.
    ///
    /// # Communication cost
    /// n instances: receives `ceil(n * digit_bits / 8)` bytes, then sends `ceil(n * 2^digit_bits * message_bits / 8)`. Two
    /// rounds.
    pub fn one_of_n_send(
        &mut self,
        channel: &mut Channel,
        digit_bits: u32,
        message_bits: u32,
        messages: &[u8],
    ) -> Result<(), Error> {
        let n = digit_bits.min(8) as usize;
        let choices = 1 << n;
        check(digit_bits, message_bits, messages.len() % choices)?;
        let instances = messages.len() / choices;
        let drawn = self.sender.draw(instances * n)?;
        let flips = channel.recv(packed_bytes(drawn.q.len() as u64) as usize)?;
        let flips = unpack_bits(&flips, drawn.q.len());
        let mut message = PackedSend::new(channel);
        let mut masked = Vec::with_capacity(GROUP << n);
        for (group, messages) in messages.chunks(GROUP << n).enumerate() {
            let first = group * GROUP;
            let pads = self.pads_to_send(&drawn, &flips, first..first + messages.len() / choices, n);
            masked.clear();
            masked.extend(
                messages.iter().zip(pads.iter()).map(|(message, pad)| u64::from(*message) ^ *pad as u64),
            );
            message.put_all(&masked, message_bits)?;
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
        digit_bits: u32,
        message_bits: u32,
        digits: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let n = digit_bits.min(8) as usize;
        let too_long = digits.iter().filter(|digit| usize::from(**digit) >> n != 0);
        check(digit_bits, message_bits, too_long.count())?;
        let drawn = self.receiver.draw(digits.len() * n)?;
        let bits = digits.iter().flat_map(|digit| (0..n).map(move |i| digit >> i & 1 == 1));
        let flips: Vec<bool> = bits.zip(drawn.r.iter()).map(|(bit, random)| bit ^ random).collect();
        channel.send(pack_bits(&flips))?;
        let bits = ((digits.len() as u64) << n) * u64::from(message_bits);
        let mut message = PackedRecv::new(channel, packed_bytes(bits) as usize);
        let mut offered = vec![0; 1 << n];
        let mut received = Vec::with_capacity(digits.len());
        for (group, digits) in digits.chunks(GROUP).enumerate() {
            let pads = self.pads_to_open(&drawn, group * GROUP, digits, n);
            for (digit, pad) in digits.iter().zip(pads.iter()) {
                message.get_all(&mut offered, message_bits)?;
                let opened = offered[usize::from(*digit)] ^ *pad as u64;
                received.push(opened as u8 & (u8::MAX >> (8 - message_bits)));
            }
        }
        Ok(received)
    }

    /// The pads of all messages of some instances.
    fn pads_to_send(
        &mut self,
        drawn: &SenderDraw,
        flips: &[bool],
        instances: std::ops::Range<usize>,
        n: usize,
    ) -> Zeroizing<Vec<Block>> {
        let delta = *self.sender.delta;
        let ots = instances.start * n..instances.end * n;
        let keys = self.sender.hash.blocks(ots.clone().flat_map(|ot| {
            let zero = drawn.q[ot] ^ if flips[ot] { delta } else { 0 };
            [zero, zero ^ delta].map(|key| (key, tweak(drawn.first_serial + ot as u64)))
        }));
        let pad = |instance: usize, choice: usize| {
            let key = |i: usize| keys[2 * ((instance - instances.start) * n + i) + (choice >> i & 1)];
            (
                (0..n).map(key).fold(0, |sum, key| sum ^ key),
                message_tweak(drawn.first_serial, instance * n, choice),
            )
        };
        let all = instances.clone().flat_map(|instance| (0..1 << n).map(move |choice| (instance, choice)));
        self.sender.hash.blocks(all.map(|(instance, choice)| pad(instance, choice)))
    }

    /// The pad of the chosen message of each instance from `first` on.
    fn pads_to_open(
        &mut self,
        drawn: &ReceiverDraw,
        first: usize,
        digits: &[u8],
        n: usize,
    ) -> Zeroizing<Vec<Block>> {
        let ots = first * n..(first + digits.len()) * n;
        let keys =
            self.receiver.hash.blocks(ots.map(|ot| (drawn.t[ot], tweak(drawn.first_serial + ot as u64))));
        let sums = keys.chunks_exact(n).map(|keys| keys.iter().fold(0, |sum, key| sum ^ key));
        self.receiver.hash.blocks(sums.zip(digits).enumerate().map(|(i, (sum, digit))| {
            (sum, message_tweak(drawn.first_serial, (first + i) * n, usize::from(*digit)))
        }))
    }
}

/// The tweak of message `choice` of the instance whose first OT is `ot`: tweak 0 of that OT made its inner key.
fn message_tweak(first_serial: u64, ot: usize, choice: usize) -> Block {
    tweak(first_serial + ot as u64) + 1 + choice as Block
}

fn check(digit_bits: u32, message_bits: u32, misfits: usize) -> Result<(), Error> {
    if (1..=4).contains(&digit_bits) && (1..=8).contains(&message_bits) && misfits == 0 {
        return Ok(());
    }
    Err(Error::Config {
        what: "1-of-2^n OT",
        expected: "digits of 1 to 4 bits, 2^n messages of 1 to 8 bits for each".into(),
        found: format!("{digit_bits}-bit digits, {message_bits}-bit messages, {misfits} that don't fit"),
        next: "split longer digits into several OTs",
    })
}
