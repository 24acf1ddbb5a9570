//! Why a TLS connection came to nothing, and the list of clients that are let in.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, PeerIncompatible, SignatureScheme,
};

use super::credentials::{Fingerprint, fingerprint};
use crate::Error;
use crate::error::hex;

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
    /// It speaks TLS 1.3, but no cipher, key exchange or signature of this party's.
    Parameters,
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
            Self::Parameters => "parameters",
            Self::ByPeer => "by-peer",
            Self::Handshake => "handshake",
        }
    }

    pub(super) fn of(error: &rustls::Error) -> Self {
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
            Tls::InvalidCertificate(_) if NotListed::of(error).is_some() => Self::NotAllowed,
            Tls::InvalidCertificate(_) => Self::UnknownAuthority,
            Tls::NoCertificatesPresented => Self::NoCertificate,
            Tls::PeerIncompatible(missing) if is_of_version(missing) => Self::Version,
            Tls::PeerIncompatible(_) => Self::Parameters,
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
            Self::Version => "no TLS 1.3",
            Self::Parameters => "no cipher, key exchange or signature of TLS 1.3 that both know",
            Self::ByPeer => "its refusal",
            Self::Handshake => "no TLS handshake of this session",
        })
    }
}

/// Whether this is missing because the peer speaks another version: the others are questions within TLS 1.3.
fn is_of_version(missing: &PeerIncompatible) -> bool {
    use PeerIncompatible as Missing;
    matches!(
        missing,
        Missing::ServerDoesNotSupportTls12Or13
            | Missing::ServerTlsVersionIsDisabledByOurConfig
            // Older than TLS 1.2, or a hello of it without extensions.
            | Missing::SignatureAlgorithmsExtensionRequired
            | Missing::SupportedVersionsExtensionRequired
            | Missing::Tls12NotOffered
            | Missing::Tls12NotOfferedOrEnabled
    )
}

/// A handshake that failed.
pub(super) struct Refused {
    pub(super) refusal: Refusal,
    pub(super) detail: String,
}

impl Refused {
    pub(super) fn of(error: &io::Error) -> Self {
        let tls = tls_error(error);
        let detail = match tls.and_then(NotListed::of) {
            Some(NotListed(found)) => format!("fingerprint {}", hex(found)),
            None => error.to_string(),
        };
        Self { refusal: tls.map_or(Refusal::Handshake, Refusal::of), detail }
    }

    /// The peer's refusal, if that is what broke a connection.
    pub(super) fn by_peer(error: &io::Error) -> Option<Self> {
        let refused = Self::of(error);
        (refused.refusal == Refusal::ByPeer).then_some(refused)
    }

    pub(super) fn error(self, peer: String) -> Error {
        Error::TlsRefused { peer, refusal: self.refusal, detail: self.detail }
    }
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

/// A certificate that the authority signed and the list lacks.
#[derive(Debug)]
struct NotListed(Fingerprint);

impl NotListed {
    fn of(error: &rustls::Error) -> Option<&Self> {
        match error {
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => {
                inner.downcast_ref()
            }
            _ => None,
        }
    }
}

impl fmt::Display for NotListed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("not on the list of allowed clients")
    }
}

impl std::error::Error for NotListed {}

/// Those of the authority's clients that are on a list. Asked within the handshake, so that the others get an alert.
#[derive(Debug)]
pub(super) struct ListedClients {
    pub(super) authority: Arc<dyn ClientCertVerifier>,
    pub(super) allowed: BTreeSet<Fingerprint>,
}

impl ClientCertVerifier for ListedClients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.authority.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.authority.verify_client_cert(end_entity, intermediates, now)?;
        let found = fingerprint(end_entity);
        if self.allowed.contains(&found) {
            return Ok(verified);
        }
        Err(CertificateError::Other(OtherError(Arc::new(NotListed(found)))).into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authority.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authority.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authority.supported_verify_schemes()
    }
}
