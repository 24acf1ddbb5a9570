//! The first bytes of a TLS connection, at either party.

#![no_main]

use std::sync::LazyLock;

use eqo_fuzz::{Said, plant, runtime};
use eqo_protocol::transport::{Credentials, TlsClient, TlsServer};
use libfuzzer_sys::fuzz_target;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

static PARTIES: LazyLock<(TlsServer, TlsClient)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let authority = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    std::fs::write(path("ca.pem"), params.self_signed(&authority).expect("a certificate").pem())
        .expect("a file");
    let issuer = Issuer::new(params, authority);
    let party = |name: &str| {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        let (certificate, secret) = (path(&format!("{name}.pem")), path(&format!("{name}.key")));
        std::fs::write(&certificate, params.signed_by(&key, &issuer).expect("a certificate").pem())
            .expect("a file");
        std::fs::write(&secret, key.serialize_pem()).expect("a file");
        Credentials { certificate, key: secret, authority: path("ca.pem") }
    };
    let server = TlsServer::new(&party("localhost"), None).expect("a server");
    (server, TlsClient::new(&party("client"), "localhost").expect("a client"))
});

/// What a party says to a peer that says `words`.
fn answer(server: bool, words: Vec<u8>) -> (bool, Vec<u8>) {
    let stream = Said::new(words);
    let answers = stream.answers.clone();
    let shaken = runtime().block_on(async {
        match server {
            true => PARTIES.0.over(stream).await.is_ok(),
            false => PARTIES.1.over(stream).await.is_ok(),
        }
    });
    let said = answers.lock().expect("nobody panics with it").clone();
    (shaken, said)
}

fn seeds() -> [Vec<u8>; 3] {
    let (_, hello) = answer(false, Vec::new());
    let (_, reply) = answer(true, hello.clone());
    [[&[0], &hello[..]].concat(), [&[1], &reply[..]].concat(), vec![0]]
}

fuzz_target!(init: if std::env::var_os("EQO_SEEDS").is_some() { plant(seeds()) }, |data: &[u8]| {
    let Some((side, words)) = data.split_first() else { return };
    let (shaken, _) = answer(side % 2 == 0, words.to_vec());
    assert!(!shaken, "nobody proves to hold a key without answering this party's challenge");
});
