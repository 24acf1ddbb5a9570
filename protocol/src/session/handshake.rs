//! The messages before the first inference. Their lengths are in [`eqo_checkpoints::cost`].

use std::fmt::Write as _;

use eqo_checkpoints::cost::{CONFIRMATION_BYTES, HELLO_BYTES, REQUEST_BYTES, WELCOME_BYTES};

use crate::Error;
use crate::transport::{Channel, Scope};

const MAGIC: [u8; 6] = *b"EQO2PC";

/// Both parties must speak the same version.
const VERSION: u16 = 1;

/// Client to server.
pub(super) struct Hello {
    /// The k of SoftSpoken that the client proposes.
    pub(super) ot: u8,
}

/// What a party makes of the other's message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Accepted,
    /// The server doesn't run this kind of OT.
    OtRefused,
    /// The client expected another graph.
    OtherGraph,
}

/// Server to client.
pub(super) struct Welcome {
    pub(super) verdict: Verdict,
    pub(super) max_batch: u32,
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
        channel.send(message)
    }

    pub(super) fn recv(channel: &mut Channel) -> Result<Self, Error> {
        let message = channel.recv(HELLO_BYTES)?;
        let rest = after_greeting(&message)?;
        Ok(Self { ot: rest[0] })
    }
}

impl Welcome {
    pub(super) fn send(&self, channel: &mut Channel) -> Result<(), Error> {
        let mut message = greeting();
        message.push(self.verdict as u8);
        message.extend(self.max_batch.to_le_bytes());
        channel.send(message)
    }

    pub(super) fn recv(channel: &mut Channel) -> Result<Self, Error> {
        let message = channel.recv(WELCOME_BYTES)?;
        let rest = after_greeting(&message)?;
        let max_batch = u32::from_le_bytes([rest[1], rest[2], rest[3], rest[4]]);
        Ok(Self { verdict: Verdict::read(rest[0])?, max_batch })
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

/// Asks for an inference of `batch` images; zero ends the session.
pub(super) fn send_request(channel: &mut Channel, batch: u32) -> Result<(), Error> {
    channel.set_scope(Scope::Handshake);
    channel.send(batch.to_le_bytes().to_vec())
}

pub(super) fn recv_request(channel: &mut Channel) -> Result<u32, Error> {
    channel.set_scope(Scope::Handshake);
    let message = channel.recv(REQUEST_BYTES)?;
    Ok(u32::from_le_bytes([message[0], message[1], message[2], message[3]]))
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

impl Verdict {
    fn read(byte: u8) -> Result<Self, Error> {
        match byte {
            0 => Ok(Self::Accepted),
            1 => Ok(Self::OtRefused),
            2 => Ok(Self::OtherGraph),
            _ => Err(Error::PeerData {
                scope: Scope::Handshake,
                what: "a verdict",
                expected: "0, 1 or 2",
                found: byte.to_string(),
            }),
        }
    }
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

fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
