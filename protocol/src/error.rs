//! What can go wrong, split by whose fault it is.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::transport::{Refusal, Scope};

/// An error of the private protocol. Each message says where, what was expected, what was found and what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller asked for something that can't be done.
    #[error("{what}: expected {expected}, found {found}; {next}")]
    Config {
        /// The setting or argument.
        what: &'static str,
        /// What would have been accepted.
        expected: String,
        /// What was given.
        found: String,
        /// What to do about it.
        next: &'static str,
    },
    /// The operating system refused.
    #[error("{action}: {source}; {next}")]
    Io {
        /// What was being done, with its address.
        action: String,
        /// The system's answer.
        source: io::Error,
        /// What to do about it.
        next: &'static str,
    },
    /// The peer is there but did nothing for too long.
    #[error(
        "{scope}: expected the peer to {event} within {} s, found nothing; check that it still runs and that the link is \
         up, or raise the timeout", .after.as_secs_f64()
    )]
    Timeout {
        /// The part of the protocol that waited.
        scope: Scope,
        /// What was awaited of the peer.
        event: &'static str,
        /// How long it was awaited.
        after: Duration,
    },
    /// The peer's message has the wrong length.
    #[error(
        "{scope}: expected {expected} bytes from the peer, found {found}; run the same version of this program and the \
         same graph on both sides"
    )]
    PeerLength {
        /// The part of the protocol that received it.
        scope: Scope,
        /// The length that both parties can compute.
        expected: u64,
        /// The length that arrived or was announced.
        found: u64,
    },
    /// The peer's message has the right length and an impossible content.
    #[error(
        "{scope}: expected {expected} as {what} from the peer, found {found}; the peer is faulty or speaks another \
         protocol, check its address and version"
    )]
    PeerData {
        /// The part of the protocol that received it.
        scope: Scope,
        /// Which value of the message.
        what: &'static str,
        /// What a correct peer sends.
        expected: &'static str,
        /// What came.
        found: String,
    },
    /// Both parties are correct but not made for each other.
    #[error("handshake: expected {what} {ours} as on this side, found {theirs} at the peer; {next}")]
    PeerIncompatible {
        /// The parameter that differs.
        what: &'static str,
        /// This party's value.
        ours: String,
        /// The peer's value.
        theirs: String,
        /// What to do about it.
        next: &'static str,
    },
    /// The server lets this client in later, or never.
    #[error("handshake: expected the server to begin a session, found that it {reason}; try again later")]
    TurnedAway {
        /// Why.
        reason: Unserved,
    },
    /// The server's graph can't be run.
    #[error("handshake: expected a sound graph from the server, found: {source}")]
    PeerGraph {
        /// What is wrong with it.
        source: Box<eqo_checkpoints::Error>,
    },
    /// The connection ended before the protocol did.
    #[error(
        "{scope}: expected the peer to stay connected, found {found}; see the peer's own error and run again"
    )]
    PeerClosed {
        /// The part of the protocol that was cut off.
        scope: Scope,
        /// How the connection ended.
        found: String,
    },
    /// This party ended the connection itself, through [`Channel::closer`](crate::transport::Channel::closer).
    #[error("{scope}: this party closed the connection: {reason}")]
    Closed {
        /// The part of the protocol that was cut off.
        scope: Scope,
        /// Why, as the closer said.
        reason: String,
    },
    /// A party's certificate, key or authority can't be used.
    #[error("{}: expected {expected}, found: {found}; make a set with `eqo cert`", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// What is wrong.
        found: String,
    },
    /// The TLS handshake ended without a connection.
    #[error(
        "TLS with {peer}: expected a peer of TLS 1.3 with a certificate of this party's authority, found {refusal} ({detail}); \
         check both parties' --tls-* files and clocks"
    )]
    TlsRefused {
        /// The peer's address.
        peer: String,
        /// Why, for counters too.
        refusal: Refusal,
        /// What the library says.
        detail: String,
    },
    /// Fewer correlations were prepared than are being used.
    #[error(
        "{what}: expected at least {needed} in stock, found {available}; prepare more before the online phase"
    )]
    Exhausted {
        /// Which stock ran out.
        what: &'static str,
        /// How many the call uses.
        needed: usize,
        /// How many were left.
        available: usize,
    },
}

/// Why a server turns a client away that it would serve at another time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Unserved {
    /// It has too many clients, or too little memory for one more.
    Busy,
    /// It is about to stop.
    Draining,
}

impl fmt::Display for Unserved {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Busy => "is busy with other clients",
            Self::Draining => "is about to stop",
        })
    }
}

/// What [`accept(2)`](https://man7.org/linux/man-pages/man2/accept.2.html) says of a socket that will never accept anybody again:
/// EBADF, EFAULT, EINVAL, ENOTSOCK.
const UNUSABLE_SOCKET: [i32; 4] = [9, 14, 22, if cfg!(target_os = "linux") { 88 } else { 38 }];

impl Error {
    /// Whether only the connection failed: the same may succeed on a new one ([`Client::resume`]).
    ///
    /// [`Client::resume`]: crate::session::client::Client::resume
    pub fn is_connection(&self) -> bool {
        matches!(self, Self::PeerClosed { .. } | Self::Closed { .. } | Self::Timeout { .. })
    }

    /// Whether a server that got this from [`Listener::knock`](crate::transport::Listener::knock) may try again: the system ran out of
    /// descriptors or buffers, or the client or the network went away. Only a socket that is no good any more is final.
    pub fn is_transient(&self) -> bool {
        let Self::Io { source, .. } = self else { return false };
        !source.raw_os_error().is_some_and(|code| UNUSABLE_SOCKET.contains(&code))
    }
}

/// Hashes and fingerprints as messages show them.
pub(crate) fn hex(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
