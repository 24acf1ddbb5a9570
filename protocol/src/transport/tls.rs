//! TLS 1.3 with certificates on both sides, under the same frames as plain TCP.
//!
//! Both parties hold a certificate of one authority and refuse a peer without: the client also a server of another name, the server
//! also a client whose certificate isn't on its list, if it has one. Nothing is resumed and no early data is taken, so a
//! recorded handshake is worth nothing. Keys are read from files and reach no log.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::Error;
use crate::error::hex;

/// SHA-256 of a certificate's DER bytes, as `openssl x509 -fingerprint -sha256` prints it.
pub type Fingerprint = [u8; 32];

/// PEM files of one party.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// Its certificate, and those between it and the authority's if there are any.
    pub certificate: PathBuf,
    /// The key of its certificate.
    pub key: PathBuf,
    /// The authority whose certificates it trusts.
    pub authority: PathBuf,
}

/// The server's side of TLS.
#[derive(Clone)]
pub struct TlsServer {
    acceptor: TlsAcceptor,
    allowed: Option<Arc<BTreeSet<Fingerprint>>>,
}

/// The client's side of TLS.
#[derive(Clone)]
pub struct TlsClient {
    connector: TlsConnector,
    name: ServerName<'static>,
}

/// Why a TLS connection was refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Refusal {
    /// Its certificate is of another authority, or its signature is wrong.
    UnknownAuthority,
    /// Its certificate is no longer valid.
    Expired,
    /// Its certificate isn't valid yet.
    NotYetValid,
    /// The server's certificate is for another name.
    WrongName,
    /// The certificate is for the other kind of party.
    WrongPurpose,
    /// The client has no certificate.
    NoCertificate,
    /// The client's certificate isn't on the server's list.
    NotAllowed,
    /// It doesn't speak TLS 1.3.
    Version,
    /// It refused this party: what it said is in the message.
    ByPeer,
    /// It broke the rules of the handshake, replayed one, or doesn't speak TLS at all.
    Handshake,
}

impl Refusal {
    /// A short name, for counters.
    pub fn name(self) -> &'static str {
        match self {
            Self::UnknownAuthority => "unknown-authority",
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
            Self::WrongName => "wrong-name",
            Self::WrongPurpose => "wrong-purpose",
            Self::NoCertificate => "no-certificate",
            Self::NotAllowed => "not-allowed",
            Self::Version => "version",
            Self::ByPeer => "by-peer",
            Self::Handshake => "handshake",
        }
    }

    fn of(error: &rustls::Error) -> Self {
        use rustls::Error as Tls;
        match error {
            Tls::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
                Self::Expired
            }
            Tls::InvalidCertificate(
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
            ) => Self::NotYetValid,
            Tls::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => Self::WrongName,
            Tls::InvalidCertificate(
                CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. },
            ) => Self::WrongPurpose,
            Tls::InvalidCertificate(_) => Self::UnknownAuthority,
            Tls::NoCertificatesPresented => Self::NoCertificate,
            Tls::PeerIncompatible(_) => Self::Version,
            Tls::AlertReceived(_) => Self::ByPeer,
            _ => Self::Handshake,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::UnknownAuthority => "a certificate that this party's authority didn't sign",
            Self::Expired => "an expired certificate",
            Self::NotYetValid => "a certificate that isn't valid yet",
            Self::WrongName => "a certificate for another name",
            Self::WrongPurpose => "a certificate for the other kind of party",
            Self::NoCertificate => "no certificate",
            Self::NotAllowed => "a certificate that isn't on the list of allowed clients",
            Self::Version => "nothing of TLS 1.3 that both speak",
            Self::ByPeer => "its refusal",
            Self::Handshake => "no TLS handshake of this session",
        })
    }
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
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .and_then(|builder| builder.with_client_cert_verifier(verifier).with_single_cert(chain, key))
            .map_err(|error| wrong(&credentials.certificate, error.to_string()))?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), allowed: allowed.map(Arc::new) })
    }

    pub(super) async fn accept<S>(&self, stream: S) -> Result<server::TlsStream<S>, Refused>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = self.acceptor.accept(stream).await.map_err(Refused::of)?;
        let client = client_of(&stream);
        let listed = |allowed: &BTreeSet<Fingerprint>| client.is_some_and(|client| allowed.contains(&client));
        if self.allowed.as_deref().is_none_or(listed) {
            return Ok(stream);
        }
        let found = client.map_or_else(|| "none".to_owned(), |client| hex(&client));
        Err(Refused { refusal: Refusal::NotAllowed, detail: format!("fingerprint {found}") })
    }
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
        self.connector.connect(self.name.clone(), stream).await.map_err(Refused::of)
    }
}

/// The fingerprint of the certificate that a client has shown.
pub(super) fn client_of<S>(stream: &server::TlsStream<S>) -> Option<Fingerprint> {
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    Some(fingerprint(certificate))
}

/// A handshake that failed.
pub(super) struct Refused {
    pub(super) refusal: Refusal,
    pub(super) detail: String,
}

impl Refused {
    fn of(error: std::io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        Self { refusal: tls.map_or(Refusal::Handshake, Refusal::of), detail: error.to_string() }
    }

    pub(super) fn error(self, peer: String) -> Error {
        Error::TlsRefused { peer, refusal: self.refusal, detail: self.detail }
    }
}

/// What a party's files hold.
struct Loaded {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: RootCertStore,
}

impl Loaded {
    fn read(credentials: &Credentials) -> Result<Self, Error> {
        let chain = certificates(&credentials.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&credentials.key)
            .map_err(|error| unusable(&credentials.key, "a private key in PEM", error.to_string()))?;
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&credentials.authority)? {
            roots.add(certificate).map_err(|error| {
                unusable(&credentials.authority, "certificates of an authority", error.to_string())
            })?;
        }
        Ok(Self { chain, key, roots })
    }
}

/// The SHA-256 fingerprint of the first certificate of a PEM file.
///
/// # Errors
/// [`Error::Credentials`] for a file without one.
pub fn fingerprint_of(path: &Path) -> Result<Fingerprint, Error> {
    Ok(fingerprint(&certificates(path)?[0]))
}

/// At least one certificate.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(unusable(path, "a certificate in PEM", "none".into())),
        Err(error) => Err(unusable(path, "a certificate in PEM", error.to_string())),
    }
}

fn fingerprint(certificate: &CertificateDer) -> Fingerprint {
    Sha256::digest(certificate.as_ref()).into()
}

fn unusable(path: &Path, expected: &'static str, found: String) -> Error {
    Error::Credentials { path: path.to_owned(), expected, found }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
