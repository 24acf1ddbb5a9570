use std::thread;

use eqo_checkpoints::testing::{Spec, random_checkpoint};
use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::layers::Server;
use crate::session::stock::Begun;
use crate::transport::{TransportConfig, memory_pair};

const TICKET: Ticket = [7; TICKET_BYTES];

/// The client `it` with its ticket.
fn it() -> (&'static Ticket, &'static [u8]) {
    (&TICKET, b"it")
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Of a connection that nobody serves.
fn closer(runtime: &Runtime) -> Closer {
    let config = TransportConfig { timeout: Duration::from_millis(1), ..TransportConfig::default() };
    memory_pair(64, runtime.handle(), config).0.closer()
}

/// A stock of a preparation of this many images.
fn stock(batch: usize) -> ServerStock {
    let checkpoint = random_checkpoint(1, &Spec::new([1, 4, 4], 2, vec![]));
    let mut stock = ServerStock::new();
    let preparation = Server::new(checkpoint.graph(), checkpoint.weights()).begin(batch);
    stock.interrupt(Begun { serial: 0, batch, preparation });
    stock
}

#[test]
fn of_two_that_wait_for_a_session_the_later_gets_it() {
    let runtime = runtime();
    let [old, first, second] = [closer(&runtime), closer(&runtime), closer(&runtime)];
    let parking = Parking::new(ParkingConfig::default());
    let stay = parking.stay(&TICKET, b"it", old.clone());
    let waits = |turn: u64| {
        while parking.lock().by_key.values().all(|place| place.turn != turn) {
            thread::yield_now();
        }
    };
    thread::scope(|scope| {
        let earlier = scope.spawn(|| matches!(parking.claim(it(), None, first), Claim::InUse));
        waits(2);
        let later = scope.spawn(|| parking.claim(it(), None, second));
        waits(3);
        assert!(old.reason().is_some(), "the connection that used it is closed");
        stay.leave(stock(2));
        let found = later.join().unwrap();
        assert!(earlier.join().unwrap() && matches!(found, Claim::Found(_)));
    });
    // The stay of the later one ended with nothing to leave.
    assert!(matches!(parking.claim(it(), None, old), Claim::Unknown));
}

#[test]
fn a_return_closes_the_connection_of_its_own_session_and_no_other() {
    let runtime = runtime();
    let old = closer(&runtime);
    let parking = Parking::new(ParkingConfig::default());
    let _stay = parking.stay(&TICKET, b"it", old.clone());
    for (ticket, client) in [(&[8; TICKET_BYTES], b"it"), (&TICKET, b"me")] {
        assert!(parking.call_off(ticket, client).is_none() && old.reason().is_none());
    }
    assert!(parking.call_off(&TICKET, b"it").is_some() && old.reason().is_some());
}

#[test]
fn of_two_that_wait_for_a_place_the_later_gets_the_session_whoever_has_the_place_first() {
    let runtime = runtime();
    let closer = closer(&runtime);
    let parking = Parking::new(ParkingConfig::default());
    parking.stay(&TICKET, b"it", closer.clone()).leave(stock(2));
    let [earlier, later] = [(), ()].map(|()| parking.call_off(&TICKET, b"it"));
    assert!(matches!(parking.claim(it(), earlier, closer.clone()), Claim::InUse));
    assert!(matches!(parking.claim(it(), later, closer), Claim::Found(_)));
}

#[test]
fn a_closed_one_forgets_and_keeps_nothing_but_still_knows_who_is_served() {
    let runtime = runtime();
    let closer = closer(&runtime);
    let parking = Parking::new(ParkingConfig::default());
    parking.stay(&[1; TICKET_BYTES], b"it", closer.clone()).leave(stock(2));
    let stay = parking.stay(&TICKET, b"it", closer.clone());
    parking.close();
    assert_eq!(parking.waiting(), (0, 0));
    assert!(parking.call_off(&TICKET, b"it").is_some() && closer.reason().is_some());
    stay.leave(stock(2));
    assert_eq!(parking.waiting(), (0, 0));
}

#[test]
fn a_session_larger_than_the_whole_room_is_forgotten_and_no_other_for_it() {
    let runtime = runtime();
    let closer = closer(&runtime);
    let parking = Parking::new(ParkingConfig { images: 8, ..ParkingConfig::default() });
    for (ticket, batch) in [(1, 5), (2, 9)] {
        parking.stay(&[ticket; TICKET_BYTES], b"it", closer.clone()).leave(stock(batch));
    }
    assert_eq!(parking.waiting(), (1, 5));
}
