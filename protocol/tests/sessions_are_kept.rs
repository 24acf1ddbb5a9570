//! What a server keeps of sessions whose connection broke: for whom, for how long, how much.

#![allow(clippy::unwrap_used, reason = "an Err is a failed test")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::breaking::{Break, Direction, Service};
use common::returning::{client_config, small};
use eqo_checkpoints::cost::Kept;
use eqo_checkpoints::testing::random_image;
use eqo_protocol::Error;
use eqo_protocol::session::ParkingConfig;
use eqo_protocol::session::client::{Resumed, connect};

/// What becomes of a prepared client's session whose connection breaks, when `meanwhile` happened.
fn comes_back_after(service: &mut Service, meanwhile: impl FnOnce(&mut Service)) -> Result<Resumed, Error> {
    let image = random_image(1, &service.checkpoint);
    let mut client = connect(service.connect(None), &client_config()).unwrap();
    client.prepare(2).unwrap();
    client.prepare(1).unwrap();
    service.cut();
    service.hang_up();
    meanwhile(service);
    let resumed = client.resume(service.connect(None))?;
    client.infer(&[&image])?;
    client.close()?;
    Ok(resumed)
}

#[test]
fn a_server_that_lost_the_session_begins_a_new_one() {
    let mut service = Service::new(small(6), ParkingConfig::default());
    let kept = Kept { offered: 2, prepared: vec![2, 1], interrupted: None };
    assert_eq!(comes_back_after(&mut service, |_| ()).unwrap(), Resumed::Kept(kept));
    assert_eq!(comes_back_after(&mut service, |service| service.restart()).unwrap(), Resumed::Anew);
}

#[test]
fn nobody_else_can_claim_a_session_even_with_its_ticket() {
    let mut service = Service::new(small(7), ParkingConfig::default());
    let other = |service: &mut Service| service.client = b"another certificate".to_vec();
    assert_eq!(comes_back_after(&mut service, other).unwrap(), Resumed::Anew);
    assert_eq!(service.parking().waiting(), (1, 3));
}

#[test]
fn what_is_too_old_or_too_much_is_forgotten() {
    let config = ParkingConfig { keep: Duration::ZERO, ..ParkingConfig::default() };
    let mut old = Service::new(small(8), config);
    assert_eq!(comes_back_after(&mut old, |_| ()).unwrap(), Resumed::Anew);
    for (images, sessions) in [(2, 64), (64, 0)] {
        let config = ParkingConfig { images, sessions, ..ParkingConfig::default() };
        let mut full = Service::new(small(8), config);
        assert_eq!(comes_back_after(&mut full, |_| ()).unwrap(), Resumed::Anew);
        assert_eq!(full.parking().waiting(), (0, 0));
    }
}

#[test]
fn a_greedy_client_evicts_its_own_sessions_and_nobody_elses() {
    let config = ParkingConfig { images: 6, sessions: 4, ..ParkingConfig::default() };
    let mut service = Service::new(small(8), config);
    let greedy = |service: &mut Service| {
        service.client = b"greedy".to_vec();
        for _ in 0..5 {
            let mut client = connect(service.connect(None), &client_config()).unwrap();
            client.prepare(4).unwrap();
            service.cut();
            service.hang_up();
        }
        // Interrupted before its first window is whole: nothing is left of it.
        let broken = Break { direction: Direction::ToClient, after: 6, within: false };
        let mut client = connect(service.connect(Some(broken)), &client_config()).unwrap();
        assert!(client.prepare(50).is_err());
        service.hang_up();
        service.client = b"a certificate".to_vec();
    };
    let kept = Kept { offered: 2, prepared: vec![2, 1], interrupted: None };
    // Three images of the honest client and four of the greedy one are one too many.
    assert_eq!(comes_back_after(&mut service, greedy).unwrap(), Resumed::Kept(kept));
    assert_eq!(service.parking().waiting(), (0, 0));
}

#[test]
fn a_session_is_resumed_with_no_other_network() {
    let mut service = Service::new(small(9), ParkingConfig::default());
    let replaced = |service: &mut Service| {
        service.checkpoint = Arc::new(small(10));
        service.restart();
    };
    let error = comes_back_after(&mut service, replaced).unwrap_err();
    assert!(matches!(error, Error::PeerIncompatible { what: "graph", .. }), "{error}");
}
