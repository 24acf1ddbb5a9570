//! Prepared inferences, batches and answers in any order: every answer is the engine's, every byte the predicted one, and
//! both parties' stocks agree after every request ([`common::session::check`] asserts all of it).

#![allow(clippy::unwrap_used, reason = "an Err is a failed test")]

mod common;

use std::thread;

use common::session::Ask::{self, Classify, Infer, Prepare};
use common::session::{check, images};
use eqo_checkpoints::Checkpoint;
use eqo_checkpoints::cost::OtKind;
use eqo_checkpoints::engine::Engine;
use eqo_checkpoints::graph::Op;
use eqo_checkpoints::testing::{Block, Spec, random_checkpoint};
use eqo_protocol::Error;
use eqo_protocol::session::client::{ClientConfig, connect};
use eqo_protocol::session::server::{ServerConfig, serve_connection};
use eqo_protocol::testing::seeded;
use eqo_protocol::transport::{TransportConfig, memory_pair};
use rand::RngExt;

fn small(seed: u64, classes: usize) -> Checkpoint {
    random_checkpoint(seed, &Spec::new([2, 6, 5], classes, vec![Block::OptionA]))
}

#[test]
fn prepared_inferences_are_drawn_down_one_by_one_and_then_made_on_the_spot() {
    let script =
        [Prepare(1), Prepare(1), Prepare(1), Infer(1), Classify(1), Infer(1), Infer(1), Prepare(1), Infer(1)];
    let played = check(&small(1, 3), OtKind::SoftSpoken4, &script);
    assert_eq!(played.stocks, [1, 2, 3, 2, 1, 0, 0, 1, 0]);
}

#[test]
fn another_batch_size_than_prepared_is_made_on_the_spot_and_leaves_the_stock_alone() {
    let script = [Prepare(2), Prepare(3), Infer(1), Classify(3), Infer(3), Infer(2), Classify(2)];
    let played = check(&small(2, 4), OtKind::SoftSpoken2, &script);
    assert_eq!(played.stocks, [2, 5, 5, 2, 2, 0, 0]);
}

#[test]
fn nothing_but_the_request_and_the_nodes_wait_for_the_image_of_a_prepared_inference() {
    let checkpoint = small(3, 4);
    let prepared = check(&checkpoint, OtKind::SoftSpoken4, &[Prepare(1), Infer(1)]);
    let at_once = check(&checkpoint, OtKind::SoftSpoken4, &[Infer(1)]);
    for (prepared, at_once) in prepared.client.rows.iter().zip(&at_once.client.rows) {
        assert_eq!(prepared.offline.bytes(), at_once.offline.bytes(), "{}", prepared.name);
        let more = if prepared.name == "request" { 13 } else { 0 };
        assert_eq!(prepared.online.bytes(), at_once.online.bytes() + more, "{}", prepared.name);
    }
}

#[test]
fn random_scripts_on_random_networks_equal_the_engine_with_every_soft_spoken() {
    for seed in 0..12 {
        let mut rng = seeded(100 + seed);
        let script: Vec<Ask> = (0..rng.random_range(1..=7))
            .map(|_| {
                let batch = rng.random_range(1..=3);
                [Prepare(batch), Infer(batch), Classify(batch)][rng.random_range(0..3)]
            })
            .collect();
        let checkpoint = random_checkpoint(200 + seed, &Spec::random(200 + seed));
        check(&checkpoint, OtKind::ALL[seed as usize % 4], &script);
    }
}

#[test]
fn ferret_keeps_the_stock_too() {
    let script = [Prepare(1), Classify(2), Infer(1), Infer(1)];
    assert_eq!(check(&small(4, 5), OtKind::Ferret, &script).stocks, [1, 1, 0, 0]);
}

/// The last layer's classes `to` compute what class `from` does; with no `from`, all weights are zero.
fn with_ties(mut checkpoint: Checkpoint, from: Option<usize>, to: &[usize]) -> Checkpoint {
    let (mut graph, mut weights) = (checkpoint.graph().graph().clone(), checkpoint.weights().clone());
    let last = graph.nodes.last_mut().unwrap();
    let layer = weights.layers.get_mut(&last.name).unwrap();
    let Op::Conv(conv) = &mut last.op else { panic!("a network ends in a convolution") };
    let inputs = conv.in_channels;
    for &class in to {
        let Some(from) = from else {
            layer.codes.fill(0);
            layer.bias[class] = -3;
            continue;
        };
        layer.codes.copy_within(from * inputs..(from + 1) * inputs, class * inputs);
        layer.bias[class] = layer.bias[from];
        conv.tap_shifts.iter_mut().for_each(|shifts| shifts[class] = shifts[from]);
        conv.ring_bits[class] = conv.ring_bits[from];
    }
    let metadata = checkpoint.metadata().clone();
    checkpoint = Checkpoint::new(graph.check().unwrap(), weights, metadata).unwrap();
    checkpoint
}

#[test]
fn the_class_of_equal_logits_is_the_first_as_in_the_engine_with_every_soft_spoken() {
    let mut ties = 0;
    for seed in 0..8 {
        let (plain, classes) = (small(10 + seed, 2 + seed as usize), 2 + seed as usize);
        let all: Vec<usize> = (0..classes).collect();
        let tied = if seed % 2 == 0 {
            with_ties(plain, None, &all)
        } else {
            // The class that wins for the first image, also at the first and the last place.
            let engine = Engine::new(plain.graph().clone(), plain.weights()).unwrap();
            let winner = eqo_checkpoints::engine::class_of(&engine.run(&images(&plain, 1)[0]).unwrap());
            with_ties(plain, Some(winner), &[0, classes - 1])
        };
        let engine = Engine::new(tied.graph().clone(), tied.weights()).unwrap();
        for image in images(&tied, 3) {
            let logits = engine.run(&image).unwrap();
            let largest = logits.iter().max().unwrap();
            ties += usize::from(logits.iter().filter(|logit| *logit == largest).count() > 1);
        }
        check(&tied, OtKind::ALL[seed as usize % 4], &[Classify(3), Classify(1)]);
    }
    assert!(ties >= 12, "only {ties} of 24 images have ties");
}

#[test]
fn more_prepared_images_than_the_server_allows_are_refused_by_the_client_and_the_session_goes_on() {
    let checkpoint = small(5, 3);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (server, client) = memory_pair(1 << 20, runtime.handle(), TransportConfig::default());
    let config = ServerConfig { max_batch: 2, max_prepared: 3, ..ServerConfig::default() };
    thread::scope(|scope| {
        let server = scope.spawn(|| serve_connection(server, &checkpoint, &config));
        let mut client = connect(client, &ClientConfig::default()).unwrap();
        client.prepare(2).unwrap();
        for batch in [0, 3] {
            assert!(matches!(client.prepare(batch), Err(Error::Config { what: "batch", .. })));
        }
        let refused = client.prepare(2).unwrap_err();
        assert!(matches!(&refused, Error::Config { what: "prepared images", .. }), "{refused}");
        client.prepare(1).unwrap();
        assert!(matches!(client.prepare(1), Err(Error::Config { what: "prepared images", .. })));
        client.infer(&images(&checkpoint, 2)).unwrap();
        client.prepare(1).unwrap();
        client.prepare(1).unwrap();
        // Nothing is prepared for two, and three ones leave no room to do it on the spot.
        let refused = client.infer(&images(&checkpoint, 2)).unwrap_err();
        assert!(matches!(&refused, Error::Config { what: "prepared images", .. }), "{refused}");
        // Using one up makes room.
        client.infer(&images(&checkpoint, 1)).unwrap();
        client.prepare(1).unwrap();
        assert_eq!([1, 2].map(|batch| client.prepared(batch)), [3, 0]);
        client.close().unwrap();
        assert!(server.join().unwrap().is_ok());
    });
}
