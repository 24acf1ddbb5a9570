//! Files of certificates and keys: what is wrong with them is found, and named, before a peer sees them.

#![allow(clippy::unwrap_used, reason = "an Err is a failed test")]

#[path = "common/authority.rs"]
mod authority;

use std::fs;
use std::path::Path;

use authority::{Authority, VALID};
use eqo_protocol::transport::{
    Credentials, Role, TlsClient, TlsServer, certificate_holds, check_credentials,
};
use rcgen::KeyPair;

#[test]
fn files_that_hold_something_else_are_named() {
    let authority = Authority::new();
    let good = authority.party("localhost", VALID);
    let missing = Credentials { key: "no/such.key".into(), ..good.clone() };
    let empty = authority.folder.path().join("empty.pem");
    fs::write(&empty, "").unwrap();
    let swapped = Credentials { certificate: good.key.clone(), ..good.clone() };
    let other_key = Credentials { key: authority.party("other", VALID).key, ..good.clone() };
    let no_authority = Credentials { authority: empty.clone(), ..good };
    let cases: [(Credentials, &Path); 4] = [
        (missing.clone(), &missing.key),
        (swapped.clone(), &swapped.certificate),
        (other_key.clone(), &other_key.certificate),
        (no_authority, &empty),
    ];
    for (credentials, named) in cases {
        for error in
            [TlsServer::new(&credentials, None).err(), TlsClient::new(&credentials, "localhost").err()]
        {
            let error = error.unwrap().to_string();
            assert!(error.contains(&named.display().to_string()) && error.contains("eqo cert"), "{error}");
        }
    }
}

#[test]
fn files_that_peers_would_refuse_are_found_before_a_peer_sees_them() {
    let (authority, other) = (Authority::new(), Authority::new());
    let names = ["localhost".to_owned()];
    let good = authority.party("localhost", VALID);
    assert!(check_credentials(&good, Role::Server(&names)).is_ok());
    assert!(check_credentials(&good, Role::Client).is_ok());
    let stranger = Credentials { authority: other.party("x", VALID).authority, ..good.clone() };
    let swapped = Credentials { key: authority.party("other", VALID).key, ..good.clone() };
    let expired = authority.party("localhost", [2020, 2021]);
    let elsewhere = ["localhost".to_owned(), "elsewhere".to_owned()];
    let cases = [
        (&stranger, Role::Server(&names), "didn't sign"),
        (&stranger, Role::Client, "didn't sign"),
        (&swapped, Role::Client, "keys may not be consistent"),
        (&expired, Role::Server(&names), "expired"),
        (&expired, Role::Client, "expired"),
        (&good, Role::Server(&elsewhere), "another name than elsewhere"),
    ];
    for (credentials, role, words) in cases {
        let error = check_credentials(credentials, role).unwrap_err().to_string();
        assert!(error.contains("localhost-") && error.contains(words), "{error}");
    }
    let key = KeyPair::from_pem(&fs::read_to_string(&good.key).unwrap()).unwrap();
    assert!(certificate_holds(&good.certificate, key.public_key_raw()).unwrap());
    assert!(!certificate_holds(&stranger.authority, key.public_key_raw()).unwrap());
}
