//! Certificates for tests.

use std::fs;

use eqo_protocol::transport::Credentials;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;

/// Years in which a certificate is good today.
pub(crate) const VALID: [i32; 2] = [2020, 2120];

/// An authority that signs certificates into a folder.
pub(crate) struct Authority {
    pub(crate) issuer: Issuer<'static, KeyPair>,
    pub(crate) folder: TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        Self { issuer: Issuer::new(params, key), folder }
    }

    /// A party with a certificate for `name`, valid in these years.
    pub(crate) fn party(&self, name: &str, years: [i32; 2]) -> Credentials {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(years[0], 1, 1);
        params.not_after = date_time_ymd(years[1], 1, 1);
        let signed = params.signed_by(&key, &self.issuer).unwrap();
        let path = |what: &str| self.folder.path().join(format!("{name}-{}.{what}", years[1]));
        fs::write(path("pem"), signed.pem()).unwrap();
        fs::write(path("key"), key.serialize_pem()).unwrap();
        Credentials {
            certificate: path("pem"),
            key: path("key"),
            authority: self.folder.path().join("ca.pem"),
        }
    }
}
