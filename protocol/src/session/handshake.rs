//! The messages before the first inference. Their lengths are in [`eqo_checkpoints::cost`].

use eqo_checkpoints::cost::{Answer, CONFIRMATION_BYTES, HELLO_BYTES, REQUEST_BYTES, WELCOME_BYTES};

use super::parking::Ticket;
use crate::Error;
use crate::error::{Unserved, hex};
use crate::transport::{Channel, Scope};

const MAGIC: [u8; 6] = *b"EQO2PC";

/// Both parties must speak the same version.
const VERSION: u16 = 3;

/// Client to server.
pub(super) struct Hello {
    /// The code of the kind of OT that the client proposes.
    pub(super) ot: u8,
    /// Of the session that it comes back to.
    pub(super) ticket: Ticket,
}

/// What a party makes of the other's message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A new session.
    Accepted,
    /// The server doesn't run this kind of OT.
    OtRefused,
    /// The client expected another graph.
    OtherGraph,
    /// The session that the client came back to.
    Resumed,
    /// The server has too many clients.
    Busy,
    /// The server is about to stop.
    Draining,
}

/// Server to client.
pub(super) struct Welcome {
    pub(super) verdict: Verdict,
    pub(super) max_batch: u32,
    pub(super) max_prepared: u32,
    /// By which the client may come back.
    pub(super) ticket: Ticket,
}

/// Client to server.
pub(super) struct Confirmation {
    pub(super) verdict: Verdict,
    pub(super) graph_hash: [u8; 32],
}

impl Hello {
    pub(super) fn send(&self, channel: &mut Channel) -> Result<(), Error> {
        let mut message = greeting();
        message.push(self.ot);
        message.extend(self.ticket);
        channel.send(message)
    }

    pub(super) fn recv(channel: &mut Channel) -> Result<Self, Error> {
        let message = channel.recv(HELLO_BYTES)?;
        let rest = after_greeting(&message)?;
        Ok(Self { ot: rest[0], ticket: ticket(&rest[1..]) })
    }
}

impl Welcome {
    pub(super) fn send(&self, channel: &mut Channel) -> Result<(), Error> {
        let mut message = greeting();
        message.push(self.verdict as u8);
        message.extend(self.max_batch.to_le_bytes());
        message.extend(self.max_prepared.to_le_bytes());
        message.extend(self.ticket);
        channel.send(message)
    }

    pub(super) fn recv(channel: &mut Channel) -> Result<Self, Error> {
        let message = channel.recv(WELCOME_BYTES)?;
        let rest = after_greeting(&message)?;
        let number = |at: usize| u32::from_le_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
        let (max_batch, max_prepared) = (number(1), number(5));
        Ok(Self { verdict: Verdict::read(rest[0])?, max_batch, max_prepared, ticket: ticket(&rest[9..]) })
    }
}

impl Confirmation {
    pub(super) fn send(&self, channel: &mut Channel) -> Result<(), Error> {
        let mut message = vec![self.verdict as u8];
        message.extend(self.graph_hash);
        channel.send(message)
    }

    pub(super) fn recv(channel: &mut Channel) -> Result<Self, Error> {
        let message = channel.recv(CONFIRMATION_BYTES)?;
        let mut graph_hash = [0; 32];
        graph_hash.copy_from_slice(&message[1..]);
        Ok(Self { verdict: Verdict::read(message[0])?, graph_hash })
    }
}

/// What a client asks for, with the batch size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Request {
    /// The end of the session.
    Close,
    /// The offline part of an inference.
    Prepare(usize),
    /// An inference.
    Infer(usize, Answer),
}

impl Request {
    pub(super) fn send(self, channel: &mut Channel) -> Result<(), Error> {
        let (kind, batch) = match self {
            Self::Close => (0, 0),
            Self::Prepare(batch) => (1, batch),
            Self::Infer(batch, Answer::Logits) => (2, batch),
            Self::Infer(batch, Answer::Top1) => (3, batch),
        };
        let mut message = vec![kind];
        message.extend((batch as u32).to_le_bytes());
        channel.set_scope(Scope::Request);
        channel.send(message)
    }

    /// Receives a request for at most `max_batch` images.
    pub(super) fn recv(channel: &mut Channel, max_batch: usize) -> Result<Self, Error> {
        channel.set_scope(Scope::Request);
        let message = channel.recv(REQUEST_BYTES)?;
        let batch = u32::from_le_bytes([message[1], message[2], message[3], message[4]]) as usize;
        let wrong = |what, expected, found: String| {
            Err(Error::PeerData { scope: Scope::Request, what, expected, found })
        };
        let request = match message[0] {
            0 => return Ok(Self::Close),
            1 => Self::Prepare(batch),
            2 => Self::Infer(batch, Answer::Logits),
            3 => Self::Infer(batch, Answer::Top1),
            kind => return wrong("a request", "0, 1, 2 or 3", kind.to_string()),
        };
        if (1..=max_batch).contains(&batch) {
            return Ok(request);
        }
        wrong("a batch size", "at least 1 and at most the largest batch of the handshake", batch.to_string())
    }
}

/// The error for parties that run different graphs.
pub(super) fn other_graph(ours: &[u8; 32], theirs: Option<&[u8; 32]>) -> Error {
    Error::PeerIncompatible {
        what: "graph",
        ours: hex(ours),
        theirs: theirs.map_or_else(|| "another".to_owned(), hex),
        next: "the peer claims another graph: give both parties the same checkpoint",
    }
}

impl From<Unserved> for Verdict {
    fn from(reason: Unserved) -> Self {
        match reason {
            Unserved::Busy => Self::Busy,
            Unserved::Draining => Self::Draining,
        }
    }
}

impl Verdict {
    fn read(byte: u8) -> Result<Self, Error> {
        match byte {
            0 => Ok(Self::Accepted),
            1 => Ok(Self::OtRefused),
            2 => Ok(Self::OtherGraph),
            3 => Ok(Self::Resumed),
            4 => Ok(Self::Busy),
            5 => Ok(Self::Draining),
            _ => Err(Error::PeerData {
                scope: Scope::Handshake,
                what: "a verdict",
                expected: "0 to 5",
                found: byte.to_string(),
            }),
        }
    }
}

/// The first bytes of what follows.
fn ticket(bytes: &[u8]) -> Ticket {
    let mut ticket = Ticket::default();
    ticket.copy_from_slice(&bytes[..size_of::<Ticket>()]);
    ticket
}

fn greeting() -> Vec<u8> {
    let mut message = MAGIC.to_vec();
    message.extend(VERSION.to_le_bytes());
    message
}

/// Checks magic and version; returns what follows them.
fn after_greeting(message: &[u8]) -> Result<&[u8], Error> {
    let (magic, rest) = message.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(Error::PeerData {
            scope: Scope::Handshake,
            what: "the greeting",
            expected: "EQO2PC",
            found: format!("{:?}", String::from_utf8_lossy(magic)),
        });
    }
    let version = u16::from_le_bytes([rest[0], rest[1]]);
    if version != VERSION {
        return Err(Error::PeerIncompatible {
            what: "protocol version",
            ours: VERSION.to_string(),
            theirs: version.to_string(),
            next: "run the same version of eqo on both sides",
        });
    }
    Ok(&rest[2..])
}
