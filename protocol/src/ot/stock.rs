//! The stock of random OTs of one direction, drawn down so that each serves once.

use zeroize::Zeroizing;

use super::hash::OtHash;
use super::{Block, Extension, OtKind, Plan, RandomCotReceiver, RandomCotSender, Secrets, Step};
use crate::Error;
use crate::transport::Channel;

/// Random OTs taken out of a sender's stock. OT j has the serial number `first_serial` + j, which no other OT of the
/// direction has, and the keys H(q_j) and H(q_j ^ delta).
pub(super) struct SenderDraw {
    pub(super) q: Secrets,
    pub(super) first_serial: u64,
}

/// Random OTs taken out of a receiver's stock; the key of OT j is H(t_j), its choice the lowest bit of t_j.
pub(super) struct ReceiverDraw {
    pub(super) t: Secrets,
    pub(super) first_serial: u64,
}

impl ReceiverDraw {
    /// The random choice of each OT, in order.
    pub(super) fn choices(&self) -> impl Iterator<Item = bool> {
        self.t.iter().map(|t| t & 1 == 1)
    }
}

/// The stock with this party as sender.
pub(super) struct SenderStock {
    source: Box<dyn RandomCotSender>,
    extension: Extension,
    pub(super) delta: Zeroizing<Block>,
    pub(super) hash: OtHash,
    q: Secrets,
    next_serial: u64,
}

impl SenderStock {
    pub(super) fn new(kind: OtKind, source: Box<dyn RandomCotSender>, hash: OtHash) -> Self {
        let delta = Zeroizing::new(source.delta());
        Self { source, extension: Extension::new(kind), delta, hash, q: Zeroizing::default(), next_serial: 0 }
    }

    pub(super) fn left(&self) -> usize {
        self.q.len()
    }

    /// How to make `count` OTs more, with room for all that comes out.
    pub(super) fn plan(&mut self, count: usize) -> Plan {
        let plan = self.extension.plan(count as u64);
        grow(&mut self.q, plan.room() as usize);
        plan
    }

    pub(super) fn set_threads(&mut self, threads: usize) {
        self.source.set_threads(threads);
    }

    pub(super) fn extend(&mut self, channel: &mut Channel, step: Step) -> Result<(), Error> {
        self.source.extend(channel, step, &mut self.q)
    }

    /// The peer's stock has the same size and is drawn in the same order, so both take the same OTs.
    pub(super) fn draw(&mut self, count: usize) -> Result<SenderDraw, Error> {
        check("random OTs as sender", count, self.q.len())?;
        let first_serial = self.next_serial;
        self.next_serial += count as u64;
        let rest = self.q.len() - count;
        let q = Zeroizing::new(self.q[rest..].to_vec());
        self.q.truncate(rest);
        Ok(SenderDraw { q, first_serial })
    }

    /// [`draw`](Self::draw) in place: `body(hash, q, first_serial)`.
    pub(super) fn spend(
        &mut self,
        count: usize,
        body: impl FnOnce(&OtHash, &[Block], u64),
    ) -> Result<(), Error> {
        check("random OTs as sender", count, self.q.len())?;
        let rest = self.q.len() - count;
        body(&self.hash, &self.q[rest..], self.next_serial);
        self.next_serial += count as u64;
        self.q.truncate(rest);
        Ok(())
    }
}

/// The stock with this party as receiver.
pub(super) struct ReceiverStock {
    source: Box<dyn RandomCotReceiver>,
    extension: Extension,
    pub(super) hash: OtHash,
    t: Secrets,
    next_serial: u64,
}

impl ReceiverStock {
    pub(super) fn new(kind: OtKind, source: Box<dyn RandomCotReceiver>, hash: OtHash) -> Self {
        Self { source, extension: Extension::new(kind), hash, t: Zeroizing::default(), next_serial: 0 }
    }

    pub(super) fn left(&self) -> usize {
        self.t.len()
    }

    /// See [`SenderStock::plan`].
    pub(super) fn plan(&mut self, count: usize) -> Plan {
        let plan = self.extension.plan(count as u64);
        grow(&mut self.t, plan.room() as usize);
        plan
    }

    pub(super) fn set_threads(&mut self, threads: usize) {
        self.source.set_threads(threads);
    }

    pub(super) fn extend(&mut self, channel: &mut Channel, step: Step) -> Result<(), Error> {
        self.source.extend(channel, step, &mut self.t)
    }

    /// See [`SenderStock::draw`].
    pub(super) fn draw(&mut self, count: usize) -> Result<ReceiverDraw, Error> {
        check("random OTs as receiver", count, self.t.len())?;
        let first_serial = self.next_serial;
        self.next_serial += count as u64;
        let rest = self.t.len() - count;
        let t = Zeroizing::new(self.t[rest..].to_vec());
        self.t.truncate(rest);
        Ok(ReceiverDraw { t, first_serial })
    }

    /// See [`SenderStock::spend`].
    pub(super) fn spend(
        &mut self,
        count: usize,
        body: impl FnOnce(&OtHash, &[Block], u64),
    ) -> Result<(), Error> {
        check("random OTs as receiver", count, self.t.len())?;
        let rest = self.t.len() - count;
        body(&self.hash, &self.t[rest..], self.next_serial);
        self.next_serial += count as u64;
        self.t.truncate(rest);
        Ok(())
    }
}

fn check(what: &'static str, needed: usize, available: usize) -> Result<(), Error> {
    if needed > available {
        return Err(Error::Exhausted { what, needed, available });
    }
    Ok(())
}

/// Makes room for `more` blocks; the old memory is wiped, which growing a `Vec` in place would not do.
pub(super) fn grow(secrets: &mut Secrets, more: usize) {
    if secrets.capacity() - secrets.len() < more {
        let mut grown = Zeroizing::new(Vec::with_capacity(secrets.len() + more));
        grown.extend_from_slice(secrets);
        *secrets = grown;
    }
}
