//! Peers that misbehave: each gets a specific error, and nobody hangs or panics.

#![allow(clippy::unwrap_used, reason = "an Err is a failed test")]

use std::thread;
use std::time::Duration;

use eqo_checkpoints::Checkpoint;
use eqo_checkpoints::cost::{self, CONFIRMATION_BYTES, HELLO_BYTES, Profile, TICKET_BYTES, WELCOME_BYTES};
use eqo_checkpoints::graph::{CheckedGraph, Graph};
use eqo_checkpoints::testing::{Spec, random_checkpoint, random_image};
use eqo_protocol::gates::Party;
use eqo_protocol::layers;
use eqo_protocol::ot::{OtKind, Ots};
use eqo_protocol::session::client::{Client, ClientConfig, connect};
use eqo_protocol::session::server::{ServerConfig, Session, serve_connection};
use eqo_protocol::transport::{Channel, TransportConfig, memory_pair};
use eqo_protocol::{Error, PartyRng, Role};

/// The version these peers pretend to speak.
const VERSION: u16 = 3;

const TIMEOUT: Duration = Duration::from_millis(500);

fn checkpoint() -> Checkpoint {
    random_checkpoint(3, &Spec::new([1, 6, 6], 3, vec![]))
}

/// Joins two parties; both results.
fn meet<S: Send, C: Send>(
    server: impl FnOnce(Channel) -> Result<S, Error> + Send,
    client: impl FnOnce(Channel) -> Result<C, Error> + Send,
) -> (Result<S, Error>, Result<C, Error>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (one, other) = memory_pair(
        1 << 16,
        runtime.handle(),
        TransportConfig { timeout: TIMEOUT, ..TransportConfig::default() },
    );
    thread::scope(|scope| {
        let server = scope.spawn(|| server(one));
        let client = scope.spawn(|| client(other));
        (server.join().unwrap(), client.join().unwrap())
    })
}

/// What the honest server says to this client.
fn server_error(client: impl FnOnce(Channel) -> Result<(), Error> + Send) -> Error {
    let checkpoint = checkpoint();
    let server = |channel| {
        serve_connection(channel, &checkpoint, &ServerConfig { max_batch: 4, ..Default::default() })
    };
    match meet(server, client).0 {
        Err(error) => error,
        Ok(_) => panic!("the server must not accept this client"),
    }
}

/// What the honest client says to this server.
fn client_error(server: impl FnOnce(Channel) -> Result<(), Error> + Send) -> Error {
    let client = |channel| {
        let mut client = connect(channel, &ClientConfig::default())?;
        client.infer(&[vec![0; 36]])
    };
    match meet(server, client).1 {
        Err(error) => error,
        Ok(_) => panic!("the client must not accept this server"),
    }
}

fn hello(magic: &[u8; 6], version: u16, k: u8) -> Vec<u8> {
    [magic.as_slice(), &version.to_le_bytes(), &[k], &[0; TICKET_BYTES]].concat()
}

fn welcome(verdict: u8) -> Vec<u8> {
    let numbers = [4_u32, 4].map(u32::to_le_bytes);
    [b"EQO2PC".as_slice(), &VERSION.to_le_bytes(), &[verdict], numbers.as_flattened(), &[0; TICKET_BYTES]]
        .concat()
}

#[test]
fn a_peer_of_another_protocol_or_version_is_named() {
    let error = server_error(|mut channel| channel.send(hello(b"SSH-2.", VERSION, 4)));
    assert!(error.to_string().contains("speaks another protocol"), "{error}");
    let error = server_error(|mut channel| channel.send(b"GET / HTTP/1.1\r\n\r\n".to_vec()));
    assert!(matches!(error, Error::PeerLength { found: 18, .. }), "{error}");
    let error = server_error(|mut channel| channel.send(hello(b"EQO2PC", 9, 4)));
    assert!(
        error.to_string().contains("protocol version 3") && error.to_string().contains("found 9"),
        "{error}"
    );
    let error = client_error(|mut channel| {
        channel.recv(HELLO_BYTES)?;
        channel.send(vec![7; WELCOME_BYTES])
    });
    assert!(error.to_string().contains("speaks another protocol"), "{error}");
}

#[test]
fn a_kind_of_ot_that_the_server_does_not_allow_is_refused_on_both_sides() {
    let checkpoint = checkpoint();
    let config = ServerConfig { ot_kinds: vec![OtKind::SoftSpoken2], ..Default::default() };
    let (server, client) = meet(
        |channel| serve_connection(channel, &checkpoint, &config),
        |channel| connect(channel, &ClientConfig::default()).map(|_| ()),
    );
    assert!(matches!(server.err(), Some(Error::PeerIncompatible { what: "kind of OT", .. })));
    assert!(matches!(client.err(), Some(Error::PeerIncompatible { what: "kind of OT", .. })));
}

#[test]
fn another_graph_is_an_error_on_both_sides() {
    let checkpoint = checkpoint();
    let pinned = ClientConfig { expected_graph: Some([9; 32]), ..Default::default() };
    let (server, client) = meet(
        |channel| serve_connection(channel, &checkpoint, &ServerConfig::default()),
        |channel| connect(channel, &pinned).map(|_| ()),
    );
    for error in [server.err().unwrap(), client.err().unwrap()] {
        assert!(error.to_string().contains("claims another graph"), "{error}");
    }
}

#[test]
fn oversized_broken_and_unsound_graphs_are_refused_before_they_are_used() {
    let send_graph = |graph: Vec<u8>| {
        move |mut channel: Channel| {
            channel.recv(HELLO_BYTES)?;
            channel.send(welcome(0))?;
            channel.send(graph)?;
            channel.recv(CONFIRMATION_BYTES).map(|_| ())
        }
    };
    let oversized = client_error(send_graph(u32::MAX.to_le_bytes().to_vec()));
    assert!(matches!(oversized, Error::PeerLength { found: 0xffff_ffff, .. }), "{oversized}");
    let broken = client_error(send_graph([&2_u32.to_le_bytes()[..], b"{}"].concat()));
    assert!(matches!(broken, Error::PeerGraph { .. }), "{broken}");
    let mut graph = checkpoint().graph().graph().clone();
    graph.nodes.pop();
    let json = graph.to_json();
    let unsound = client_error(send_graph([&(json.len() as u32).to_le_bytes(), json.as_bytes()].concat()));
    assert!(matches!(unsound, Error::PeerGraph { .. }), "{unsound}");
}

#[test]
fn a_silent_peer_times_out_and_one_that_leaves_is_named() {
    let silent = server_error(|channel| {
        thread::sleep(TIMEOUT * 2);
        drop(channel);
        Ok(())
    });
    assert!(matches!(silent, Error::Timeout { .. }), "{silent}");
    let gone = server_error(|channel| {
        drop(channel);
        Ok(())
    });
    assert!(matches!(gone, Error::PeerClosed { .. }), "{gone}");
    let stalled = server_error(|channel| {
        let client = connect(channel, &ClientConfig::default())?;
        thread::sleep(TIMEOUT * 2);
        drop(client);
        Ok(())
    });
    assert!(matches!(stalled, Error::Timeout { .. }), "{stalled}");
}

/// A client that follows the protocol by hand up to its first request: the graph, and what it runs gates with.
fn by_hand(channel: &mut Channel) -> Result<(CheckedGraph, Ots, PartyRng), Error> {
    channel.send(hello(b"EQO2PC", VERSION, OtKind::SoftSpoken2.code()))?;
    channel.recv(WELCOME_BYTES)?;
    let graph = Graph::from_json(&channel.recv_bounded(1 << 20)?).and_then(Graph::check).unwrap();
    channel.send([&[0], graph.graph_hash().as_slice()].concat())?;
    let mut rng = PartyRng::from_os()?;
    let ots = Ots::setup(channel, Role::Client, OtKind::SoftSpoken2, &mut rng)?;
    Ok((graph, ots, rng))
}

fn request(kind: u8, batch: u32) -> Vec<u8> {
    [&[kind], batch.to_le_bytes().as_slice()].concat()
}

#[test]
fn requests_of_unknown_kinds_and_impossible_batches_are_refused() {
    for (message, what) in [
        (request(4, 1), "a request"),
        (request(255, 1), "a request"),
        (request(1, 0), "a batch size"),
        (request(2, 5), "a batch size"),
        (request(3, u32::MAX), "a batch size"),
    ] {
        let error = server_error(|mut channel| {
            by_hand(&mut channel)?;
            channel.send(message.clone())?;
            // Until the server hangs up.
            channel.recv(1).map(|_| ())
        });
        assert!(
            matches!(error, Error::PeerData { what: found, .. } if found == what),
            "{message:?}: {error}"
        );
    }
    let error = server_error(|mut channel| {
        by_hand(&mut channel)?;
        channel.send(vec![2; 4])
    });
    assert!(matches!(error, Error::PeerLength { expected: 5, found: 4, .. }), "{error}");
}

#[test]
fn a_client_that_prepares_more_than_it_was_allowed_is_refused_before_any_work() {
    // By preparing, and by an inference for which nothing of its size is prepared.
    for (prepared, offence) in [([2].as_slice(), request(1, 2)), (&[1, 1], request(2, 2))] {
        let (error, images, bytes, after) = refused_after(prepared, offence);
        assert!(matches!(&error, Error::PeerData { what: "images to prepare", .. }), "{error}");
        // Nothing but the request came in, and nothing went out.
        assert_eq!((images, bytes), (2, 13));
        assert!(after.to_string().contains("an inference has failed"));
    }
}

/// A server that allows 3 prepared images, after a client prepared some and sent a request that must fail: the error, the images that are
/// still prepared, the bytes of that request, and the error of another one.
fn refused_after(prepared: &[usize], offence: Vec<u8>) -> (Error, usize, u64, Error) {
    let checkpoint = checkpoint();
    let config = ServerConfig { max_batch: 2, max_prepared: 3, ..ServerConfig::default() };
    let (server, _) = meet(
        |channel| {
            let mut session = Session::accept(channel, &checkpoint, &config)?;
            assert!(prepared.iter().all(|_| session.serve().unwrap()));
            let before = session.report();
            let error = session.serve().err().unwrap();
            let bytes = session.report().bytes() - before.bytes();
            Ok((error, session.prepared(), bytes, session.serve().err().unwrap()))
        },
        |mut channel| {
            let (graph, mut ots, mut rng) = by_hand(&mut channel)?;
            let client = layers::Client { graph: &graph };
            for &batch in prepared {
                channel.send(request(1, batch as u32))?;
                let (channel, ots, rng) = (&mut channel, &mut ots, &mut rng);
                let mut party = Party { role: Role::Client, channel, ots, rng };
                client.prepare(&mut party, &mut client.begin(batch), &mut |_| ())?;
            }
            channel.send(offence)?;
            channel.recv(1).map(|_| ())
        },
    );
    server.unwrap()
}

/// Forwards a session and stops after `limit` bytes from the client.
fn cut_after(limit: usize) -> Error {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let config = TransportConfig { timeout: TIMEOUT, ..TransportConfig::default() };
    let (server, proxy_server) = tokio::io::duplex(1 << 16);
    let (client, proxy_client) = tokio::io::duplex(1 << 16);
    let (server, client) =
        (Channel::over(server, runtime.handle(), config), Channel::over(client, runtime.handle(), config));
    runtime.spawn(async move {
        let (mut from_server, mut to_server) = tokio::io::split(proxy_server);
        let (mut from_client, mut to_client) = tokio::io::split(proxy_client);
        let back = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
        let mut left = limit;
        let mut buffer = vec![0; 1024];
        while left > 0 {
            let room = left.min(buffer.len());
            let Ok(count) = from_client.read(&mut buffer[..room]).await else { break };
            if count == 0 || to_server.write_all(&buffer[..count]).await.is_err() {
                break;
            }
            left -= count;
        }
        back.abort();
    });
    let checkpoint = checkpoint();
    thread::scope(|scope| {
        let server = scope.spawn(|| serve_connection(server, &checkpoint, &ServerConfig::default()));
        let run = || -> Result<Client, Error> {
            let mut client = connect(client, &ClientConfig::default())?;
            client.infer(&[random_image(1, &checkpoint)])?;
            Ok(client)
        };
        let client = run();
        let server = server.join().unwrap();
        assert!(client.is_err());
        server.err().unwrap()
    })
}

#[test]
fn a_session_cut_anywhere_ends_with_an_error_on_both_sides() {
    let profile = Profile { ot: ClientConfig::default().ot };
    let whole = cost::inference(checkpoint().graph(), &profile, 1).total().to_server as usize;
    for limit in [1, 8, 17, 60, 200].into_iter().chain((1..10).map(|tenth| whole * tenth / 10)) {
        let error = cut_after(limit);
        assert!(matches!(error, Error::PeerClosed { .. } | Error::Timeout { .. }), "{limit}: {error}");
    }
}

#[test]
fn a_session_with_a_failed_inference_refuses_to_go_on() {
    let checkpoint = checkpoint();
    let (server, client) = meet(
        |channel| {
            let mut session = Session::accept(channel, &checkpoint, &ServerConfig::default())?;
            // Silent for longer than the client waits, then ready to serve what it asked for.
            thread::sleep(2 * TIMEOUT);
            let late = session.serve().err();
            Ok((late, session.serve().err()))
        },
        |channel| {
            let mut client = connect(channel, &ClientConfig::default())?;
            let image = random_image(1, &checkpoint);
            let first = client.infer(std::slice::from_ref(&image)).err();
            Ok((first, client.infer(&[image]).err(), client.close().err()))
        },
    );
    let (late, after) = server.unwrap();
    assert!(late.is_some());
    let (first, second, closing) = client.unwrap();
    assert!(matches!(first, Some(Error::Timeout { .. })));
    for error in [after, second, closing] {
        assert!(error.unwrap().to_string().contains("an inference has failed"));
    }
}

#[test]
fn batches_beyond_the_agreed_one_and_wrong_images_are_refused() {
    let checkpoint = checkpoint();
    let config = ServerConfig { max_batch: 2, ..Default::default() };
    let (server, client) = meet(
        |channel| serve_connection(channel, &checkpoint, &config),
        |channel| {
            let mut client = connect(channel, &ClientConfig::default())?;
            let image = random_image(1, &checkpoint);
            let none: [Vec<u8>; 0] = [];
            let errors =
                [client.infer(&none), client.infer(&vec![image.clone(); 3]), client.infer(&[&image[1..]])];
            assert!(errors.iter().all(|error| matches!(error, Err(Error::Config { .. }))));
            // The session is still good.
            client.infer(&[image])?;
            client.close()
        },
    );
    assert!(server.is_ok() && client.is_ok());
}
