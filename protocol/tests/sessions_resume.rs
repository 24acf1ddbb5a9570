//! Connections that break, wherever it may be: the client comes back, nothing that was finished is done again, nothing that was sent
//! is sent again, and every logit is the engine's.

#![allow(clippy::unwrap_used, reason = "an Err is a failed test")]

mod common;

use std::sync::Mutex;
use std::time::Duration;

use common::breaking::{Break, Direction, Service};
use common::returning::{assert_as_predicted, assert_nothing_is_sent_twice, client_config, question, small};
use eqo_checkpoints::cost::Kept;
use eqo_checkpoints::testing::random_image;
use eqo_protocol::Error;
use eqo_protocol::session::ParkingConfig;
use eqo_protocol::session::client::{ClientConfig, Patience, PersistentClient, Resumed, connect};

fn impatient(attempts: u32) -> Patience {
    Patience { attempts, pause: Duration::ZERO }
}

/// A session that does one of everything, on connections that break as `breaks` say; how often it connected again.
fn one_of_everything(service: &Service, breaks: Vec<Break>) -> Result<u32, Error> {
    one_of_everything_after(service, breaks, || ())
}

/// The same; `before` happens before each connection.
fn one_of_everything_after(service: &Service, breaks: Vec<Break>, before: impl Fn()) -> Result<u32, Error> {
    let (image, expected) = question(&service.checkpoint);
    let breaks = Mutex::new(breaks.into_iter());
    let dial = || {
        before();
        Ok(service.connect(breaks.lock().unwrap().next()))
    };
    let mut client = PersistentClient::connect(dial, &client_config(), impatient(3))?;
    client.prepare(1)?;
    client.prepare(1)?;
    for _ in 0..2 {
        assert_eq!(client.infer(&[&image])?, std::slice::from_ref(&expected));
    }
    assert_eq!(client.classify(&[&image])?, [eqo_checkpoints::engine::class_of(&expected)]);
    assert_eq!(client.infer(&[&image])?, [expected]);
    let reconnections = client.reconnections();
    client.close()?;
    Ok(reconnections)
}

#[test]
fn a_connection_may_break_after_any_frame_and_within_it() {
    let service = Service::new(small(1), ParkingConfig::default());
    assert_eq!(one_of_everything(&service, Vec::new()).unwrap(), 0);
    let frames = service.hang_up()[0].frames();
    assert!(frames.iter().all(|&frames| frames > 40), "{frames:?}");
    let mut came_back = 0;
    for (direction, frames) in [Direction::ToServer, Direction::ToClient].into_iter().zip(frames) {
        for at in 0..frames {
            let broken = Break { direction, after: at, within: at % 2 == 1 };
            let about = format!("{broken:?}");
            match one_of_everything(&service, vec![broken]) {
                Ok(reconnections) => came_back += reconnections,
                // Before there is a session nothing can be resumed.
                Err(error) => assert!(at < 8 && error.is_connection(), "{about}: {error}"),
            }
            assert_nothing_is_sent_twice(&service.hang_up(), &about);
        }
    }
    assert!(came_back as usize > frames.iter().sum::<usize>() - 20, "{came_back} of {frames:?}");
}

#[test]
fn a_server_may_be_killed_at_any_step_and_forget_everything() {
    let service = Service::new(small(11), ParkingConfig::default());
    one_of_everything(&service, Vec::new()).unwrap();
    let [_, frames] = service.hang_up()[0].frames();
    for after in (8..frames).step_by(3) {
        let killed = Break { direction: Direction::ToClient, after, within: false };
        let reconnections = one_of_everything_after(&service, vec![killed], || service.restart()).unwrap();
        assert_eq!(reconnections, 1, "{after}");
        assert_nothing_is_sent_twice(&service.hang_up(), &format!("killed after {after}"));
    }
}

#[test]
fn a_connection_may_break_again_while_it_is_resumed() {
    let service = Service::new(small(2), ParkingConfig::default());
    for at in 0..6 {
        for direction in [Direction::ToServer, Direction::ToClient] {
            let first = Break { direction: Direction::ToClient, after: 30, within: false };
            let again = Break { direction, after: at, within: false };
            let about = format!("{again:?}");
            let reconnections = one_of_everything(&service, vec![first, again]).unwrap();
            // A later break finds the session resumed already.
            assert!((1..=2).contains(&reconnections), "{about}: {reconnections}");
            assert_nothing_is_sent_twice(&service.hang_up(), &about);
        }
    }
}

#[test]
fn a_resumed_connection_costs_what_is_foretold_and_keeps_the_whole_stock() {
    let service = Service::new(small(3), ParkingConfig::default());
    let image = random_image(1, &service.checkpoint);
    let mut client = connect(service.connect(None), &client_config()).unwrap();
    (0..3).for_each(|_| client.prepare(1).unwrap());
    client.prepare(2).unwrap();
    service.cut();
    let error = client.infer(&[&image]).unwrap_err();
    assert!(error.is_connection(), "{error}");
    let resumed = client.resume(service.connect(None)).unwrap();
    // What an inference had taken is gone, whether or not the server ever heard of it.
    let kept = Kept { offered: 3, prepared: vec![1, 1, 2], interrupted: None };
    assert_eq!(resumed, Resumed::Kept(kept));
    assert_eq!([client.prepared(1), client.prepared(2)], [2, 1]);
    let before = client.report();
    assert_as_predicted(&before);
    (0..3).for_each(|_| drop(client.infer(&[&image]).unwrap()));
    client.infer(&[&image, &image]).unwrap();
    client.prepare(1).unwrap();
    let report = client.close().unwrap();
    assert_as_predicted(&report);
    assert!(report.bytes() > before.bytes());
}

#[test]
fn ferret_sessions_are_resumed_too() {
    let (image, expected) = question(&small(13));
    let service = Service::new(small(13), ParkingConfig::default());
    let mut client = connect(service.connect(None), &ClientConfig::default()).unwrap();
    client.prepare(1).unwrap();
    client.prepare(1).unwrap();
    service.cut();
    assert!(client.infer(&[&image]).unwrap_err().is_connection());
    let Resumed::Kept(kept) = client.resume(service.connect(None)).unwrap() else { panic!("a new session") };
    assert_eq!(kept.prepared, [1]);
    for _ in 0..2 {
        assert_eq!(client.infer(&[&image]).unwrap(), std::slice::from_ref(&expected));
    }
    assert_as_predicted(&client.close().unwrap());
    assert_nothing_is_sent_twice(&service.hang_up(), "ferret");
}

#[test]
fn a_client_that_comes_back_takes_over_from_a_connection_that_hangs() {
    let service = Service::new(small(5), ParkingConfig::default());
    let image = random_image(1, &service.checkpoint);
    let mut client = connect(service.connect(None), &client_config()).unwrap();
    client.prepare(1).unwrap();
    service.stall();
    let Resumed::Kept(kept) = client.resume(service.connect(None)).unwrap() else { panic!("a new session") };
    assert_eq!(kept.prepared, [1]);
    client.infer(&[&image]).unwrap();
    client.close().unwrap();
    let ends = service.ends();
    assert!(ends.iter().any(|end| end.contains("came back on another connection")), "{ends:?}");
}

#[test]
fn a_return_that_hangs_gives_way_to_the_next_one() {
    let service = Service::new(small(14), ParkingConfig::default());
    let mut client = connect(service.connect(None), &client_config()).unwrap();
    client.prepare(1).unwrap();
    service.stall();
    // A return that hangs in the middle, and a second one of the same client.
    let hangs = Break { direction: Direction::ToServer, after: 1, within: false };
    let first = client.resume(service.connect(Some(hangs)));
    assert!(first.unwrap_err().is_connection());
    let Resumed::Kept(kept) = client.resume(service.connect(None)).unwrap() else { panic!("a new session") };
    assert_eq!(kept.prepared, [1]);
}
