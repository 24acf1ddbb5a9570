//! Clients and servers that come back to a session with lies: each gets a specific error, and what is kept stays usable.

#![allow(clippy::unwrap_used, reason = "an Err is a failed test")]

mod common;

use common::breaking::{Service, meet};
use eqo_checkpoints::cost::{CONFIRMATION_BYTES, HELLO_BYTES, TICKET_BYTES, WELCOME_BYTES};
use eqo_checkpoints::testing::{Spec, random_checkpoint, random_image};
use eqo_protocol::ot::OtKind;
use eqo_protocol::session::ParkingConfig;
use eqo_protocol::session::client::{Client, ClientConfig, Resumed, connect};
use eqo_protocol::session::server::{Greeting, Return, ServerConfig, Session};
use eqo_protocol::testing::TEST_TIMEOUT;
use eqo_protocol::transport::{Channel, TransportConfig, memory_pair};
use eqo_protocol::{Error, Unserved};

const KIND: OtKind = OtKind::SoftSpoken2;

fn service() -> Service {
    Service::new(random_checkpoint(3, &Spec::new([1, 6, 6], 3, vec![])), ParkingConfig::default())
}

/// A client with an inference of one image prepared, and the ticket by which it may come back.
fn prepared(service: &Service) -> (Client, Vec<u8>) {
    let mut client =
        connect(service.connect(None), &ClientConfig { ot: KIND, ..Default::default() }).unwrap();
    client.prepare(1).unwrap();
    service.cut();
    let lines = service.hang_up();
    (client, lines[0].to_client(0)[WELCOME_BYTES - TICKET_BYTES..].to_vec())
}

/// Comes back by hand; what the server answers to these holdings.
fn come_back(service: &Service, ticket: &[u8], holdings: &[u8], answer: usize) -> Result<Vec<u8>, Error> {
    let mut channel = service.connect(None);
    let hello = [b"EQO2PC".as_slice(), &3_u16.to_le_bytes(), &[KIND.code()], ticket].concat();
    channel.send(hello)?;
    assert_eq!(channel.recv(WELCOME_BYTES)?[8], 3, "the session is known");
    channel.send([&[0], service.checkpoint.graph().graph_hash().as_slice()].concat())?;
    channel.send_message(holdings)?;
    channel.recv(answer)
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[test]
fn holdings_that_no_client_has_are_refused_and_the_honest_client_still_comes_back() {
    let service = service();
    let (mut client, ticket) = prepared(&service);
    let many: Vec<u64> = (0..100).collect();
    let lies = [
        (words(&[0, 0, 0]), "a serial number"),
        (words(&[u64::MAX, 0, 0]), "a serial number"),
        (words(&[9, 0, 0, 5, 4]), "serial numbers in order"),
        (words(&[9, 0, 0, 4, 4]), "serial numbers in order"),
        (words(&[9, 0]), "at least three"),
        (vec![1; 27], "at least three"),
        (words(&many), "found 800"),
    ];
    for (lie, named) in lies {
        assert!(come_back(&service, &ticket, &lie, 5).is_err());
        let ends = service.ends();
        assert!(ends.iter().any(|end| end.contains(named)), "{named}: {ends:?}");
    }
    let Resumed::Kept(kept) = client.resume(service.connect(None)).unwrap() else { panic!("a new session") };
    assert_eq!(kept.prepared, [1]);
    client.infer(&[&random_image(1, &service.checkpoint)]).unwrap();
}

#[test]
fn what_the_server_does_not_have_can_be_claimed_by_nobody() {
    let service = service();
    let (mut client, ticket) = prepared(&service);
    // Serial 7 never was; a preparation of 9 images neither.
    let claimed = words(&[8, 7, 9 | (3 << 32), 0, 7]);
    let answer = come_back(&service, &ticket, &claimed, 6).unwrap();
    assert_eq!(answer, [0, 0, 0, 0, 1, 0]);
    // The number of windows is the server's at most.
    service.hang_up();
    let reopened = words(&[8, 0, 1 | (200 << 32)]);
    assert_eq!(come_back(&service, &ticket, &reopened, 4).unwrap(), [0; 4]);
    // Which has cost the liar, who is this client itself, its stock.
    service.hang_up();
    assert_eq!(client.resume(service.connect(None)).unwrap(), Resumed::Anew);
}

/// What a client that comes back says to this server.
fn client_error(server: impl FnOnce(Channel) -> Result<(), Error> + Send) -> Error {
    let service = service();
    let (mut client, _) = prepared(&service);
    meet(server, |channel| client.resume(channel).map(drop)).1.unwrap_err()
}

#[test]
fn a_server_that_answers_a_return_with_nonsense_is_named() {
    let welcome = |verdict: u8| {
        let sizes = [4_u32, 4].map(u32::to_le_bytes);
        [b"EQO2PC".as_slice(), &3_u16.to_le_bytes(), &[verdict], sizes.as_flattened(), &[1; TICKET_BYTES]]
            .concat()
    };
    for (kept, expected) in [([9, 0, 0, 0, 1], "windows"), ([1, 0, 0, 0, 1], "windows")] {
        let error = client_error(|mut channel| {
            channel.recv(HELLO_BYTES)?;
            channel.send(welcome(3))?;
            channel.recv(CONFIRMATION_BYTES)?;
            channel.recv_bounded(1 << 10)?;
            channel.send(kept.to_vec())
        });
        assert!(matches!(error, Error::PeerData { .. }) && error.to_string().contains(expected), "{error}");
    }
    for (verdict, named) in [(2, "a verdict"), (9, "a verdict")] {
        let error = client_error(|mut channel| {
            channel.recv(HELLO_BYTES)?;
            channel.send(welcome(verdict))
        });
        assert!(error.to_string().contains(named), "{error}");
    }
}

/// Both have said that they come back before either has a place; the earlier one gets the first.
#[test]
fn of_two_returns_that_wait_the_earlier_is_told_that_the_server_is_busy() {
    let service = service();
    let (_client, ticket) = prepared(&service);
    let hello = [b"EQO2PC".as_slice(), &3_u16.to_le_bytes(), &[KIND.code()], &ticket].concat();
    let (parking, runtime) = (service.parking(), common::transcript::runtime());
    let back = Return { parking: &parking, client: &service.client };
    let mut waiting: Vec<_> = (0..2)
        .map(|_| {
            let config = TransportConfig { timeout: TEST_TIMEOUT, ..TransportConfig::default() };
            let (server, mut client) = memory_pair(1 << 16, runtime.handle(), config);
            client.send(hello.clone()).unwrap();
            let mut greeting = Greeting::recv(server).unwrap();
            greeting.call_off(back);
            (greeting, client)
        })
        .collect();
    let config = ServerConfig::default();
    let (later, earlier) = (waiting.pop().unwrap(), waiting.pop().unwrap());
    for ((greeting, mut client), verdict) in [(earlier, 4), (later, 3)] {
        std::thread::scope(|scope| {
            let accepted = scope
                .spawn(|| Session::accept_or_resume(greeting, &service.checkpoint, &config, back).is_ok());
            assert_eq!(client.recv(WELCOME_BYTES).unwrap()[8], verdict);
            drop(client);
            assert!(!accepted.join().unwrap());
        });
    }
}

#[test]
fn a_client_that_is_turned_away_is_told_why() {
    for reason in [Unserved::Busy, Unserved::Draining] {
        let (server, client) = meet(
            |channel| Greeting::recv(channel)?.turn_away(reason),
            |channel| connect(channel, &ClientConfig::default()).map(drop),
        );
        assert!(server.is_ok());
        let error = client.unwrap_err();
        assert!(matches!(error, Error::TurnedAway { reason: found } if found == reason), "{error}");
    }
}
