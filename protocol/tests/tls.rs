//! TLS 1.3 with certificates on both sides: who is let in, and what everybody else is told.

#![allow(clippy::unwrap_used, reason = "an Err is a failed test")]

#[path = "common/authority.rs"]
mod authority;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use authority::{Authority, VALID};
use eqo_protocol::Error;
use eqo_protocol::transport::{
    Credentials, Listener, Refusal, Security, TlsClient, TlsServer, TransportConfig, connect, connect_tls,
    fingerprint_of,
};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};

use tokio::runtime::{Builder, Runtime};

const TIMEOUT: Duration = Duration::from_secs(3);

/// A server for one client; what came of both.
fn meet(
    server: &TlsServer,
    client: impl FnOnce(&str, &Runtime) -> Result<Vec<u8>, Error> + Send,
) -> [Result<Vec<u8>, Error>; 2] {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let config = TransportConfig { timeout: TIMEOUT, ..TransportConfig::default() };
    let listener = Listener::bind("127.0.0.1:0", runtime.handle(), config).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let security = Security::Tls(server.clone());
    thread::scope(|scope| {
        let serving = scope.spawn(|| {
            let (mut channel, _) = listener.knock(TIMEOUT)?.unwrap().open(&security)?;
            channel.send(b"from the server".to_vec())?;
            channel.recv(15)
        });
        let inferred = client(&address, &runtime);
        [serving.join().unwrap(), inferred]
    })
}

fn call(address: &str, tls: &TlsClient, runtime: &Runtime) -> Result<Vec<u8>, Error> {
    let config = TransportConfig { timeout: TIMEOUT, ..TransportConfig::default() };
    let mut channel = connect_tls(address, tls, runtime.handle(), config)?;
    channel.send(b"from the client".to_vec())?;
    channel.recv(15)
}

fn refusal(outcome: &Result<Vec<u8>, Error>) -> Refusal {
    match outcome {
        Err(Error::TlsRefused { refusal, .. }) => *refusal,
        Err(error) => panic!("another error: {error}"),
        Ok(_) => panic!("let in"),
    }
}

#[test]
fn parties_of_one_authority_talk_and_their_meters_count_what_they_say_not_what_tls_adds() {
    let authority = Authority::new();
    let server = TlsServer::new(&authority.party("localhost", VALID), None).unwrap();
    let client = TlsClient::new(&authority.party("client", VALID), "localhost").unwrap();
    let [at_server, at_client] = meet(&server, |address, runtime| call(address, &client, runtime));
    assert_eq!(at_server.unwrap(), b"from the client");
    assert_eq!(at_client.unwrap(), b"from the server");
}

#[test]
fn certificates_that_are_expired_or_of_tomorrow_or_of_another_authority_are_refused_by_name() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = TlsServer::new(&authority.party("localhost", VALID), None).unwrap();
    let cases = [
        (authority.party("client", [2020, 2021]), Refusal::Expired),
        (authority.party("client", [2119, 2120]), Refusal::NotYetValid),
        (
            Credentials { authority: authority.party("x", VALID).authority, ..other.party("client", VALID) },
            Refusal::UnknownAuthority,
        ),
    ];
    for (credentials, expected) in cases {
        let client = TlsClient::new(&credentials, "localhost").unwrap();
        let [at_server, at_client] = meet(&server, |address, runtime| call(address, &client, runtime));
        assert_eq!(refusal(&at_server), expected);
        assert_eq!(refusal(&at_client), Refusal::ByPeer);
    }
}

#[test]
fn servers_that_are_expired_or_misnamed_or_of_another_authority_are_refused_by_name() {
    let (authority, other) = (Authority::new(), Authority::new());
    let credentials = authority.party("client", VALID);
    let cases = [
        (authority.party("localhost", [2020, 2021]), "localhost", Refusal::Expired),
        (authority.party("localhost", VALID), "elsewhere", Refusal::WrongName),
        (other.party("localhost", VALID), "localhost", Refusal::UnknownAuthority),
    ];
    for (server, name, expected) in cases {
        let server = TlsServer::new(&server, None).unwrap();
        let client = TlsClient::new(&credentials, name).unwrap();
        let [at_server, at_client] = meet(&server, |address, runtime| call(address, &client, runtime));
        assert_eq!(refusal(&at_client), expected);
        assert_eq!(refusal(&at_server), Refusal::ByPeer);
    }
}

#[test]
fn only_listed_clients_are_let_in_if_there_is_a_list() {
    let authority = Authority::new();
    let (one, other) = (authority.party("one", VALID), authority.party("other", VALID));
    let allowed = BTreeSet::from([fingerprint_of(&one.certificate).unwrap()]);
    let server = TlsServer::new(&authority.party("localhost", VALID), Some(allowed)).unwrap();
    for (credentials, expected) in [(one, None), (other, Some(Refusal::NotAllowed))] {
        let client = TlsClient::new(&credentials, "localhost").unwrap();
        let [at_server, at_client] = meet(&server, |address, runtime| call(address, &client, runtime));
        match expected {
            None => assert!(at_server.is_ok() && at_client.is_ok()),
            Some(expected) => {
                assert_eq!([refusal(&at_server), refusal(&at_client)], [expected, Refusal::ByPeer]);
                let (server, client) =
                    (at_server.err().unwrap().to_string(), at_client.err().unwrap().to_string());
                assert!(
                    server.contains("fingerprint") && client.contains("CertificateUnknown"),
                    "{server} {client}"
                );
            }
        }
    }
}

/// The alert outruns what the client sends meanwhile, more than sockets hold.
#[test]
fn a_refused_client_that_sends_at_once_hears_of_its_refusal() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = TlsServer::new(&authority.party("localhost", VALID), None).unwrap();
    let stranger =
        Credentials { authority: authority.party("x", VALID).authority, ..other.party("client", VALID) };
    let client = TlsClient::new(&stranger, "localhost").unwrap();
    let [at_server, at_client] = meet(&server, |address, runtime| {
        let config = TransportConfig { timeout: TIMEOUT, ..TransportConfig::default() };
        let mut channel = connect_tls(address, &client, runtime.handle(), config)?;
        for _ in 0..64 {
            channel.send(vec![7; 1 << 18])?;
        }
        channel.recv(15)
    });
    assert_eq!([refusal(&at_server), refusal(&at_client)], [Refusal::UnknownAuthority, Refusal::ByPeer]);
}

/// What a client without TLS sends, and what a silent one doesn't.
#[test]
fn strangers_get_an_error_within_the_timeout() {
    let authority = Authority::new();
    let server = TlsServer::new(&authority.party("localhost", VALID), None).unwrap();
    let [at_server, _] = meet(&server, |address, runtime| {
        let config = TransportConfig { timeout: TIMEOUT, ..TransportConfig::default() };
        let mut channel = connect(address, runtime.handle(), config)?;
        channel.send(b"in the clear".to_vec())?;
        channel.recv(1)
    });
    assert_eq!(refusal(&at_server), Refusal::Handshake);
    let start = Instant::now();
    let [at_server, _] = meet(&server, |address, _| {
        let mut silent = TcpStream::connect(address).unwrap();
        let _ = silent.read(&mut [0]);
        Ok(Vec::new())
    });
    assert!(matches!(at_server, Err(Error::Timeout { .. })));
    assert!(start.elapsed() < 4 * TIMEOUT);
}

/// A TLS 1.3 client with one key exchange that this party doesn't know: finite fields of 8192 bits, of which it offers no share.
#[test]
fn a_client_of_tls_1_3_with_other_parameters_is_not_told_of_its_version() {
    let authority = Authority::new();
    let server = TlsServer::new(&authority.party("localhost", VALID), None).unwrap();
    let extension = |kind: u8, body: &[u8]| [&[0, kind, 0, body.len() as u8], body].concat();
    let extensions = [
        extension(43, &[2, 3, 4]),
        extension(10, &[0, 2, 1, 4]),
        extension(13, &[0, 2, 4, 3]),
        extension(51, &[0, 0]),
    ];
    let extensions = extensions.concat();
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 0x01, 1, 0, 0, extensions.len() as u8]);
    body.extend(&extensions);
    assert_eq!(refusal(&said_hello(&server, &body)), Refusal::Parameters);
}

/// What the server makes of a hello with this body.
fn said_hello(server: &TlsServer, body: &[u8]) -> Result<Vec<u8>, Error> {
    let mut hello = vec![22, 3, 1, 0, body.len() as u8 + 4, 1, 0, 0, body.len() as u8];
    hello.extend(body);
    let [at_server, _] = meet(server, |address, _| {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(&hello).unwrap();
        let _ = client.read_to_end(&mut Vec::new());
        Ok(Vec::new())
    });
    at_server
}

/// A TLS 1.2 hello: version, random, no session, one suite, no compression; no extensions, or signature algorithms only.
#[test]
fn a_client_of_an_older_version_is_refused_for_its_version() {
    let authority = Authority::new();
    let server = TlsServer::new(&authority.party("localhost", VALID), None).unwrap();
    for extensions in [&[][..], &[0, 8, 0, 13, 0, 4, 0, 2, 4, 3]] {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0xc0, 0x2f, 1, 0]);
        body.extend(extensions);
        assert_eq!(refusal(&said_hello(&server, &body)), Refusal::Version);
    }
}

#[test]
fn a_client_without_a_certificate_is_refused_for_that() {
    let authority = Authority::new();
    let credentials = authority.party("localhost", VALID);
    let server = TlsServer::new(&credentials, None).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&credentials.authority).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let [at_server, _] = meet(&server, |address, _| {
        let name = ServerName::try_from("localhost").unwrap();
        let client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut nameless = rustls::StreamOwned::new(client, TcpStream::connect(address).unwrap());
        let _ = nameless.write_all(b"hello");
        let _ = nameless.read(&mut [0]);
        Ok(Vec::new())
    });
    assert_eq!(refusal(&at_server), Refusal::NoCertificate);
}

/// Everything that an honest client sent, recorded between the two and sent again.
#[test]
fn a_replayed_session_is_refused() {
    let authority = Authority::new();
    let server = TlsServer::new(&authority.party("localhost", VALID), None).unwrap();
    let client = TlsClient::new(&authority.party("client", VALID), "localhost").unwrap();
    let mut recorded = Vec::new();
    let [at_server, _] = meet(&server, |address, runtime| {
        let relay = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let through = relay.local_addr().unwrap().to_string();
        thread::scope(|scope| {
            let recorder = scope.spawn(|| record(&relay, address));
            let answer = call(&through, &client, runtime);
            recorded = recorder.join().unwrap();
            answer
        })
    });
    assert!(at_server.is_ok() && recorded.len() > 500);
    let [at_server, _] = meet(&server, |address, _| {
        let mut again = TcpStream::connect(address).unwrap();
        again.write_all(&recorded).unwrap();
        let _ = again.read_to_end(&mut Vec::new());
        Ok(Vec::new())
    });
    assert_eq!(refusal(&at_server), Refusal::Handshake);
}

/// Passes one connection on; what the client sent.
fn record(relay: &std::net::TcpListener, server: &str) -> Vec<u8> {
    let (mut near, far) = (relay.accept().unwrap().0, TcpStream::connect(server).unwrap());
    let (mut far_in, mut near_out) = (far.try_clone().unwrap(), near.try_clone().unwrap());
    thread::scope(|scope| {
        scope.spawn(move || {
            let _ = std::io::copy(&mut far_in, &mut near_out);
            let _ = near_out.shutdown(std::net::Shutdown::Write);
        });
        let (mut sent, mut buffer, mut far) = (Vec::new(), [0; 4096], far);
        while let Ok(count @ 1..) = near.read(&mut buffer) {
            sent.extend(&buffer[..count]);
            if far.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = far.shutdown(std::net::Shutdown::Write);
        sent
    })
}
