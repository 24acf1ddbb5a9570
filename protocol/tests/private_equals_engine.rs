//! Whole networks: private logits are the engine's, and every byte, frame and round is the predicted one.

#![allow(clippy::unwrap_used, reason = "an Err is a failed test")]

use std::thread;
use std::time::Duration;

use eqo_checkpoints::Checkpoint;
use eqo_checkpoints::arch::Arch;
use eqo_checkpoints::cost::{Answer, Forecast, OtKind, Profile};
use eqo_checkpoints::engine::Engine;
use eqo_checkpoints::graph::{Op, Output};
use eqo_checkpoints::plan::BitPlan;
use eqo_checkpoints::testing::{Spec, random_arch, random_checkpoint, random_image};
use eqo_protocol::Error;
use eqo_protocol::report::{Phase, Report, scopes};
use eqo_protocol::session::client::{ClientConfig, connect};
use eqo_protocol::session::server::{ServerConfig, serve_connection};
use eqo_protocol::testing::seeded;
use eqo_protocol::transport::{TransportConfig, memory_pair};
use rand::RngExt;

struct Session {
    logits: Vec<Vec<Vec<i64>>>,
    client: Report,
    server: Report,
}

/// Runs one session with an inference for each batch of images.
fn run(checkpoint: &Checkpoint, kind: OtKind, batches: &[Vec<Vec<u8>>]) -> Session {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let config = TransportConfig { timeout: Duration::from_secs(20), ..TransportConfig::default() };
    let (server, client) = memory_pair(1 << 20, runtime.handle(), config);
    thread::scope(|scope| {
        let server = scope.spawn(|| serve_connection(server, checkpoint, &ServerConfig::default()));
        let run_client = || -> Result<_, Error> {
            let mut client = connect(client, &ClientConfig { ot: kind, ..ClientConfig::default() })?;
            assert_eq!(client.graph(), checkpoint.graph());
            let mut logits = Vec::new();
            for batch in batches {
                logits.push(client.infer(batch)?);
            }
            Ok((logits, client.close()?))
        };
        let client = run_client();
        let server = server.join().unwrap();
        match (client, server) {
            (Ok((logits, client)), Ok(server)) => Session { logits, client, server },
            (client, server) => panic!("client: {:?}; server: {:?}", client.err(), server.err()),
        }
    })
}

fn images(checkpoint: &Checkpoint, count: usize) -> Vec<Vec<u8>> {
    (0..count as u64).map(|seed| random_image(seed, checkpoint)).collect()
}

fn check(checkpoint: &Checkpoint, kind: OtKind, batches: &[usize]) {
    let batches: Vec<_> = batches.iter().map(|&size| images(checkpoint, size)).collect();
    let session = run(checkpoint, kind, &batches);
    let engine = Engine::new(checkpoint.graph().clone(), checkpoint.weights()).unwrap();
    for (batch, logits) in batches.iter().zip(&session.logits) {
        for (image, logits) in batch.iter().zip(logits) {
            assert_eq!(logits, &engine.run(image).unwrap());
        }
    }
    check_costs(checkpoint, kind, &batches, &session);
}

fn check_costs(checkpoint: &Checkpoint, kind: OtKind, batches: &[Vec<Vec<u8>>], session: &Session) {
    let mut forecast = Forecast::new(checkpoint.graph(), &Profile { ot: kind });
    batches.iter().for_each(|batch| forecast.infer(batch.len(), Answer::Logits));
    forecast.close();
    assert_eq!(session.client.rows.len(), scopes(checkpoint.graph()).count());
    let costs = forecast.costs();
    let predicted = session.client.offline().predicted + session.client.online().predicted;
    assert_eq!(predicted, costs.total(), "the report foretells the same session");
    check_rows(session);
}

/// Every byte, frame and round is the predicted one, and both parties saw the same.
fn check_rows(session: &Session) {
    for (client, server) in session.client.rows.iter().zip(&session.server.rows) {
        let name = &client.name;
        let phases = [(&client.offline, &server.offline), (&client.online, &server.online)];
        for (client, server) in phases {
            let Phase { bytes_sent, bytes_received, frames, rounds, predicted, .. } = *client;
            assert_eq!(bytes_sent, predicted.to_server, "{name} to server");
            assert_eq!(bytes_received, predicted.to_client, "{name} to client");
            assert_eq!(frames, predicted.frames, "{name} frames");
            assert_eq!(rounds, predicted.rounds, "{name} rounds");
            assert_eq!([server.bytes_received, server.bytes_sent], [bytes_sent, bytes_received], "{name}");
        }
    }
    assert_eq!(session.client.rounds(), session.server.rounds());
}

#[test]
fn every_kind_of_node_with_every_kind_of_ot_and_several_batches() {
    let checkpoint = random_checkpoint(1, &Spec::every_kind());
    let batches = [vec![1], vec![3, 1], vec![1, 2, 5], vec![2], vec![2, 1]];
    for (kind, batches) in OtKind::ALL.into_iter().zip(batches) {
        check(&checkpoint, kind, &batches);
    }
}

#[test]
fn random_networks_equal_the_engine_bit_for_bit_and_cost_what_was_predicted() {
    for seed in 0..24 {
        let checkpoint = random_checkpoint(seed, &Spec::random(seed));
        check(&checkpoint, OtKind::SoftSpoken4, &[1 + seed as usize % 3]);
    }
}

/// Any sound ring does, not just the smallest: channels of one layer from the proven width to 62 bits.
#[test]
fn networks_with_rings_wider_than_proven_equal_the_engine() {
    for seed in 0..6 {
        let proven = random_checkpoint(seed, &Spec::every_kind());
        let mut rng = seeded(seed);
        let mut graph = proven.graph().graph().clone();
        for node in &mut graph.nodes {
            let Op::Conv(conv) = &mut node.op else { continue };
            // What a shortcut reads as an accumulator must not be narrower than its reader.
            let lowest = |ring| if conv.output == Output::Accumulator { 62 } else { ring };
            conv.ring_bits.iter_mut().for_each(|ring| *ring = rng.random_range(lowest(*ring)..=62));
        }
        let metadata = proven.metadata().clone();
        let wide = Checkpoint::new(graph.check().unwrap(), proven.weights().clone(), metadata).unwrap();
        check(&wide, OtKind::SoftSpoken2, &[2]);
    }
}

#[test]
fn report_names_every_scope_once_in_protocol_order() {
    let checkpoint = random_checkpoint(2, &Spec::every_kind());
    let session = run(&checkpoint, OtKind::SoftSpoken2, &[images(&checkpoint, 1)]);
    let names: Vec<&str> = session.client.rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(&names[..5], ["handshake", "base-ot", "ot-extension", "request", "input"]);
    assert_eq!(names.last(), Some(&"result"));
    assert_eq!(names.len(), checkpoint.graph().nodes().len() + 5);
    let ops: Vec<&str> = session.client.rows.iter().map(|row| row.op).collect();
    for op in ["winograd", "direct", "linear", "sum_pool", "input"] {
        assert!(ops.contains(&op), "{op} in {ops:?}");
    }
    let online = |name: &str| session.client.rows.iter().find(|row| row.name == name).unwrap().online.bytes();
    assert!(online("input") > 0 && online("ot-extension") == 0 && online("base-ot") == 0);
}

/// Seconds long, so not part of every run: `cargo test --release -p eqo-protocol --test private_equals_engine -- --ignored --nocapture`.
#[test]
#[ignore = "takes several seconds"]
fn resnet20_of_random_weights_equals_the_engine() {
    let arch = Arch::by_name("cifar-resnet20", 10).unwrap();
    let checkpoint = random_arch(1, &arch, &BitPlan::uniform(&arch, 4, 6));
    let kind = OtKind::SoftSpoken4;
    for batch in [1, 4] {
        let images = images(&checkpoint, batch);
        let session = run(&checkpoint, kind, std::slice::from_ref(&images));
        let engine = Engine::new(checkpoint.graph().clone(), checkpoint.weights()).unwrap();
        for (image, logits) in images.iter().zip(&session.logits[0]) {
            assert_eq!(logits, &engine.run(image).unwrap());
        }
        check_costs(&checkpoint, kind, &[images], &session);
        for row in &session.client.rows {
            for (phase, what) in [(&row.offline, "offline"), (&row.online, "online")] {
                let (bytes, rounds, seconds) = (phase.bytes(), phase.rounds, phase.seconds);
                println!("{:<20} {what:<8} {bytes:>12} B {rounds:>4} rounds {seconds:>7.3} s", row.name);
            }
        }
        for (phase, what) in [(session.client.offline(), "offline"), (session.client.online(), "online")] {
            let (bytes, rounds, seconds) = (phase.bytes(), phase.rounds, phase.seconds);
            println!("batch {batch} {what}: {bytes} B, {rounds} rounds, {seconds:.2} s");
        }
    }
}
