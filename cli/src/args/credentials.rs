//! Arguments of TLS, the same for both parties.

use std::path::PathBuf;

use clap::Args;
use eqo_protocol::transport::{Credentials, Fingerprint};

use super::values::fingerprint;

/// A party's certificate, or the wish to do without.
#[derive(Debug, Args)]
pub(crate) struct CredentialArgs {
    /// This party's certificate (PEM), as `eqo cert` makes it.
    #[arg(long, value_name = "FILE", requires_all = ["tls_key", "tls_ca"])]
    tls_cert: Option<PathBuf>,
    /// The certificate's key (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// The authority that both parties trust (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_ca: Option<PathBuf>,
    /// No TLS: for two processes on one machine, so only with an address of this machine (127.0.0.1, localhost, ::1).
    #[arg(long, conflicts_with = "tls_cert")]
    pub(crate) insecure_plaintext: bool,
}

impl CredentialArgs {
    /// The files, if they were given.
    pub(crate) fn files(&self) -> Option<Credentials> {
        let (certificate, key, authority) =
            (self.tls_cert.clone()?, self.tls_key.clone()?, self.tls_ca.clone()?);
        Some(Credentials { certificate, key, authority })
    }
}

/// What only the server decides.
#[derive(Debug, Args)]
pub(crate) struct AllowArgs {
    /// Let in only clients whose certificate has this SHA-256 fingerprint; may be repeated (`eqo cert` prints it).
    #[arg(long, value_name = "FINGERPRINT", value_parser = fingerprint, requires = "tls_cert")]
    pub(crate) allow: Vec<Fingerprint>,
}

#[derive(Debug, Args)]
pub(crate) struct CertArgs {
    /// Folder for the certificates and keys; an authority that is already there signs what is new.
    #[arg(long, value_name = "FOLDER", default_value = "certs")]
    pub(crate) out: PathBuf,
    /// Names and addresses by which clients reach the server, localhost if none is given; may be repeated. A certificate that is
    /// kept must be for those that are given.
    #[arg(long, value_name = "NAME")]
    pub(crate) server: Vec<String>,
    /// A client to make a certificate for, by the name of its files; may be repeated.
    #[arg(long, value_name = "NAME", default_value = "client")]
    pub(crate) client: Vec<String>,
    /// Days for which the parties' certificates are valid; the authority's is for ten times as long.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(crate) days: u32,
    /// One JSON object on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}
