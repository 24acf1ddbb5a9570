//! `eqo cert`: an authority, and certificates for both parties.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use eqo_protocol::transport::{Credentials, Role, certificate_holds, check_credentials, fingerprint_of};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::args::CertArgs;
use crate::exit::{Failure, Kind};
use crate::{output, party};

/// One certificate; its JSON is a contract with other tools.
#[derive(Serialize)]
struct Made {
    /// Its file.
    certificate: PathBuf,
    /// Its key's file.
    key: PathBuf,
    /// What it is for: `server`, or a client's name.
    party: String,
    /// SHA-256 of its DER bytes, for `eqo serve --allow`.
    fingerprint: String,
    /// Whether this call made it; what was there is left alone.
    new: bool,
}

pub(crate) fn run(args: &CertArgs) -> Result<(), Failure> {
    fs::create_dir_all(&args.out).map_err(|error| unwritable(&args.out, &error))?;
    let authority = Authority::open(&args.out, 10 * u64::from(args.days))?;
    let days = u64::from(args.days);
    let mut rows =
        vec![authority.party("server", &args.server, (ExtendedKeyUsagePurpose::ServerAuth, days))?];
    for client in &args.client {
        let names = [client.clone()];
        rows.push(authority.party(client, &names, (ExtendedKeyUsagePurpose::ClientAuth, days))?);
    }
    if args.json {
        return output::json(
            &serde_json::json!({ "authority": authority.folder.join(CA), "certificates": rows }),
        );
    }
    let lines = rows.iter().map(|row| {
        let state = if row.new { "made" } else { "kept" };
        vec![
            row.party.clone(),
            state.to_owned(),
            row.certificate.display().to_string(),
            row.fingerprint.clone(),
        ]
    });
    output::text(&output::table(&["party", "", "certificate", "fingerprint (SHA-256)"], 4, lines))?;
    output::text(&format!("\ntrusted by both: {}", authority.folder.join(CA).display()))
}

/// What a server's certificate is for if no name is given.
const DEFAULT_SERVER: &str = "localhost";
const CA: &str = "ca.pem";
const CA_KEY: &str = "ca.key";

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Authority {
    /// The folder's authority, or a new one.
    fn open(folder: &Path, days: u64) -> Result<Self, Failure> {
        let (certificate, key) = (folder.join(CA), folder.join(CA_KEY));
        let issuer = if certificate.exists() || key.exists() {
            Self::kept(&certificate, &key)?
        } else {
            let signer = KeyPair::generate().map_err(failed)?;
            let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
            params.distinguished_name.push(DnType::CommonName, "EQO authority");
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            validity(&mut params, days)?;
            let signed = params.self_signed(&signer).map_err(failed)?;
            let pem = Zeroizing::new(signer.serialize_pem());
            write_pair((&key, &pem), (&certificate, &signed.pem()))?;
            Issuer::new(params, signer)
        };
        Ok(Self { issuer, folder: folder.to_owned() })
    }

    /// The authority of these files, which must belong together: what another key signs, nobody would trust.
    fn kept(certificate: &Path, key: &Path) -> Result<Issuer<'static, KeyPair>, Failure> {
        let read = |path: &Path| fs::read_to_string(path).map_err(|error| unreadable(path, &error));
        let (pem, key_pem) = (read(certificate)?, Zeroizing::new(read(key)?));
        let signer = KeyPair::from_pem(&key_pem).map_err(|error| unreadable(key, &error))?;
        let issuer =
            Issuer::from_ca_cert_pem(&pem, signer).map_err(|error| unreadable(certificate, &error))?;
        if certificate_holds(certificate, issuer.key().public_key_raw())? {
            return Ok(issuer);
        }
        Err(unreadable(key, &format!("the key of another certificate than {}", certificate.display())))
    }

    /// A certificate for `names`; one that is there is kept, if it still does.
    fn party(
        &self,
        party: &str,
        names: &[String],
        (purpose, days): (ExtendedKeyUsagePurpose, u64),
    ) -> Result<Made, Failure> {
        let client = purpose == ExtendedKeyUsagePurpose::ClientAuth;
        let taken = party == "ca" || (client && party == "server");
        if party.is_empty() || party.contains(['/', '\\', '.']) || taken {
            let next = "choose a name of letters, digits and dashes, not ca or server";
            return Err(Failure::new(
                Kind::Usage,
                format!("--client {party:?}: expected a file's name; {next}"),
            ));
        }
        let (certificate, key) =
            (self.folder.join(format!("{party}.pem")), self.folder.join(format!("{party}.key")));
        let new = !certificate.exists();
        if new == key.exists() {
            let next = "bring back the other one, or choose another name";
            return Err(Failure::new(
                Kind::Data,
                format!(
                    "{}: expected a certificate and its key, or neither, found one of them; {next}",
                    certificate.display()
                ),
            ));
        }
        if new {
            let pair = Zeroizing::new(KeyPair::generate().map_err(failed)?);
            let names = if names.is_empty() { vec![DEFAULT_SERVER.to_owned()] } else { names.to_vec() };
            let mut params = CertificateParams::new(names).map_err(failed)?;
            params.distinguished_name.push(DnType::CommonName, party);
            params.extended_key_usages = vec![purpose];
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.use_authority_key_identifier_extension = true;
            validity(&mut params, days)?;
            let signed = params.signed_by(&*pair, &self.issuer).map_err(failed)?;
            let pem = Zeroizing::new(pair.serialize_pem());
            write_pair((&key, &pem), (&certificate, &signed.pem()))?;
        } else {
            let credentials = Credentials {
                certificate: certificate.clone(),
                key: key.clone(),
                authority: self.folder.join(CA),
            };
            let role = if client { Role::Client } else { Role::Server(names) };
            check_credentials(&credentials, role).map_err(unusable)?;
        }
        let fingerprint = party::hex(&fingerprint_of(&certificate)?);
        Ok(Made { certificate, key, party: party.to_owned(), fingerprint, new })
    }
}

/// From an hour ago, because clocks differ.
fn validity(params: &mut CertificateParams, days: u64) -> Result<(), Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(failed)?;
    let start = date_time_ymd(1970, 1, 1) + now.saturating_sub(Duration::from_secs(3600));
    params.not_before = start;
    params.not_after = start + Duration::from_secs(days * 24 * 3600);
    Ok(())
}

/// A file that only its owner may read, from the first byte on.
fn write_secret(path: &Path, text: &str) -> Result<(), Failure> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let part = path.with_extension("key.part");
    let write = || {
        // One that an interrupted call left behind.
        let _ = fs::remove_file(&part);
        let mut file = options.open(&part)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&part, path)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&part);
        unwritable(path, &error)
    })
}

/// A key and its certificate, or neither: the next call has to find out what is there.
fn write_pair((key, secret): (&Path, &str), (certificate, pem): (&Path, &str)) -> Result<(), Failure> {
    write_secret(key, secret)?;
    crate::report::write_whole(certificate, pem.as_bytes()).inspect_err(|_| {
        // The first error is the one to report.
        let _ = fs::remove_file(key);
    })
}

fn failed(error: impl std::fmt::Display) -> Failure {
    let next = "check the names and the clock";
    Failure::new(
        Kind::Usage,
        format!("certificate: expected names, addresses and a date, found: {error}; {next}"),
    )
}

/// A kept certificate that no peer would take.
fn unusable(error: eqo_protocol::Error) -> Failure {
    match error {
        eqo_protocol::Error::Credentials { path, expected, found } => {
            let next = "move it and its key elsewhere, and a new one is made";
            Failure::new(
                Kind::Data,
                format!("{}: kept; expected {expected}, found: {found}; {next}", path.display()),
            )
        }
        other => other.into(),
    }
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    let next = "restore it, or choose another --out for a new authority";
    Failure::new(
        Kind::Data,
        format!("{}: expected the authority's file, found: {error}; {next}", path.display()),
    )
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    let next = "check that the folder is writable and the disk has room";
    Failure::new(Kind::Data, format!("{}: write failed: {error}; {next}", path.display()))
}
