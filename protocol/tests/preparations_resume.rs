//! Preparations that break in the middle: whole windows of them are kept.

#![allow(clippy::unwrap_used, reason = "an Err is a failed test")]

mod common;

use common::breaking::{Break, Direction, Service};
use common::returning::{
    assert_as_predicted, assert_nothing_is_sent_twice, breaks_after, client_config, frames_of_a_preparation,
    question,
};
use eqo_checkpoints::Checkpoint;
use eqo_checkpoints::cost::{Interrupted, Kept};
use eqo_checkpoints::testing::{Block, Spec, random_checkpoint, random_image};
use eqo_protocol::session::ParkingConfig;
use eqo_protocol::session::client::{Resumed, connect};
use eqo_protocol::session::server::ServerConfig;

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
    let engine = checkpoint.engine();
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

/// What is kept of an inference of one image and of the preparation after it, which broke, where this many images are allowed then.
fn kept_within(most: usize, after: usize) -> Kept {
    let (checkpoint, batch) = of_several_windows();
    let mut service = Service::new(checkpoint, ParkingConfig::default());
    let mut client = breaks_after(&service, after);
    client.prepare(1).unwrap();
    assert!(client.prepare(batch).unwrap_err().is_connection());
    service.hang_up();
    service.config = ServerConfig { max_batch: most, max_prepared: most, ..ServerConfig::default() };
    let Resumed::Kept(kept) = client.resume(service.connect(None)).unwrap() else { panic!("a new session") };
    // Both parties hold the same, whatever was dropped: otherwise what follows would be wrong.
    let (image, expected) = question(&service.checkpoint);
    if kept.interrupted.is_some() {
        client.prepare(batch).unwrap();
        assert_eq!(client.infer(&vec![&image; batch]).unwrap(), vec![expected.clone(); batch]);
    }
    assert_eq!(client.infer(&[&image]).unwrap(), [expected]);
    assert_as_predicted(&client.close().unwrap());
    kept
}

#[test]
fn a_client_that_comes_back_to_less_room_keeps_what_was_interrupted_first_and_nothing_beyond() {
    let (checkpoint, batch) = of_several_windows();
    let service = Service::new(checkpoint, ParkingConfig::default());
    let after = frames_of_a_preparation(&service, 1) + frames_of_a_preparation(&service, batch) / 2;
    let [all, without_the_one, without_the_batch] =
        [batch + 1, batch, batch - 1].map(|most| kept_within(most, after));
    assert!(all.interrupted.is_some_and(|interrupted| interrupted.windows > 0), "{all:?}");
    assert_eq!((&all.prepared, all.interrupted), (&vec![1], without_the_one.interrupted));
    assert!(without_the_one.prepared.is_empty());
    assert_eq!((without_the_batch.prepared, without_the_batch.interrupted), (vec![1], None));
}
