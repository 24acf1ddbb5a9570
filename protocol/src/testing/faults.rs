//! Two parties with a bad network between them.
//!
//! ```text
//! server's channel ── tap ── (TLS) ── pipe ── relay ── pipe ── (TLS) ── tap ── client's channel
//! ```
//!
//! The relay passes whole messages on, frames in the clear or records beneath TLS, and does what its faults say to those that they
//! name. The taps keep what each party said.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::relay::{Framing, Relay};
use super::tap::{Said, Tapped};
use crate::Error;
use crate::transport::{Channel, Scope, TlsClient, TlsServer, TransportConfig};

/// Bytes that each pipe holds in each direction.
const PIPE: usize = 64 << 10;

/// Which way a message goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the client.
    ToServer,
    /// From the server.
    ToClient,
}

/// What happens to a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FaultKind {
    /// It never arrives.
    Drop,
    /// It and what follows arrive this much later.
    Delay(Duration),
    /// Its first half arrives, then the connection ends.
    Truncate,
    /// It arrives twice.
    Duplicate,
    /// One bit arrives wrong: this one, counted around its length.
    Flip(u32),
    /// It arrives after the next one.
    Reorder,
    /// Neither it nor anything later arrives in its direction, and the connection stays.
    Stall,
    /// The connection ends instead, in both directions.
    Cut,
}

impl FaultKind {
    /// A short name, for counters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Delay(_) => "delay",
            Self::Truncate => "truncate",
            Self::Duplicate => "duplicate",
            Self::Flip(_) => "flip",
            Self::Reorder => "reorder",
            Self::Stall => "stall",
            Self::Cut => "cut",
        }
    }
}

/// One thing that goes wrong on the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Which way.
    pub direction: Direction,
    /// The message of that direction that it happens to, counted from 0. Of several faults of a message the first one happens.
    pub at: usize,
    /// What.
    pub kind: FaultKind,
}

/// What the parties' channels run over.
#[derive(Clone)]
pub enum Wire {
    /// In the clear: messages are frames.
    Plaintext,
    /// TLS with certificates on both sides: messages are records, those of the handshake included.
    Tls(TlsServer, TlsClient),
}

/// Both parties' ends and what is between them.
pub struct Faulty {
    /// The server's end.
    pub server: End,
    /// The client's end.
    pub client: End,
    /// Stops when it is dropped.
    pub relay: Relay,
}

/// One party's end, still to be opened on the party's own thread: TLS takes both.
pub struct End {
    stream: DuplexStream,
    tls: Option<Side>,
    runtime: Handle,
    config: TransportConfig,
    said: Said,
}

enum Side {
    Server(TlsServer),
    Client(TlsClient),
}

/// Two ends joined by a relay with these faults.
pub fn faulty_pair(wire: &Wire, faults: &[Fault], runtime: &Handle, config: TransportConfig) -> Faulty {
    let (server_outer, server_inner) = tokio::io::duplex(PIPE);
    let (client_outer, client_inner) = tokio::io::duplex(PIPE);
    let (framing, sides) = match wire {
        Wire::Plaintext => (Framing::Frames, [None, None]),
        Wire::Tls(server, client) => {
            (Framing::Records, [Some(Side::Server(server.clone())), Some(Side::Client(client.clone()))])
        }
    };
    let relay = Relay::start(framing, [server_inner, client_inner], faults, runtime);
    let end = |stream, tls| End { stream, tls, runtime: runtime.clone(), config, said: Said::default() };
    let [server, client] = sides;
    Faulty { server: end(server_outer, server), client: end(client_outer, client), relay }
}

impl End {
    /// What this party will say; stays readable after [`End::open`].
    pub fn said(&self) -> Said {
        self.said.clone()
    }

    /// The party's channel, after a TLS handshake if there is one, for which it waits as long as for anything else.
    ///
    /// # Errors
    /// [`Error::TlsRefused`], [`Error::Timeout`].
    pub fn open(self) -> Result<Channel, Error> {
        let Self { stream, tls, runtime, config, said } = self;
        let late = |_| Error::Timeout {
            scope: Scope::Handshake,
            event: "finish the TLS handshake",
            after: config.timeout,
        };
        match tls {
            None => Ok(over(stream, said, &runtime, config)),
            Some(Side::Server(tls)) => {
                let stream = runtime.block_on(async { timeout(config.timeout, tls.over(stream)).await });
                Ok(over(stream.map_err(late)??, said, &runtime, config))
            }
            Some(Side::Client(tls)) => {
                let stream = runtime.block_on(async { timeout(config.timeout, tls.over(stream)).await });
                Ok(over(stream.map_err(late)??, said, &runtime, config))
            }
        }
    }
}

fn over<S>(stream: S, said: Said, runtime: &Handle, config: TransportConfig) -> Channel
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    Channel::over(Tapped::new(stream, said), runtime, config)
}
