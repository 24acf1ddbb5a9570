//! Connections that break, wherever it may be: the client comes back, nothing that was finished is done again, nothing that was sent
//! is sent again, and every logit is the engine's.

#![allow(clippy::unwrap_used, reason = "an Err is a failed test")]

mod common;

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use common::breaking::{Break, Direction, Line, Service};
use eqo_checkpoints::Checkpoint;
use eqo_checkpoints::cost::{Interrupted, Kept};
use eqo_checkpoints::engine::Engine;
use eqo_checkpoints::testing::{Block, Spec, random_checkpoint, random_image};
use eqo_protocol::Error;
use eqo_protocol::ot::OtKind;
use eqo_protocol::report::Report;
use eqo_protocol::session::ParkingConfig;
use eqo_protocol::session::client::{Client, ClientConfig, Patience, PersistentClient, Resumed, connect};

const KIND: OtKind = OtKind::SoftSpoken4;

fn small(seed: u64) -> Checkpoint {
    random_checkpoint(seed, &Spec::new([1, 4, 4], 3, vec![Block::Identity]))
}

fn client_config() -> ClientConfig {
    ClientConfig { ot: KIND, ..ClientConfig::default() }
}

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

/// No 16 bytes occur twice on any of these lines, but for what is public: the handshakes.
fn assert_nothing_is_sent_twice(lines: &[Line], about: &str) {
    let mut seen = HashMap::new();
    for (connection, line) in lines.iter().enumerate() {
        for (direction, messages) in line.secret().into_iter().enumerate() {
            for (at, message) in messages.iter().enumerate() {
                for chunk in message.chunks_exact(16) {
                    let place = (connection, direction, at);
                    let earlier = seen.insert(chunk.to_vec(), place);
                    assert!(earlier.is_none(), "{about}: {place:?} and {earlier:?}");
                }
            }
        }
    }
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

/// Every byte, frame and round is the predicted one.
fn assert_as_predicted(report: &Report) {
    for row in &report.rows {
        for phase in [&row.offline, &row.online] {
            let predicted = phase.predicted;
            assert_eq!(phase.bytes_sent, predicted.to_server, "{} to server", row.name);
            assert_eq!(phase.bytes_received, predicted.to_client, "{} to client", row.name);
            assert_eq!((phase.frames, phase.rounds), (predicted.frames, predicted.rounds), "{}", row.name);
        }
    }
}

/// A connected client, and whose connection breaks after so many frames to it.
fn breaks_after(service: &Service, after: usize) -> Client {
    let broken = Break { direction: Direction::ToClient, after, within: false };
    connect(service.connect(Some(broken)), &client_config()).unwrap()
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

/// A network whose preparation for this many images takes several windows.
fn of_several_windows() -> (Checkpoint, usize) {
    let checkpoint = random_checkpoint(4, &Spec::new([3, 20, 20], 3, vec![Block::Identity, Block::Identity]));
    let windows = |batch| eqo_checkpoints::cost::windows(checkpoint.graph(), batch).len();
    let batch = (0..10).map(|power| 1 << power).find(|&batch| windows(batch) >= 3).unwrap();
    (checkpoint, batch)
}

#[test]
fn a_preparation_goes_on_after_its_last_whole_window() {
    let (checkpoint, batch) = of_several_windows();
    let images: Vec<Vec<u8>> = (0..batch as u64).map(|seed| random_image(seed, &checkpoint)).collect();
    let engine = Engine::new(checkpoint.graph().clone(), checkpoint.weights()).unwrap();
    let expected: Vec<_> = images.iter().map(|image| engine.run(image).unwrap()).collect();
    let service = Service::new(checkpoint, ParkingConfig::default());
    let mut whole = connect(service.connect(None), &client_config()).unwrap();
    whole.prepare(batch).unwrap();
    let all = whole.close().unwrap().bytes();
    service.hang_up();
    let frames = frames_of_a_preparation(&service, batch);
    let mut windows_kept = Vec::new();
    for part in [1, 2, 3] {
        let mut client = breaks_after(&service, frames * part / 4);
        assert!(client.prepare(batch).unwrap_err().is_connection());
        let broken = client.report().bytes();
        let Resumed::Kept(kept) = client.resume(service.connect(None)).unwrap() else { panic!("{part}") };
        let Interrupted { windows, .. } = kept.interrupted.unwrap_or(Interrupted { batch, windows: 0 });
        windows_kept.push(windows);
        client.prepare(batch).unwrap();
        let rest = client.report();
        assert_as_predicted(&rest);
        // At most one window is done twice: a third or so of everything.
        assert!(rest.bytes() + broken < all + all / 2, "{} and {broken} of {all}", rest.bytes());
        assert_eq!(client.infer(&images).unwrap(), expected);
        client.close().unwrap();
        assert_nothing_is_sent_twice(&service.hang_up(), &format!("{part}"));
    }
    assert!(windows_kept[0] < windows_kept[2] && windows_kept[2] > 0, "{windows_kept:?}");
}

#[test]
fn an_interrupted_preparation_is_dropped_when_another_batch_is_prepared() {
    let (checkpoint, batch) = of_several_windows();
    let (image, expected) = question(&checkpoint);
    let service = Service::new(checkpoint, ParkingConfig::default());
    let frames = frames_of_a_preparation(&service, batch);
    let mut client = breaks_after(&service, frames * 3 / 4);
    assert!(client.prepare(batch).unwrap_err().is_connection());
    let Resumed::Kept(kept) = client.resume(service.connect(None)).unwrap() else { panic!("a new session") };
    assert!(kept.interrupted.is_some_and(|interrupted| interrupted.windows > 0), "{kept:?}");
    assert_eq!(client.infer(&[&image]).unwrap(), [expected]);
    assert_as_predicted(&client.close().unwrap());
}

#[test]
fn an_interrupted_preparation_outlives_a_return_that_breaks_too() {
    let (checkpoint, batch) = of_several_windows();
    let service = Service::new(checkpoint, ParkingConfig::default());
    let frames = frames_of_a_preparation(&service, batch);
    for (direction, after) in [(Direction::ToServer, 2), (Direction::ToClient, 1), (Direction::ToClient, 2)] {
        let mut client = breaks_after(&service, frames * 3 / 4);
        assert!(client.prepare(batch).unwrap_err().is_connection());
        let again = Break { direction, after, within: false };
        assert!(client.resume(service.connect(Some(again))).unwrap_err().is_connection());
        let Resumed::Kept(kept) = client.resume(service.connect(None)).unwrap() else {
            panic!("a new session")
        };
        assert!(kept.interrupted.is_some_and(|interrupted| interrupted.windows > 0), "{again:?}: {kept:?}");
        service.cut();
    }
}

#[test]
fn a_preparation_that_is_whole_for_the_server_alone_goes_back_to_the_clients_last_window() {
    let (checkpoint, batch) = of_several_windows();
    let windows = eqo_checkpoints::cost::windows(checkpoint.graph(), batch).len();
    let service = Service::new(checkpoint, ParkingConfig::default());
    let frames = frames_of_a_preparation(&service, batch);
    let mut client = breaks_after(&service, frames - 1);
    assert!(client.prepare(batch).unwrap_err().is_connection());
    let Resumed::Kept(kept) = client.resume(service.connect(None)).unwrap() else { panic!("a new session") };
    assert_eq!(kept.interrupted, Some(Interrupted { batch, windows: windows - 1 }));
    client.prepare(batch).unwrap();
    assert_as_predicted(&client.close().unwrap());
}

/// A network whose last window has nothing to correct: the logits alone.
#[test]
fn a_window_ends_with_a_message_of_the_server_even_if_there_is_nothing_to_correct() {
    let checkpoint =
        random_checkpoint(12, &Spec::new([3, 20, 20], 8192, vec![Block::Identity, Block::Identity]));
    let needs_end = |batch: &usize| {
        let last = eqo_checkpoints::cost::windows(checkpoint.graph(), *batch).pop().unwrap();
        eqo_checkpoints::cost::needs_end(checkpoint.graph(), last, *batch)
    };
    let batch =
        (1..=64).find(needs_end).expect("so many classes don't fit into the window of the convolution");
    let windows = eqo_checkpoints::cost::windows(checkpoint.graph(), batch).len();
    let service = Service::new(checkpoint, ParkingConfig::default());
    let frames = frames_of_a_preparation(&service, batch);
    let mut client = breaks_after(&service, frames - 1);
    assert!(client.prepare(batch).unwrap_err().is_connection(), "its last message is the server's");
    let Resumed::Kept(kept) = client.resume(service.connect(None)).unwrap() else { panic!("a new session") };
    assert_eq!(kept.interrupted, Some(Interrupted { batch, windows: windows - 1 }));
    client.prepare(batch).unwrap();
    assert_as_predicted(&client.close().unwrap());
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

/// An image and its logits.
fn question(checkpoint: &Checkpoint) -> (Vec<u8>, Vec<i64>) {
    let image = random_image(1, checkpoint);
    let engine = Engine::new(checkpoint.graph().clone(), checkpoint.weights()).unwrap();
    let expected = engine.run(&image).unwrap();
    (image, expected)
}

/// Frames to the client up to the end of its first preparation.
fn frames_of_a_preparation(service: &Service, batch: usize) -> usize {
    let mut client = connect(service.connect(None), &client_config()).unwrap();
    client.prepare(batch).unwrap();
    client.close().unwrap();
    service.hang_up()[0].frames()[1]
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
