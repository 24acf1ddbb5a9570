//! Over a whole session nothing that was sent is sent again, and what an earlier inference sent is worth nothing to a later
//! one. That the types let nothing serve twice is shown in `src/serves_once.rs`; that serial numbers don't repeat, in
//! `src/ot/tests`.

#![allow(clippy::unwrap_used, reason = "an Err is a failed test")]

mod common;

use std::collections::HashMap;
use std::thread;

use common::transcript::{Message, frames, runtime, tapped_pair};
use eqo_checkpoints::Checkpoint;
use eqo_checkpoints::engine::Engine;
use eqo_checkpoints::testing::{Block, Spec, random_checkpoint, random_image};
use eqo_protocol::ot::OtKind;
use eqo_protocol::session::client::{ClientConfig, connect};
use eqo_protocol::session::server::{ServerConfig, serve_connection};
use eqo_protocol::testing::TEST_TIMEOUT;
use eqo_protocol::transport::{Channel, FRAME_HEADER, TransportConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

fn checkpoint() -> Checkpoint {
    random_checkpoint(6, &Spec::new([1, 8, 8], 4, vec![Block::Identity]))
}

/// What both parties hear in a session of several inferences of one image, some prepared, the server first.
fn one_image_five_times(kind: OtKind) -> [Vec<Message>; 2] {
    let (checkpoint, runtime) = (checkpoint(), runtime());
    let ([server, client], heard) = tapped_pair(&runtime);
    let images = [random_image(1, &checkpoint)];
    thread::scope(|scope| {
        let server = scope.spawn(|| serve_connection(server, &checkpoint, &ServerConfig::default()));
        let mut client = connect(client, &ClientConfig { ot: kind, ..ClientConfig::default() }).unwrap();
        client.prepare(1).unwrap();
        client.prepare(1).unwrap();
        let logits = client.infer(&images).unwrap();
        for _ in 0..2 {
            assert_eq!(client.infer(&images).unwrap(), logits);
            client.classify(&images).unwrap();
        }
        client.close().unwrap();
        server.join().unwrap().unwrap();
    });
    heard.map(|heard| frames(&heard.lock().unwrap()))
}

#[test]
fn no_16_bytes_of_a_session_occur_twice_though_the_image_is_always_the_same() {
    for kind in [OtKind::SoftSpoken1, OtKind::SoftSpoken4, OtKind::Ferret] {
        let [to_server, to_client] = one_image_five_times(kind);
        // Two messages of the handshake in each direction are public.
        let secret = [&to_server[2..], &to_client[2..]];
        let mut seen: HashMap<&[u8], (usize, usize)> = HashMap::new();
        for (direction, messages) in secret.iter().enumerate() {
            for (at, message) in messages.iter().enumerate() {
                for chunk in message.chunks_exact(16) {
                    let earlier = seen.insert(chunk, (direction, at));
                    assert!(earlier.is_none(), "{kind:?}: {:?} and {earlier:?}", (direction, at));
                }
            }
        }
        assert!(seen.len() > 10_000, "{} chunks", seen.len());
    }
}

#[test]
fn no_message_of_8_bytes_or_more_occurs_twice() {
    let [to_server, to_client] = one_image_five_times(OtKind::SoftSpoken2);
    for messages in [&to_server[2..], &to_client[2..]] {
        let mut whole: Vec<&Message> = messages.iter().filter(|message| message.len() >= 8).collect();
        let count = whole.len();
        whole.sort_unstable();
        whole.dedup();
        assert!(count > 60 && whole.len() == count, "{count} messages, {} different ones", whole.len());
    }
}

/// Carries a client's frames to the server, but puts the first message after the first inference's request (the
/// masked image) in the place of the one after the second's. Both requests are for prepared inferences.
async fn replay(mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin) {
    let (mut inferences, mut image) = (0, Vec::new());
    let mut just_asked = false;
    let mut header = [0; FRAME_HEADER];
    while from.read_exact(&mut header).await.is_ok() {
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let mut payload = vec![0; length];
        from.read_exact(&mut payload).await.unwrap();
        match (std::mem::take(&mut just_asked), inferences) {
            (true, 1) => image = payload.clone(),
            (true, 2) => {
                assert!(payload.len() == image.len() && payload != image);
                payload.clone_from(&image);
            }
            _ => {}
        }
        if payload == [2, 1, 0, 0, 0] {
            inferences += 1;
            just_asked = true;
        }
        to.write_all(&header).await.unwrap();
        to.write_all(&payload).await.unwrap();
    }
    let _ = to.shutdown().await;
}

/// A channel to a server behind a relay that replays.
fn through_replay(runtime: &tokio::runtime::Runtime) -> [Channel; 2] {
    let config = TransportConfig { timeout: TEST_TIMEOUT, ..TransportConfig::default() };
    let ((client, relay_in), (relay_out, server)) = (tokio::io::duplex(1 << 20), tokio::io::duplex(1 << 20));
    let (from_client, mut to_client) = tokio::io::split(relay_in);
    let (mut from_server, to_server) = tokio::io::split(relay_out);
    runtime.spawn(replay(from_client, to_server));
    runtime.spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let open = |stream: DuplexStream| Channel::over(stream, runtime.handle(), config);
    [open(server), open(client)]
}

#[test]
fn a_masked_image_replayed_in_a_later_inference_gives_garbage_and_not_its_logits() {
    let (checkpoint, runtime) = (checkpoint(), runtime());
    let engine = Engine::new(checkpoint.graph().clone(), checkpoint.weights()).unwrap();
    let [first, second] = [1, 2].map(|seed| random_image(seed, &checkpoint));
    let [server, client] = through_replay(&runtime);
    thread::scope(|scope| {
        let server = scope.spawn(|| serve_connection(server, &checkpoint, &ServerConfig::default()));
        let mut client =
            connect(client, &ClientConfig { ot: OtKind::SoftSpoken2, ..ClientConfig::default() }).unwrap();
        client.prepare(1).unwrap();
        client.prepare(1).unwrap();
        assert_eq!(client.infer(&[&first]).unwrap()[0], engine.run(&first).unwrap());
        let replayed = client.infer(&[&second]).unwrap();
        for image in [&first, &second] {
            assert_ne!(replayed[0], engine.run(image).unwrap());
        }
        client.close().unwrap();
        server.join().unwrap().unwrap();
    });
}
