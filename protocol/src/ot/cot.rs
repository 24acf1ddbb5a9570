//! signatures first
#![allow(clippy::todo, unused)]
use super::Ots;
use crate::Error;
use crate::transport::Channel;

/// What one OT of a batch carries, as its sender sees it: the receiver with choice b gets a share of `b * values`.
#[derive(Clone, Copy)]
pub struct Correlation<'x> {
    /// One value per lane, any `u64`; only its low `bits` bits matter.
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

impl Ots {
    /// Sender of `count` correlated OTs in one batch. OT j has the correlation `correlation(j)` (called once, in order);
    /// `share(j, lanes)` receives this party's share, and the two parties' shares add up to `b_j * values` mod 2^bits.
    ///
    /// # Communication cost
    /// Receives `ceil(count / 8)`, then sends `ceil(sum of lanes * bits / 8)`. Two rounds. Uses `count` OTs as sender.
    pub fn cot_send<'x>(
        &mut self,
        channel: &mut Channel,
        count: usize,
        correlation: impl Fn(usize) -> Correlation<'x>,
        share: impl FnMut(usize, &[u64]),
    ) -> Result<(), Error> {
        todo!()
    }
    /// Receiver of one correlated OT per choice; `shape(j)` must match the sender's correlation. See [`Ots::cot_send`].
    pub fn cot_recv(
        &mut self,
        channel: &mut Channel,
        choices: &[bool],
        shape: impl Fn(usize) -> CotShape,
        share: impl FnMut(usize, &[u64]),
    ) -> Result<(), Error> {
        todo!()
    }
    /// [`Ots::cot_send`] with one element per OT: `values[j]` in the ring of `bits(j)` bits. Returns this party's shares.
    pub fn cot_send_scalars(
        &mut self,
        channel: &mut Channel,
        values: &[u64],
        bits: impl Fn(usize) -> u32,
    ) -> Result<Vec<u64>, Error> {
        todo!()
    }
    /// Counterpart of [`Ots::cot_send_scalars`].
    pub fn cot_recv_scalars(
        &mut self,
        channel: &mut Channel,
        choices: &[bool],
        bits: impl Fn(usize) -> u32,
    ) -> Result<Vec<u64>, Error> {
        todo!()
    }
    /// Scalar COTs in both directions at once: this party is sender of `values` and receiver with `choices` (the peer's
    /// choices pair with `values`, its values with `choices`; both directions have the same length and widths).
    /// Returns (shares as sender, shares as receiver).
    ///
    /// # Communication cost
    /// Each way `ceil(n / 8)`, then each way `ceil(sum of bits / 8)`. Two rounds. Uses n OTs in each direction.
    pub fn cot_exchange_scalars(
        &mut self,
        channel: &mut Channel,
        values: &[u64],
        choices: &[bool],
        bits: impl Fn(usize) -> u32,
    ) -> Result<(Vec<u64>, Vec<u64>), Error> {
        todo!()
    }
}
