//! TLS on any stream, for tests: what runs beneath it may be a pipe with faults.

use tokio::io::{AsyncRead, AsyncWrite};

use super::{TlsClient, TlsServer};
use crate::Error;

/// What a refusal calls a peer without an address.
const PEER: &str = "the other end of a pipe";

impl TlsServer {
    /// The server's handshake on `stream`; the caller bounds its time.
    ///
    /// # Errors
    /// [`Error::TlsRefused`] if either party refuses the other.
    pub async fn over<S>(&self, stream: S) -> Result<impl AsyncRead + AsyncWrite + Send + use<S>, Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        self.accept(stream).await.map_err(|refused| refused.error(PEER.to_owned()))
    }
}

impl TlsClient {
    /// The client's handshake on `stream`; the caller bounds its time.
    ///
    /// # Errors
    /// [`Error::TlsRefused`] if this party refuses the server.
    pub async fn over<S>(&self, stream: S) -> Result<impl AsyncRead + AsyncWrite + Send + use<S>, Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin,
    {
        self.connect(stream).await.map_err(|refused| refused.error(PEER.to_owned()))
    }
}
