//! A dry run of the wire: who sends how much, and which message waits for which.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Add, AddAssign};

use super::wire::{frame_count, wire_bytes};

/// The part of the protocol that traffic is booked under, in protocol order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Scope {
    /// Version, graph and parameter agreement.
    Handshake,
    /// The public-key OTs that seed the extension.
    BaseOt,
    /// Random OTs by extension.
    OtExtension,
    /// The part of the graph's node with this index that needs no image.
    Offline(usize),
    /// What the client asks for: a preparation, an inference, the end.
    Request,
    /// The online part of the graph's node with this index.
    Node(usize),
    /// Revealing the output to the client.
    Result,
}

impl Scope {
    /// Whether its traffic waits for an image. Everything else can be done before.
    pub fn is_online(self) -> bool {
        matches!(self, Self::Request | Self::Node(_) | Self::Result)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Handshake => out.write_str("handshake"),
            Self::BaseOt => out.write_str("base OT"),
            Self::OtExtension => out.write_str("OT extension"),
            Self::Offline(index) => write!(out, "node {index} (offline)"),
            Self::Request => out.write_str("request"),
            Self::Node(index) => write!(out, "node {index}"),
            Self::Result => out.write_str("result"),
        }
    }
}

/// One of the two parties.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sender {
    /// Holds the weights.
    Server,
    /// Holds the image.
    Client,
}

/// What crosses the wire in one scope, frame headers included.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Flow {
    /// Bytes from client to server.
    pub to_server: u64,
    /// Bytes from server to client.
    pub to_client: u64,
    /// Frames in both directions.
    pub frames: u64,
    /// By how much the longest chain of messages that wait for each other grows, seen by the client. Messages that cross
    /// each other count once.
    pub rounds: u64,
}

impl Flow {
    /// Bytes in both directions.
    pub fn bytes(&self) -> u64 {
        self.to_server.saturating_add(self.to_client)
    }
}

impl AddAssign for Flow {
    fn add_assign(&mut self, other: Self) {
        self.to_server = self.to_server.saturating_add(other.to_server);
        self.to_client = self.to_client.saturating_add(other.to_client);
        self.frames = self.frames.saturating_add(other.frames);
        self.rounds = self.rounds.saturating_add(other.rounds);
    }
}

impl Add for Flow {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

/// Random OTs by who sends in them.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Ots {
    /// Those in which the server is the sender.
    pub server_sends: u64,
    /// Those in which the client is the sender.
    pub client_sends: u64,
}

impl AddAssign for Ots {
    fn add_assign(&mut self, other: Self) {
        self.server_sends = self.server_sends.saturating_add(other.server_sends);
        self.client_sends = self.client_sends.saturating_add(other.client_sends);
    }
}

/// Follows the messages of a protocol run without running it, by the rules of the transport's meter: a message is one
/// deeper than the deepest its sender has received.
pub(super) struct Ledger {
    scope: Scope,
    rows: BTreeMap<Scope, Flow>,
    received: [u64; 2],
    client_deepest: u64,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self { scope: Scope::Handshake, rows: BTreeMap::new(), received: [0; 2], client_deepest: 0 }
    }

    pub(super) fn set_scope(&mut self, scope: Scope) {
        self.scope = scope;
    }

    pub(super) fn row(&self, scope: Scope) -> Flow {
        self.rows.get(&scope).copied().unwrap_or_default()
    }

    /// One message of `payload` bytes.
    pub(super) fn send(&mut self, from: Sender, payload: u64) {
        self.flight(from, [payload]);
    }

    /// Messages that all leave before their sender receives anything.
    pub(super) fn flight(&mut self, from: Sender, payloads: impl IntoIterator<Item = u64>) {
        let depth = self.received[from as usize] + 1;
        for payload in payloads {
            self.deliver(from, (payload, 1), depth);
        }
    }

    /// Messages of both parties that cross each other: the payload bytes of one, and how many there are.
    pub(super) fn cross(
        &mut self,
        from_server: impl IntoIterator<Item = (u64, u64)>,
        from_client: impl IntoIterator<Item = (u64, u64)>,
    ) {
        let depths = self.received.map(|depth| depth + 1);
        for messages in from_server {
            self.deliver(Sender::Server, messages, depths[Sender::Server as usize]);
        }
        for messages in from_client {
            self.deliver(Sender::Client, messages, depths[Sender::Client as usize]);
        }
    }

    /// Both parties send `payload` bytes at once.
    pub(super) fn exchange(&mut self, payload: u64) {
        self.cross([(payload, 1)], [(payload, 1)]);
    }

    fn deliver(&mut self, from: Sender, (payload, count): (u64, u64), depth: u64) {
        if payload == 0 || count == 0 {
            return;
        }
        let row = self.rows.entry(self.scope).or_default();
        let (bytes, to) = match from {
            Sender::Server => (&mut row.to_client, Sender::Client),
            Sender::Client => (&mut row.to_server, Sender::Server),
        };
        *bytes = bytes.saturating_add(wire_bytes(payload).saturating_mul(count));
        row.frames = row.frames.saturating_add(frame_count(payload).saturating_mul(count));
        // The client sees a message when it sends or receives it, so one count serves both cases.
        row.rounds += depth.saturating_sub(self.client_deepest);
        self.client_deepest = self.client_deepest.max(depth);
        self.received[to as usize] = self.received[to as usize].max(depth);
    }
}
