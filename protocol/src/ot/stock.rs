//! signatures first
#![allow(clippy::todo, unused)]
use super::OtKind;
use crate::transport::Channel;
use crate::{Error, PartyRng, Role};

/// Random OTs in both directions with the peer, each used once.
pub struct Ots {}

impl Ots {
    /// Runs the base OTs of both directions with the peer, booked under `Scope::BaseOt`. Both parties call it.
    ///
    /// # Communication cost
    /// [`setup_payloads`] each way, each exchanged in one round.
    pub fn setup(channel: &mut Channel, role: Role, kind: OtKind, rng: &mut PartyRng) -> Result<Self, Error> {
        todo!()
    }
    /// Adds random OTs to the stock: `as_sender` of them with this party as sender, `as_receiver` as receiver, each
    /// rounded up by [`prepared`]; the peer calls it with the two swapped. Booked under `Scope::OtExtension`, one round.
    ///
    /// # Communication cost
    /// From receiver to sender: one message for each of [`prepare_payloads`]; nothing the other way.
    pub fn prepare(
        &mut self,
        channel: &mut Channel,
        as_sender: usize,
        as_receiver: usize,
    ) -> Result<(), Error> {
        todo!()
    }
    /// Random OTs left with this party as sender.
    pub fn left_as_sender(&self) -> usize {
        todo!()
    }
    /// Random OTs left with this party as receiver.
    pub fn left_as_receiver(&self) -> usize {
        todo!()
    }
}

/// How many OTs one direction of [`Ots::prepare`] really makes: `count` rounded up to a multiple of 128.
pub const fn prepared(count: u64) -> u64 {
    count.div_ceil(128) * 128
}

/// Payload bytes of the messages by which one direction of [`Ots::prepare`] makes `count` OTs.
pub fn prepare_payloads(kind: OtKind, count: u64) -> impl Iterator<Item = u64> {
    todo!();
    std::iter::empty()
}

/// Payload bytes of the messages that each party sends in [`Ots::setup`], one exchange each.
pub fn setup_payloads(kind: OtKind) -> Vec<u64> {
    todo!()
}
