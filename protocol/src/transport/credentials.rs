//! A party's certificate, key and authority, in files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use sha2::{Digest, Sha256};

use super::TlsServer;
use super::refusal::Refusal;
use crate::Error;

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

/// What a party's files hold.
pub(super) struct Loaded {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) roots: RootCertStore,
}

impl Loaded {
    pub(super) fn read(credentials: &Credentials) -> Result<Self, Error> {
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

/// What a party's certificate is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role<'a> {
    /// A server that clients reach by all of these names and addresses.
    Server(&'a [String]),
    /// A client.
    Client,
}

/// Whether a party's peers would take its files now: they can be read, key and certificate belong together, the authority signed, and
/// dates, purpose and names are right.
///
/// # Errors
/// [`Error::Credentials`] with the first thing that is wrong.
pub fn check_credentials(credentials: &Credentials, role: Role<'_>) -> Result<(), Error> {
    // Compares key and certificate.
    TlsServer::new(credentials, None)?;
    let Loaded { chain, roots, .. } = Loaded::read(credentials)?;
    let found = match role {
        Role::Server(names) => check_server(&chain, &roots, names),
        Role::Client => check_client(&chain, roots),
    };
    found.map_err(|found| unusable(&credentials.certificate, "a certificate that peers take", found))
}

fn check_server(chain: &[CertificateDer], roots: &RootCertStore, names: &[String]) -> Result<(), String> {
    let refused = |error: rustls::Error| Refusal::of(&error).to_string();
    let certificate = ParsedCertificate::try_from(&chain[0]).map_err(refused)?;
    let algorithms = provider().signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(&certificate, roots, &chain[1..], UnixTime::now(), algorithms)
        .map_err(refused)?;
    for name in names {
        let server = ServerName::try_from(name.as_str()).map_err(|error| format!("{name}: {error}"))?;
        verify_server_name(&certificate, &server)
            .map_err(|error| format!("{} than {name}", refused(error)))?;
    }
    Ok(())
}

fn check_client(chain: &[CertificateDer], roots: RootCertStore) -> Result<(), String> {
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let verifier = verifier.build().map_err(|error| error.to_string())?;
    let checked = verifier.verify_client_cert(&chain[0], &chain[1..], UnixTime::now());
    checked.map(|_| ()).map_err(|error| Refusal::of(&error).to_string())
}

/// Whether the first certificate of a PEM file is for the key with this public half, as bytes.
///
/// # Errors
/// [`Error::Credentials`] for a file without one.
pub fn certificate_holds(path: &Path, public: &[u8]) -> Result<bool, Error> {
    Ok(certificates(path)?[0].windows(public.len().max(1)).any(|bytes| bytes == public))
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

pub(super) fn fingerprint(certificate: &CertificateDer) -> Fingerprint {
    Sha256::digest(certificate.as_ref()).into()
}

pub(super) fn unusable(path: &Path, expected: &'static str, found: String) -> Error {
    Error::Credentials { path: path.to_owned(), expected, found }
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
