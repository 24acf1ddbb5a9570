//! TLS 1.3 with certificates on both sides, under the same frames as plain TCP.
//!
//! Both parties hold a certificate of one authority and refuse a peer without: the client also a server of another name, the server
//! also a client whose certificate isn't on its list, if it has one. Nothing is resumed and no early data is taken, so a
//! recorded handshake is worth nothing. Keys are read from files and reach no log.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::credentials::{Credentials, Fingerprint, Loaded, fingerprint, provider, unusable};
use super::refusal::{ListedClients, Refused};
use crate::Error;

/// Longest wait for a refused peer to hear why, and for the reason why this party was.
pub(super) const ALERT_WAIT: Duration = Duration::from_secs(1);

/// Most bytes that a refused peer is listened to meanwhile.
const MAX_UNREAD: usize = 1 << 20;

/// The server's side of TLS.
#[derive(Clone)]
pub struct TlsServer {
    acceptor: TlsAcceptor,
}

/// The client's side of TLS.
#[derive(Clone)]
pub struct TlsClient {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl TlsServer {
    /// Reads `credentials`. With `allowed`, only clients whose certificates have these fingerprints are let in.
    ///
    /// # Errors
    /// [`Error::Credentials`] for files that can't be read or don't belong together.
    pub fn new(credentials: &Credentials, allowed: Option<BTreeSet<Fingerprint>>) -> Result<Self, Error> {
        let Loaded { chain, key, roots } = Loaded::read(credentials)?;
        let wrong =
            |path: &Path, error: String| unusable(path, "a certificate and key that serve TLS 1.3", error);
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| wrong(&credentials.authority, error.to_string()))?;
        let verifier = match allowed {
            Some(allowed) => Arc::new(ListedClients { authority: verifier, allowed }),
            None => verifier,
        };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .and_then(|builder| builder.with_client_cert_verifier(verifier).with_single_cert(chain, key))
            .map_err(|error| wrong(&credentials.certificate, error.to_string()))?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    pub(super) async fn accept<S>(&self, stream: S) -> Result<server::TlsStream<S>, Refused>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let accepted = self.acceptor.accept(stream).into_fallible().await;
        match accepted {
            Ok(stream) => Ok(stream),
            Err((error, stream)) => {
                // What the client sent meanwhile and nobody read would make the system cut the connection before the alert
                // is read.
                let _ = timeout(ALERT_WAIT, last_words(stream)).await;
                Err(Refused::of(&error))
            }
        }
    }
}

/// Lets the peer read the alert and close; reads at most [`MAX_UNREAD`] bytes of what it still says.
async fn last_words<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> std::io::Result<()> {
    stream.shutdown().await?;
    let mut scratch = [0; 4096];
    let mut read = 0;
    while read < MAX_UNREAD {
        match stream.read(&mut scratch).await? {
            0 => break,
            more => read += more,
        }
    }
    Ok(())
}

impl TlsClient {
    /// Reads `credentials`; the server's certificate must be for `name`, a host name or an address.
    ///
    /// # Errors
    /// [`Error::Credentials`] for files that can't be read or don't belong together; [`Error::Config`] for no name.
    pub fn new(credentials: &Credentials, name: &str) -> Result<Self, Error> {
        let Loaded { chain, key, roots } = Loaded::read(credentials)?;
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .and_then(|builder| builder.with_root_certificates(roots).with_client_auth_cert(chain, key))
            .map_err(|error| {
                unusable(&credentials.certificate, "a certificate and its key for TLS 1.3", error.to_string())
            })?;
        config.resumption = Resumption::disabled();
        let name = ServerName::try_from(name.to_owned()).map_err(|_| Error::Config {
            what: "name of the server",
            expected: "a host name or an address".into(),
            found: format!("{name:?}"),
            next: "give the name that its certificate is for",
        })?;
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name })
    }

    pub(super) async fn connect<S>(&self, stream: S) -> Result<client::TlsStream<S>, Refused>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.connector.connect(self.name.clone(), stream).await.map_err(|error| Refused::of(&error))
    }
}

/// The fingerprint of the certificate that a client has shown.
pub(super) fn client_of<S>(stream: &server::TlsStream<S>) -> Option<Fingerprint> {
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    Some(fingerprint(certificate))
}
