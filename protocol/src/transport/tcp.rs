//! TCP connections, without Nagle's delay.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::tls::client_of;
use super::{Channel, Fingerprint, Scope, TlsClient, TlsServer, TransportConfig};
use crate::Error;

/// Connects to `address` (`host:port`) within the configured timeout. Call it outside the runtime.
///
/// # Errors
/// [`Error::Io`] if the address is refused or unknown, [`Error::Timeout`] if nothing answers.
pub fn connect(address: &str, runtime: &Handle, config: TransportConfig) -> Result<Channel, Error> {
    over_tcp(dial(address, runtime, config)?, runtime, config)
}

/// The same over TLS 1.3 with certificates on both sides.
///
/// # Errors
/// [`Error::TlsRefused`] if this party refuses the server. A server that refuses this party's certificate says so after the handshake:
/// the first message fails with [`Error::TlsRefused`], [`super::Refusal::ByPeer`]. [`Error::Timeout`] if the handshake takes too long;
/// those of [`connect`].
pub fn connect_tls(
    address: &str,
    tls: &TlsClient,
    runtime: &Handle,
    config: TransportConfig,
) -> Result<Channel, Error> {
    let stream = dial(address, runtime, config)?;
    stream.set_nodelay(true).map_err(socket_error("switch off Nagle's delay"))?;
    let shaken = runtime.block_on(async { timeout(config.timeout, tls.connect(stream)).await });
    let stream =
        shaken.map_err(|_| late(config.timeout))?.map_err(|refused| refused.error(address.to_owned()))?;
    Ok(Channel::over(stream, runtime, config))
}

fn dial(address: &str, runtime: &Handle, config: TransportConfig) -> Result<TcpStream, Error> {
    runtime
        .block_on(async { timeout(config.timeout, TcpStream::connect(address)).await })
        .map_err(|_| Error::Timeout {
            scope: Scope::Handshake,
            event: "accept a connection",
            after: config.timeout,
        })?
        .map_err(|source| Error::Io {
            action: format!("connect to {address}"),
            source,
            next: "start the server first and check its address and port",
        })
}

fn late(after: Duration) -> Error {
    Error::Timeout { scope: Scope::Handshake, event: "finish the TLS handshake", after }
}

/// Longest TLS handshake that a server waits for, whatever its timeout: a client that dawdles holds a session.
const LONGEST_HANDSHAKE: Duration = Duration::from_secs(10);

/// How a server talks to clients.
#[derive(Clone)]
pub enum Security {
    /// In the clear: for one machine.
    Plaintext,
    /// TLS 1.3 with certificates on both sides.
    Tls(TlsServer),
}

/// A client that has connected and said nothing yet.
pub struct Knock {
    stream: TcpStream,
    peer: SocketAddr,
    runtime: Handle,
    config: TransportConfig,
}

impl Knock {
    /// Where it comes from.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Lets it in, after a TLS handshake if `security` asks for one: the channel and, with TLS, the fingerprint of the client's
    /// certificate. Call it on the thread of the session, so that a slow client keeps nobody else waiting.
    ///
    /// # Errors
    /// [`Error::TlsRefused`] if either party refuses the other, [`Error::Timeout`] if the handshake takes longer than the configured
    /// timeout or 10 s.
    pub fn open(self, security: &Security) -> Result<(Channel, Option<Fingerprint>), Error> {
        let Self { stream, peer, runtime, config } = self;
        let Security::Tls(tls) = security else {
            return over_tcp(stream, &runtime, config).map(|channel| (channel, None));
        };
        stream.set_nodelay(true).map_err(socket_error("switch off Nagle's delay"))?;
        let wait = config.timeout.min(LONGEST_HANDSHAKE);
        let shaken = runtime.block_on(async { timeout(wait, tls.accept(stream)).await });
        let stream = shaken.map_err(|_| late(wait))?.map_err(|refused| refused.error(peer.to_string()))?;
        let client = client_of(&stream);
        Ok((Channel::over(stream, &runtime, config), client))
    }
}

/// A port that waits for clients.
pub struct Listener {
    socket: TcpListener,
    runtime: Handle,
    config: TransportConfig,
}

impl Listener {
    /// Listens on `address` (`host:port`; port 0 takes a free one). Call it outside the runtime.
    ///
    /// # Errors
    /// [`Error::Io`] if the address is not ours or the port is in use.
    pub fn bind(address: &str, runtime: &Handle, config: TransportConfig) -> Result<Self, Error> {
        let socket = runtime.block_on(TcpListener::bind(address)).map_err(|source| Error::Io {
            action: format!("listen on {address}"),
            source,
            next: "choose a free port and an address of this machine",
        })?;
        Ok(Self { socket, runtime: runtime.clone(), config })
    }

    /// The address that clients connect to.
    ///
    /// # Errors
    /// [`Error::Io`] if the socket is no longer usable.
    pub fn local_addr(&self) -> Result<SocketAddr, Error> {
        self.socket.local_addr().map_err(socket_error("read the listening address"))
    }

    /// Waits at most `wait` for one client and lets it in without TLS; `None` if none came, or one that was gone again before it
    /// was served.
    ///
    /// # Errors
    /// [`Error::Io`] if the system can't accept it.
    pub fn accept(&self, wait: Duration) -> Result<Option<(Channel, SocketAddr)>, Error> {
        let Some(knock) = self.knock(wait)? else { return Ok(None) };
        let peer = knock.peer();
        // A dead connection is that client's affair: it must not end the server.
        Ok(knock.open(&Security::Plaintext).ok().map(|(channel, _)| (channel, peer)))
    }

    /// Waits at most `wait` for one client; `None` if none came, or one that was gone again.
    ///
    /// # Errors
    /// [`Error::Io`] if the system can't accept it: for now, or never again ([`Error::is_transient`] tells).
    pub fn knock(&self, wait: Duration) -> Result<Option<Knock>, Error> {
        let Ok(accepted) = self.runtime.block_on(async { timeout(wait, self.socket.accept()).await }) else {
            return Ok(None);
        };
        match accepted {
            Ok((stream, peer)) => {
                Ok(Some(Knock { stream, peer, runtime: self.runtime.clone(), config: self.config }))
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) =>
            {
                Ok(None)
            }
            Err(error) => Err(socket_error("accept a client")(error)),
        }
    }
}

fn over_tcp(stream: TcpStream, runtime: &Handle, config: TransportConfig) -> Result<Channel, Error> {
    stream.set_nodelay(true).map_err(socket_error("switch off Nagle's delay"))?;
    Ok(Channel::over(stream, runtime, config))
}

fn socket_error(action: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::Io {
        action: action.into(),
        source,
        next: "check the system's socket limits and try again",
    }
}
