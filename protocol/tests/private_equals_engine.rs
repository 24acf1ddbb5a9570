//! Whole networks: private logits are the engine's, and every byte, frame and round is the predicted one.

#![allow(clippy::unwrap_used, reason = "an Err is a failed test")]

mod common;

use common::session::Ask::{Classify, Infer};
use common::session::{check, play};
use eqo_checkpoints::Checkpoint;
use eqo_checkpoints::arch::Arch;
use eqo_checkpoints::cost::OtKind;
use eqo_checkpoints::graph::{Op, Output};
use eqo_checkpoints::plan::BitPlan;
use eqo_checkpoints::testing::{Block, Spec, random_arch, random_checkpoint};
use eqo_checkpoints::winograd::Algorithm;
use eqo_protocol::testing::seeded;
use rand::RngExt;

#[test]
fn every_kind_of_node_with_every_kind_of_ot_and_several_batches() {
    let checkpoint = random_checkpoint(1, &Spec::every_kind().with_mid_rise());
    let scripts = [
        vec![Infer(1), Classify(2)],
        vec![Infer(3), Infer(1)],
        vec![Infer(1), Infer(2), Infer(5)],
        vec![Classify(2), Infer(2)],
        vec![Infer(2), Classify(1)],
    ];
    for (kind, script) in OtKind::ALL.into_iter().zip(scripts) {
        check(&checkpoint, kind, &script);
    }
}

#[test]
fn random_networks_equal_the_engine_bit_for_bit_and_cost_what_was_predicted() {
    for seed in 0..24 {
        let checkpoint = random_checkpoint(seed, &Spec::random(seed));
        let batch = 1 + seed as usize % 3;
        check(&checkpoint, OtKind::SoftSpoken4, &[Infer(batch), Classify(batch)]);
    }
}

#[test]
fn networks_of_max_poolings_equal_the_engine_bit_for_bit_and_cost_what_was_predicted() {
    for (seed, kind) in OtKind::ALL.into_iter().enumerate() {
        check(&random_checkpoint(seed as u64, &Spec::pools()), kind, &[Infer(1 + seed % 3), Classify(2)]);
    }
    // Windows larger than the map, windows of padding and one value, and no overlap at all.
    for (seed, (kernel, stride, padding)) in
        [(5, 1, 2), (2, 2, 1), (15, 8, 7), (2, 1, 1), (3, 3, 1)].into_iter().enumerate()
    {
        let pool = Block::MaxPool { kernel, stride, padding };
        let spec = Spec::new([1, 3, 5], 3, vec![pool, pool, Block::Identity]);
        check(&random_checkpoint(seed as u64, &spec), OtKind::SoftSpoken4, &[Infer(2), Classify(1)]);
    }
}

/// On sides that are no multiple of a tile's outputs.
#[test]
fn networks_of_larger_tiles_equal_the_engine_bit_for_bit_and_cost_what_was_predicted() {
    for tiles in [&[Algorithm::F4x4][..], &[Algorithm::F2x2, Algorithm::F4x4], &[Algorithm::P2x2]] {
        check(
            &random_checkpoint(3, &Spec::every_kind().with_tiles(tiles).with_mid_rise()),
            OtKind::Ferret,
            &[Infer(2), Classify(1)],
        );
        for (seed, [height, width]) in [[7, 7], [5, 9], [1, 3]].into_iter().enumerate() {
            let blocks = vec![Block::Identity, Block::OptionA];
            let spec = Spec::new([2, height, width], 4, blocks).with_tiles(tiles);
            check(&random_checkpoint(seed as u64, &spec), OtKind::SoftSpoken4, &[Infer(1), Classify(3)]);
        }
    }
}

/// Any sound ring does, not just the smallest: channels of one layer from the proven width to 62 bits.
#[test]
fn networks_with_rings_wider_than_proven_equal_the_engine() {
    for seed in 0..6 {
        let tiles = [Algorithm::F2x2, Algorithm::F4x4, Algorithm::P2x2][seed as usize % 3];
        let proven = random_checkpoint(seed, &Spec::every_kind().with_tiles(&[tiles]));
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
        check(&wide, OtKind::SoftSpoken2, &[Infer(2), Classify(1)]);
    }
}

#[test]
fn report_names_every_scope_once_in_protocol_order() {
    let checkpoint = random_checkpoint(2, &Spec::every_kind());
    let session = play(&checkpoint, OtKind::SoftSpoken2, &[Infer(1)]);
    let names: Vec<&str> = session.client.rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(&names[..5], ["handshake", "base-ot", "ot-extension", "request", "input"]);
    assert_eq!(names.last(), Some(&"result"));
    assert_eq!(names.len(), checkpoint.graph().nodes().len() + 5);
    let ops: Vec<&str> = session.client.rows.iter().map(|row| row.op).collect();
    for op in ["winograd", "direct", "linear", "max_pool", "sum_pool", "input"] {
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
    for batch in [1, 4] {
        let session = check(&checkpoint, OtKind::SoftSpoken4, &[Infer(batch)]);
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
