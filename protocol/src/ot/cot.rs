//! Correlated OT with vector payloads in any rings.
//!
//! With the pads p_0, p_1 of an OT, cut into lanes, the sender's share is -p_0 and it sends e = p_0 - p_1 + x; the receiver's
//! share is p_b + b * e. Choices are fixed beforehand by one bit: the receiver sends b ^ r, and a one swaps the pads.

use std::ops::Range;

use zeroize::Zeroizing;

use super::hash::{HashInput, OtHash, pad_blocks, pad_lanes, tweak};
use super::stock::{ReceiverDraw, SenderDraw};
use super::{Block, Ots};
use crate::Error;
use crate::ring::pack::{BitReader, BitWriter, pack_bits, packed_bytes, unpack_bits};
use crate::ring::{Ring, mask};
use crate::transport::{Channel, PackedRecv, PackedSend};

/// Pads are made for this many blocks at a time: enough for the wide AES units, and it stays in the first-level cache.
const GROUP_BLOCKS: usize = 256;

/// What one OT of a batch carries, as its sender sees it: the receiver with choice b gets a share of `b * values`.
#[derive(Clone, Copy)]
pub struct Correlation<'x> {
    /// One value for each lane, any `u64`; only its low `bits` bits matter.
    pub values: &'x [u64],
    /// The ring Z_{2^bits} of this OT, 1 to 64.
    pub bits: u32,
}

/// What one OT of a batch carries, as its receiver sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CotShape {
    /// Ring elements.
    pub lanes: usize,
    /// The ring Z_{2^bits} of this OT, 1 to 64.
    pub bits: u32,
}

impl CotShape {
    /// The hash input whose pads cover this OT.
    fn input(self, x: Block, serial: u64) -> HashInput {
        HashInput { x, tweak: tweak(serial), blocks: pad_blocks(self.lanes, self.bits) }
    }
}

impl Ots {
    /// Sender of `count` correlated OTs in one batch. OT j has the correlation `correlation(j)`; `share(j, lanes)` is called
    /// in order with this party's share. The two parties' shares add up to `b_j * values` mod 2^bits.
    ///
    /// # Errors
    /// [`Error::Exhausted`] if fewer than `count` OTs are left as sender, [`Error::Config`] for a width outside 1..=64; those of
    /// the channel.
    ///
    /// # Communication cost
    /// Receives `ceil(count / 8)` bytes, then sends one message of `ceil(sum of lanes * bits / 8)`. Two rounds.
    pub fn cot_send<'x>(
        &mut self,
        channel: &mut Channel,
        count: usize,
        correlation: impl Fn(usize) -> Correlation<'x>,
        mut share: impl FnMut(usize, &[u64]),
    ) -> Result<(), Error> {
        let drawn = self.sender.draw(count)?;
        let flips = unpack_bits(&channel.recv(packed_bytes(count as u64) as usize)?, count);
        let mut message = PackedSend::new(channel);
        self.correct(&drawn, &flips, correlation, |j, bits, sent, mine| {
            message.put_all(sent, bits)?;
            share(j, mine);
            Ok(())
        })?;
        message.finish()
    }

    /// Receiver of one correlated OT for each choice; `shape(j)` must be that of the sender's correlation. Counterpart of
    /// [`cot_send`](Self::cot_send), with the same errors and cost.
    ///
    /// # Errors
    /// As [`cot_send`](Self::cot_send), for OTs as receiver.
    pub fn cot_recv(
        &mut self,
        channel: &mut Channel,
        choices: &[bool],
        shape: impl Fn(usize) -> CotShape,
        share: impl FnMut(usize, &[u64]),
    ) -> Result<(), Error> {
        let drawn = self.receiver.draw(choices.len())?;
        channel.send(flips(&drawn, choices))?;
        let bits = total_bits(choices.len(), &shape)?;
        let mut message = PackedRecv::new(channel, packed_bytes(bits) as usize);
        self.open(&drawn, choices, shape, |lanes, bits| message.get_all(lanes, bits), share)
    }

    /// [`cot_send`](Self::cot_send) with one element for each OT, `values[j]` in the ring of `bits(j)` bits. Returns this
    /// party's shares.
    ///
    /// # Errors
    /// As [`cot_send`](Self::cot_send).
    ///
    /// # Communication cost
    /// As [`cot_send`](Self::cot_send) with one lane each.
    pub fn cot_send_scalars(
        &mut self,
        channel: &mut Channel,
        values: &[u64],
        bits: impl Fn(usize) -> u32,
    ) -> Result<Vec<u64>, Error> {
        let mut shares = Vec::with_capacity(values.len());
        let scalar = |j| Correlation { values: &values[j..=j], bits: bits(j) };
        self.cot_send(channel, values.len(), scalar, |_, share| shares.extend_from_slice(share))?;
        Ok(shares)
    }

    /// Counterpart of [`cot_send_scalars`](Self::cot_send_scalars).
    ///
    /// # Errors
    /// As [`cot_recv`](Self::cot_recv).
    pub fn cot_recv_scalars(
        &mut self,
        channel: &mut Channel,
        choices: &[bool],
        bits: impl Fn(usize) -> u32,
    ) -> Result<Vec<u64>, Error> {
        let mut shares = Vec::with_capacity(choices.len());
        let scalar = |j| CotShape { lanes: 1, bits: bits(j) };
        self.cot_recv(channel, choices, scalar, |_, share| shares.extend_from_slice(share))?;
        Ok(shares)
    }

    /// Scalar COTs in both directions at once. As sender this party offers `values`, which the peer's choices select; as
    /// receiver it selects among the peer's values by `choices`. Both directions have the same count and widths. Returns
    /// the shares as sender and the shares as receiver.
    ///
    /// # Errors
    /// [`Error::Config`] if `values` and `choices` differ in length or a width is outside 1..=64; [`Error::Exhausted`]; those
    /// of the channel.
    ///
    /// # Communication cost
    /// Each way `ceil(n / 8)` bytes, then each way `ceil(sum of bits / 8)`. Two rounds, n OTs in each direction.
    pub fn cot_exchange_scalars(
        &mut self,
        channel: &mut Channel,
        values: &[u64],
        choices: &[bool],
        bits: impl Fn(usize) -> u32,
    ) -> Result<(Vec<u64>, Vec<u64>), Error> {
        let count = values.len();
        if choices.len() != count {
            return Err(Error::Config {
                what: "choices of a COT exchange",
                expected: format!("one for each of {count} values"),
                found: choices.len().to_string(),
                next: "pair every value with a choice",
            });
        }
        let (sending, receiving) = (self.sender.draw(count)?, self.receiver.draw(count)?);
        let shape = |j| CotShape { lanes: 1, bits: bits(j) };
        let mut message = BitWriter::with_capacity(total_bits(count, shape)?);
        let their_flips = unpack_bits(&channel.exchange(flips(&receiving, choices))?, count);
        let (mut sent, mut received) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let scalar = |j| Correlation { values: &values[j..=j], bits: bits(j) };
        self.correct(&sending, &their_flips, scalar, |_, bits, correction, share| {
            message.put_all(correction, bits);
            sent.extend_from_slice(share);
            Ok(())
        })?;
        let theirs = channel.exchange(message.finish())?;
        let mut theirs = BitReader::new(&theirs);
        let next = |lanes: &mut [u64], bits| {
            theirs.get_all(lanes, bits);
            Ok(())
        };
        self.open(&receiving, choices, shape, next, |_, share| received.extend_from_slice(share))?;
        Ok((sent, received))
    }

    /// The sender's half: `emit(j, bits, correction to send, share)` for each OT in order.
    fn correct<'x>(
        &mut self,
        drawn: &SenderDraw,
        flips: &[bool],
        correlation: impl Fn(usize) -> Correlation<'x>,
        mut emit: impl FnMut(usize, u32, &[u64], &[u64]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let shape = |j| {
            let Correlation { values, bits } = correlation(j);
            CotShape { lanes: values.len(), bits }
        };
        let mut pads: [PadLanes; 2] = Default::default();
        let delta = *self.sender.delta;
        let (mut sent, mut share) = (Vec::new(), Zeroizing::new(Vec::new()));
        let mut start = 0;
        while start < drawn.q.len() {
            let group = next_group(start, drawn.q.len(), shape)?;
            for (pads, offset) in pads.iter_mut().zip([0, delta]) {
                let input = |j| shape(j).input(drawn.q[j] ^ offset, drawn.first_serial + j as u64);
                pads.fill(&mut self.sender.hash, group.clone(), input);
            }
            for j in group.clone() {
                let Correlation { values, bits } = correlation(j);
                let [zero, one] = &mut pads;
                let lanes = [zero.next(values.len(), bits), one.next(values.len(), bits)];
                let [p0, p1] = if flips[j] { [lanes[1], lanes[0]] } else { lanes };
                let mask = mask(bits);
                sent.clear();
                share.clear();
                let lanes = p0.iter().zip(p1).zip(values);
                sent.extend(lanes.map(|((p0, p1), x)| p0.wrapping_sub(*p1).wrapping_add(*x) & mask));
                share.extend(p0.iter().map(|p0| p0.wrapping_neg() & mask));
                emit(j, bits, &sent, &share)?;
            }
            start = group.end;
        }
        Ok(())
    }

    /// The receiver's half: `next` yields the sender's corrections in order.
    fn open(
        &mut self,
        drawn: &ReceiverDraw,
        choices: &[bool],
        shape: impl Fn(usize) -> CotShape,
        mut next: impl FnMut(&mut [u64], u32) -> Result<(), Error>,
        mut share: impl FnMut(usize, &[u64]),
    ) -> Result<(), Error> {
        let mut pads = PadLanes::default();
        let mut lanes = Zeroizing::new(Vec::new());
        let mut start = 0;
        while start < choices.len() {
            let group = next_group(start, choices.len(), &shape)?;
            let input = |j| shape(j).input(drawn.t[j], drawn.first_serial + j as u64);
            pads.fill(&mut self.receiver.hash, group.clone(), input);
            for j in group.clone() {
                let CotShape { lanes: count, bits } = shape(j);
                lanes.resize(count, 0);
                next(&mut lanes, bits)?;
                let (mask, chosen) = (mask(bits), u64::from(choices[j]).wrapping_neg());
                for (lane, pad) in lanes.iter_mut().zip(pads.next(count, bits)) {
                    *lane = pad.wrapping_add(*lane & chosen) & mask;
                }
                share(j, &lanes);
            }
            start = group.end;
        }
        Ok(())
    }
}

/// What the receiver sends so that its random choices become the wanted ones.
fn flips(drawn: &ReceiverDraw, choices: &[bool]) -> Vec<u8> {
    let flipped: Vec<bool> =
        choices.iter().zip(drawn.choices()).map(|(choice, random)| choice ^ random).collect();
    pack_bits(&flipped)
}

fn total_bits(count: usize, shape: impl Fn(usize) -> CotShape) -> Result<u64, Error> {
    (0..count).map(shape).map(|shape| Ok(shape.lanes as u64 * u64::from(Ring::new(shape.bits)?.bits()))).sum()
}

/// The OTs from `start` on whose pads are made together.
fn next_group(start: usize, end: usize, shape: impl Fn(usize) -> CotShape) -> Result<Range<usize>, Error> {
    let (mut blocks, mut stop) = (0, start);
    while stop < end && blocks < GROUP_BLOCKS {
        let CotShape { lanes, bits } = shape(stop);
        blocks += pad_blocks(lanes, Ring::new(bits)?.bits()).max(1);
        stop += 1;
    }
    Ok(start..stop)
}

/// The pads of a group of OTs, handed out lane by lane.
#[derive(Default)]
struct PadLanes {
    inputs: Zeroizing<Vec<HashInput>>,
    words: Zeroizing<Vec<u64>>,
    used: usize,
    lanes: Zeroizing<Vec<u64>>,
}

impl PadLanes {
    fn fill(&mut self, hash: &mut OtHash, group: Range<usize>, input: impl Fn(usize) -> HashInput) {
        self.inputs.clear();
        self.inputs.extend(group.map(input));
        hash.expand(&self.inputs, &mut self.words);
        self.used = 0;
    }

    /// The lanes of the group's next OT, not reduced.
    fn next(&mut self, lanes: usize, bits: u32) -> &[u64] {
        let words = &self.words[self.used..self.used + 2 * pad_blocks(lanes, bits)];
        self.used += words.len();
        self.lanes.resize(lanes, 0);
        pad_lanes(words, bits, &mut self.lanes);
        &self.lanes
    }
}
