//! Counts what crosses the wire, by part of the protocol.

use std::collections::BTreeMap;
use std::ops::AddAssign;

pub use eqo_checkpoints::cost::Scope;

/// What one party saw of one scope. Bytes include the frame headers.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Traffic {
    /// Bytes this party sent.
    pub bytes_sent: u64,
    /// Bytes this party received.
    pub bytes_received: u64,
    /// Frames sent and received.
    pub frames: u64,
    /// By how much the longest chain of messages that had to wait for each other grew. Messages of both parties that
    /// cross each other count once.
    pub rounds: u64,
}

impl Traffic {
    /// Bytes in both directions.
    pub fn bytes(&self) -> u64 {
        self.bytes_sent + self.bytes_received
    }

    /// What came since `earlier`, an earlier count of the same.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            bytes_sent: self.bytes_sent.saturating_sub(earlier.bytes_sent),
            bytes_received: self.bytes_received.saturating_sub(earlier.bytes_received),
            frames: self.frames.saturating_sub(earlier.frames),
            rounds: self.rounds.saturating_sub(earlier.rounds),
        }
    }
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.frames += other.frames;
        self.rounds += other.rounds;
    }
}

/// Byte, frame and round counts of one channel, a row per [`Scope`].
///
/// A frame carries its causal depth: one more than the deepest frame its sender had received. The deepest frame sent or
/// received so far is the number of rounds so far, and both parties agree on it once all frames have arrived.
#[derive(Clone, Debug)]
pub struct Meter {
    scope: Scope,
    rows: BTreeMap<Scope, Traffic>,
    received_depth: u32,
    deepest: u32,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self { scope: Scope::Handshake, rows: BTreeMap::new(), received_depth: 0, deepest: 0 }
    }

    /// The scope that traffic is booked under now.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// One row; all zero if nothing was booked under it.
    pub fn of(&self, scope: Scope) -> Traffic {
        self.rows.get(&scope).copied().unwrap_or_default()
    }

    /// All rows with traffic, in protocol order.
    pub fn rows(&self) -> impl Iterator<Item = (Scope, Traffic)> + '_ {
        self.rows.iter().map(|(scope, traffic)| (*scope, *traffic))
    }

    /// The sum of all rows.
    pub fn total(&self) -> Traffic {
        self.rows.values().fold(Traffic::default(), |mut sum, row| {
            sum += *row;
            sum
        })
    }

    pub(super) fn set_scope(&mut self, scope: Scope) {
        self.scope = scope;
    }

    /// The deepest frame received so far: what a frame sent now depends on.
    pub(super) fn received_depth(&self) -> u32 {
        self.received_depth
    }

    /// The deepest frame that a correct peer can have sent.
    pub(super) fn depth_limit(&self) -> u32 {
        self.deepest.saturating_add(1)
    }

    pub(super) fn sent(&mut self, bytes: u64, depth: u32) {
        self.book(depth, Traffic { bytes_sent: bytes, frames: 1, ..Traffic::default() });
    }

    pub(super) fn received(&mut self, bytes: u64, depth: u32) {
        self.received_depth = self.received_depth.max(depth);
        self.book(depth, Traffic { bytes_received: bytes, frames: 1, ..Traffic::default() });
    }

    fn book(&mut self, depth: u32, mut traffic: Traffic) {
        traffic.rounds = u64::from(depth.saturating_sub(self.deepest));
        self.deepest = self.deepest.max(depth);
        *self.rows.entry(self.scope).or_default() += traffic;
    }
}
