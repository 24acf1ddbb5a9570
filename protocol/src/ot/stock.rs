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
    pile: Pile,
}

impl SenderStock {
    pub(super) fn new(kind: OtKind, source: Box<dyn RandomCotSender>, hash: OtHash) -> Self {
        let delta = Zeroizing::new(source.delta());
        Self { source, extension: Extension::new(kind), delta, hash, pile: Pile::new("random OTs as sender") }
    }

    pub(super) fn left(&self) -> usize {
        self.pile.blocks.len()
    }

    /// How to make `count` OTs more, with room for all that comes out.
    pub(super) fn plan(&mut self, count: usize) -> Plan {
        let plan = self.extension.plan(count as u64);
        grow(&mut self.pile.blocks, plan.room() as usize);
        plan
    }

    pub(super) fn set_threads(&mut self, threads: usize) {
        self.source.set_threads(threads);
    }

    pub(super) fn extend(&mut self, channel: &mut Channel, step: Step) -> Result<(), Error> {
        self.source.extend(channel, step, &mut self.pile.blocks)
    }

    /// The peer's stock has the same size and is drawn in the same order, so both take the same OTs.
    pub(super) fn draw(&mut self, count: usize) -> Result<SenderDraw, Error> {
        self.pile.take(count, |q, first_serial| SenderDraw { q: Zeroizing::new(q.to_vec()), first_serial })
    }

    /// [`draw`](Self::draw) in place: `body(hash, q, first_serial)`.
    pub(super) fn spend(
        &mut self,
        count: usize,
        body: impl FnOnce(&OtHash, &[Block], u64),
    ) -> Result<(), Error> {
        let hash = &self.hash;
        self.pile.take(count, |q, first_serial| body(hash, q, first_serial))
    }
}

/// The stock with this party as receiver.
pub(super) struct ReceiverStock {
    source: Box<dyn RandomCotReceiver>,
    extension: Extension,
    pub(super) hash: OtHash,
    pile: Pile,
}

impl ReceiverStock {
    pub(super) fn new(kind: OtKind, source: Box<dyn RandomCotReceiver>, hash: OtHash) -> Self {
        Self { source, extension: Extension::new(kind), hash, pile: Pile::new("random OTs as receiver") }
    }

    pub(super) fn left(&self) -> usize {
        self.pile.blocks.len()
    }

    /// See [`SenderStock::plan`].
    pub(super) fn plan(&mut self, count: usize) -> Plan {
        let plan = self.extension.plan(count as u64);
        grow(&mut self.pile.blocks, plan.room() as usize);
        plan
    }

    pub(super) fn set_threads(&mut self, threads: usize) {
        self.source.set_threads(threads);
    }

    pub(super) fn extend(&mut self, channel: &mut Channel, step: Step) -> Result<(), Error> {
        self.source.extend(channel, step, &mut self.pile.blocks)
    }

    /// See [`SenderStock::draw`].
    pub(super) fn draw(&mut self, count: usize) -> Result<ReceiverDraw, Error> {
        self.pile.take(count, |t, first_serial| ReceiverDraw { t: Zeroizing::new(t.to_vec()), first_serial })
    }

    /// See [`SenderStock::spend`].
    pub(super) fn spend(
        &mut self,
        count: usize,
        body: impl FnOnce(&OtHash, &[Block], u64),
    ) -> Result<(), Error> {
        let hash = &self.hash;
        self.pile.take(count, |t, first_serial| body(hash, t, first_serial))
    }
}

/// The OTs of one direction that are left, and how many were taken.
struct Pile {
    blocks: Secrets,
    next_serial: u64,
    /// What errors call them.
    what: &'static str,
}

impl Pile {
    fn new(what: &'static str) -> Self {
        Self { blocks: Zeroizing::default(), next_serial: 0, what }
    }

    /// Takes the last `count` blocks off: `body(blocks, first_serial)` is the only one to see them.
    fn take<T>(&mut self, count: usize, body: impl FnOnce(&[Block], u64) -> T) -> Result<T, Error> {
        let available = self.blocks.len();
        let rest = available.checked_sub(count).ok_or(Error::Exhausted {
            what: self.what,
            needed: count,
            available,
        })?;
        let taken = body(&self.blocks[rest..], self.next_serial);
        self.next_serial += count as u64;
        self.blocks.truncate(rest);
        Ok(taken)
    }
}

/// Makes room for `more` blocks; the old memory is wiped, which growing a `Vec` in place would not do.
pub(super) fn grow(secrets: &mut Secrets, more: usize) {
    if secrets.capacity() - secrets.len() < more {
        let mut grown = Zeroizing::new(Vec::with_capacity(secrets.len() + more));
        grown.extend_from_slice(secrets);
        *secrets = grown;
    }
}
