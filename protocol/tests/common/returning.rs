//! Clients that come back, and what must hold of them.

use std::collections::HashMap;

use eqo_checkpoints::Checkpoint;
use eqo_checkpoints::testing::{Block, Spec, random_checkpoint, random_image};
use eqo_protocol::ot::OtKind;
use eqo_protocol::report::Report;
use eqo_protocol::session::client::{Client, ClientConfig, connect};

use super::breaking::{Break, Direction, Line, Service};

/// A network of three classes and a few hundred weights.
pub(crate) fn small(seed: u64) -> Checkpoint {
    random_checkpoint(seed, &Spec::new([1, 4, 4], 3, vec![Block::Identity]))
}

pub(crate) fn client_config() -> ClientConfig {
    ClientConfig { ot: OtKind::SoftSpoken4, ..ClientConfig::default() }
}

/// An image and its logits.
pub(crate) fn question(checkpoint: &Checkpoint) -> (Vec<u8>, Vec<i64>) {
    let image = random_image(1, checkpoint);
    let expected = checkpoint.engine().run(&image).unwrap();
    (image, expected)
}

/// Frames to the client up to the end of its first preparation.
pub(crate) fn frames_of_a_preparation(service: &Service, batch: usize) -> usize {
    let mut client = connect(service.connect(None), &client_config()).unwrap();
    client.prepare(batch).unwrap();
    client.close().unwrap();
    service.hang_up()[0].frames()[1]
}

/// A connected client whose connection breaks after so many frames to it.
pub(crate) fn breaks_after(service: &Service, after: usize) -> Client {
    let broken = Break { direction: Direction::ToClient, after, within: false };
    connect(service.connect(Some(broken)), &client_config()).unwrap()
}

/// Every byte, frame and round is the predicted one.
pub(crate) fn assert_as_predicted(report: &Report) {
    for row in &report.rows {
        for phase in [&row.offline, &row.online] {
            let predicted = phase.predicted;
            assert_eq!(phase.bytes_sent, predicted.to_server, "{} to server", row.name);
            assert_eq!(phase.bytes_received, predicted.to_client, "{} to client", row.name);
            assert_eq!((phase.frames, phase.rounds), (predicted.frames, predicted.rounds), "{}", row.name);
        }
    }
}

/// No 16 bytes occur twice on any of these lines, but for what is public: the handshakes.
pub(crate) fn assert_nothing_is_sent_twice(lines: &[Line], about: &str) {
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
