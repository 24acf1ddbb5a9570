//! Correlated OT with vector payloads in any rings.
//!
//! With the pads p_0, p_1 of an OT, cut into lanes, the sender's share is -p_0 and it sends e = p_0 - p_1 + x; the receiver's
//! share is p_b + b * e. Pads can be made long before x is known.

use std::ops::Range;

use zeroize::Zeroizing;

use super::hash::{HashInput, OtHash, pad_blocks, pad_lanes, tweak};
use super::{Block, ChosenOts, OfferedOts, Ots};
use crate::Error;
use crate::ring::pack::packed_bytes;
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
    /// Calls `each(j, p_0, p_1)` in order with the two pads of every OT, `shape(j).lanes` words each, whose bits above
    /// `shape(j).bits` are random too.
    ///
    /// # Errors
    /// [`Error::Config`] for a width outside 1..=64; those of `each`.
    pub fn offered_pads(
        &mut self,
        ots: OfferedOts,
        shape: impl Fn(usize) -> CotShape,
        mut each: impl FnMut(usize, &[u64], &[u64]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let delta = *self.sender.delta;
        let mut pads: [PadLanes; 2] = Default::default();
        let mut start = 0;
        while start < ots.count() {
            let group = next_group(start, ots.count(), &shape)?;
            for (pads, offset) in pads.iter_mut().zip([0, delta]) {
                let input = |j| shape(j).input(ots.zero[j] ^ offset, ots.first_serial + j as u64);
                pads.fill(&mut self.sender.hash, group.clone(), input);
            }
            for j in group.clone() {
                let CotShape { lanes, bits } = shape(j);
                let [zero, one] = &mut pads;
                each(j, zero.next(lanes, bits), one.next(lanes, bits))?;
            }
            start = group.end;
        }
        Ok(())
    }

    /// Calls `each(j, b_j, p_b)` in order with the choice and the pad of every OT, as [`Ots::offered_pads`] does.
    ///
    /// # Errors
    /// As [`Ots::offered_pads`].
    pub fn chosen_pads(
        &mut self,
        ots: ChosenOts,
        shape: impl Fn(usize) -> CotShape,
        mut each: impl FnMut(usize, bool, &[u64]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut pads = PadLanes::default();
        let mut start = 0;
        while start < ots.choices().len() {
            let group = next_group(start, ots.choices().len(), &shape)?;
            let input = |j| shape(j).input(ots.key[j], ots.first_serial + j as u64);
            pads.fill(&mut self.receiver.hash, group.clone(), input);
            for j in group.clone() {
                let CotShape { lanes, bits } = shape(j);
                each(j, ots.choices()[j], pads.next(lanes, bits))?;
            }
            start = group.end;
        }
        Ok(())
    }

    /// Sender of correlated OTs in one message. OT j has the correlation `correlation(j)`; `share(j, lanes)` is called
    /// in order with this party's share. The two parties' shares add up to `b_j * values` mod 2^bits.
    ///
    /// # Errors
    /// [`Error::Config`] for a width outside 1..=64; those of the channel.
    ///
    /// # Communication cost
    /// Sends `ceil(sum of lanes * bits / 8)` bytes.
    pub fn cot_send<'x>(
        &mut self,
        channel: &mut Channel,
        ots: OfferedOts,
        correlation: impl Fn(usize) -> Correlation<'x>,
        mut share: impl FnMut(usize, &[u64]),
    ) -> Result<(), Error> {
        let shape = |j| {
            let Correlation { values, bits } = correlation(j);
            CotShape { lanes: values.len(), bits }
        };
        let mut message = PackedSend::new(channel);
        let (mut sent, mut mine) = (Vec::new(), Zeroizing::new(Vec::new()));
        self.offered_pads(ots, shape, |j, p0, p1| {
            let Correlation { values, bits } = correlation(j);
            let mask = mask(bits);
            sent.clear();
            mine.clear();
            let lanes = p0.iter().zip(p1).zip(values);
            sent.extend(lanes.map(|((p0, p1), x)| p0.wrapping_sub(*p1).wrapping_add(*x) & mask));
            mine.extend(p0.iter().map(|p0| p0.wrapping_neg() & mask));
            message.put_all(&sent, bits)?;
            share(j, &mine);
            Ok(())
        })?;
        message.finish()
    }

    /// Receiver of correlated OTs; `shape(j)` must be that of the sender's correlation. Counterpart of
    /// [`cot_send`](Self::cot_send), with the same errors and cost.
    ///
    /// # Errors
    /// As [`cot_send`](Self::cot_send).
    pub fn cot_recv(
        &mut self,
        channel: &mut Channel,
        ots: ChosenOts,
        shape: impl Fn(usize) -> CotShape,
        mut share: impl FnMut(usize, &[u64]),
    ) -> Result<(), Error> {
        let bits = total_bits(ots.choices().len(), &shape)?;
        let mut message = PackedRecv::new(channel, packed_bytes(bits) as usize);
        let mut lanes = Zeroizing::new(Vec::new());
        self.chosen_pads(ots, &shape, |j, choice, pads| {
            let bits = shape(j).bits;
            lanes.resize(pads.len(), 0);
            message.get_all(&mut lanes, bits)?;
            let (mask, chosen) = (mask(bits), u64::from(choice).wrapping_neg());
            for (lane, pad) in lanes.iter_mut().zip(pads) {
                *lane = pad.wrapping_add(*lane & chosen) & mask;
            }
            share(j, &lanes);
            Ok(())
        })
    }
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
