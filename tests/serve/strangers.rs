//! Whoever isn't an honest client is refused, and counted under a label of its own.

use std::net::{Shutdown, TcpListener};
use std::{fs, thread};

use e2e::run_eqo;
use rcgen::{CertificateParams, Issuer, KeyPair, date_time_ymd};

use super::*;

fn counted(server: &Server, kind: &str) {
    until(server, &format!("eqo_errors_total{{kind=\"{kind}\"}}"), 1.0);
    let all = sum(&scrape(server), "eqo_errors_total", &[]);
    assert_eq!(all, 1.0, "{kind} and nothing else");
}

#[test]
fn clients_with_a_wrong_or_an_expired_certificate() {
    let (ours, theirs) = (Certificates::new(&["alice"]), Certificates::new(&["alice"]));
    let foreign = Credentials { authority: ours.of("alice").authority, ..theirs.of("alice") };
    for (credentials, kind) in [(foreign, "tls-unknown-authority"), (expired(&ours), "tls-expired")] {
        let server = serve_tls(&ours, &[]);
        assert!(client_with(&server, &credentials).is_err());
        counted(&server, kind);
        infers_right(&mut client_with(&server, &ours.of("alice")).unwrap(), &tiny_checkpoint());
    }
}

/// A client of this authority whose time is over.
fn expired(certificates: &Certificates) -> Credentials {
    let key = KeyPair::from_pem(&certificates.read("ca.key")).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&certificates.read("ca.pem"), key).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["late".to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    let signed = params.signed_by(&key, &issuer).unwrap();
    fs::write(certificates.path().join("late.pem"), signed.pem()).unwrap();
    fs::write(certificates.path().join("late.key"), key.serialize_pem()).unwrap();
    certificates.of("late")
}

/// A TLS 1.2 hello: record, handshake header, version, random, no session, one suite, no compression, no extensions.
#[test]
fn a_downgraded_version() {
    let server = serve_tls(&Certificates::new(&["alice"]), &[]);
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0xc0, 0x2f, 1, 0]);
    let mut hello = vec![22, 3, 1, 0, body.len() as u8 + 4, 1, 0, 0, body.len() as u8];
    hello.extend(&body);
    let mut old = TcpStream::connect(&server.address).unwrap();
    old.write_all(&hello).unwrap();
    counted(&server, "tls-version");
}

/// All that an honest client sent, recorded on its way and sent again.
#[test]
fn a_replayed_handshake() {
    let certificates = Certificates::new(&["alice"]);
    let server = serve_tls(&certificates, &[]);
    let relay = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = relay.local_addr().unwrap().to_string();
    let recorder = {
        let server = server.address.clone();
        thread::spawn(move || record(&relay, &server))
    };
    let folder = tempfile::tempdir().unwrap();
    let image = images(&folder, 1).remove(0).display().to_string();
    let options = certificates.options("alice");
    let fixed = ["infer", "--tls-name", "localhost", "--server", &address, &image];
    let ran = run_eqo(fixed.into_iter().map(String::from).chain(options));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let recorded = recorder.join().unwrap();
    let mut again = TcpStream::connect(&server.address).unwrap();
    // It may hang up before it has read everything.
    let _ = again.write_all(&recorded);
    counted(&server, "tls-handshake");
}

/// Passes one connection on; what the client sent.
fn record(relay: &TcpListener, server: &str) -> Vec<u8> {
    let (mut near, mut far) = (relay.accept().unwrap().0, TcpStream::connect(server).unwrap());
    let (mut far_in, mut near_out) = (far.try_clone().unwrap(), near.try_clone().unwrap());
    thread::scope(|scope| {
        scope.spawn(move || {
            let _ = std::io::copy(&mut far_in, &mut near_out);
            let _ = near_out.shutdown(Shutdown::Write);
        });
        let (mut sent, mut buffer) = (Vec::new(), [0; 4096]);
        while let Ok(count @ 1..) = near.read(&mut buffer) {
            sent.extend(&buffer[..count]);
            if far.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = far.shutdown(Shutdown::Write);
        sent
    })
}

#[test]
fn an_oversized_frame() {
    let server = serve(&[]);
    let mut huge = TcpStream::connect(&server.address).unwrap();
    huge.write_all(&[0xFF; 8]).unwrap();
    counted(&server, "oversized-frame");
}

/// One byte a second, before and after the TLS handshake would be done.
#[test]
fn a_slow_loris() {
    let certificates = Certificates::new(&["alice"]);
    let first_bytes: [&[u8]; 2] = [&[22, 3, 1, 2, 0], &[17, 0, 0, 0, 1]];
    let servers = [serve_tls(&certificates, &["--timeout", "1"]), serve(&["--timeout", "1"])];
    for (server, bytes) in servers.iter().zip(first_bytes) {
        let mut slow = TcpStream::connect(&server.address).unwrap();
        let drip = bytes.iter().take_while(|byte| {
            thread::sleep(Duration::from_secs(1));
            slow.write_all(&[**byte]).is_ok()
        });
        drip.for_each(drop);
        counted(server, "slow-handshake");
    }
}
