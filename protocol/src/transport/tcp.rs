//! TCP connections, without Nagle's delay.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::{Channel, Scope, TransportConfig};
use crate::Error;

/// Connects to `address` (`host:port`) within the configured timeout. Call it outside the runtime.
///
/// # Errors
/// [`Error::Io`] if the address is refused or unknown, [`Error::Timeout`] if nothing answers.
pub fn connect(address: &str, runtime: &Handle, config: TransportConfig) -> Result<Channel, Error> {
    let stream = runtime
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
        })?;
    over_tcp(stream, runtime, config)
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

    /// Waits at most `wait` for one client; `None` if none came, or one that was gone again before it was served.
    ///
    /// # Errors
    /// [`Error::Io`] if the system can't accept it.
    pub fn accept(&self, wait: Duration) -> Result<Option<(Channel, SocketAddr)>, Error> {
        let Ok(accepted) = self.runtime.block_on(async { timeout(wait, self.socket.accept()).await }) else {
            return Ok(None);
        };
        match accepted {
            // A dead connection is that client's affair: it must not end the server.
            Ok((stream, peer)) => {
                Ok(over_tcp(stream, &self.runtime, self.config).ok().map(|channel| (channel, peer)))
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
