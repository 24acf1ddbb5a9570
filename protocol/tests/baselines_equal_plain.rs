//! Earlier protocols between two parties: logits are those in the clear, and every byte, frame and round is the predicted one.

#![allow(clippy::unwrap_used, reason = "an Err is a failed test")]

use std::time::Duration;

use eqo_checkpoints::arch::{Arch, ArchOp};
use eqo_checkpoints::baseline::{
    FixedPoint, Program, ProgramWeights, Steps, coinn, coinn_weights, fixed_point, float_layers, quantized,
};
use eqo_checkpoints::testing::{Spec, random_checkpoint};
use eqo_checkpoints::winograd::Algorithm;
use eqo_protocol::Error;
use eqo_protocol::baseline::{infer, serve};
use eqo_protocol::report::Report;
use eqo_protocol::transport::{TransportConfig, memory_pair};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::runtime::Builder;

type Outcome = (Result<Report, Error>, Result<(Vec<i64>, Report), Error>);

/// Both parties, each with its own program.
fn play([server, client]: [&Program; 2], weights: &ProgramWeights, image: &[i64]) -> Outcome {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let config = TransportConfig { timeout: Duration::from_secs(20), ..TransportConfig::default() };
    let (to_client, to_server) = memory_pair(1 << 20, runtime.handle(), config);
    std::thread::scope(|scope| {
        let serving = scope.spawn(|| serve(to_client, server, weights));
        let inferred = scope.spawn(|| infer(to_server, client, image, &mut |_| {}));
        (serving.join().unwrap(), inferred.join().unwrap())
    })
}

fn check(program: &Program, weights: &ProgramWeights, image: &[i64]) {
    let (served, inferred) = play([program, program], weights, image);
    let (server, (logits, client)) = (served.unwrap(), inferred.unwrap());
    assert_eq!(logits, program.evaluate(weights, image).unwrap(), "{}", program.name);
    for (own, other) in client.rows.iter().zip(&server.rows) {
        for (own, other) in [(own.offline, other.offline), (own.online, other.online)] {
            let measured = [own.bytes_sent, own.bytes_received, own.frames, own.rounds];
            let Predicted(predicted) = own.predicted.into();
            assert_eq!(measured, predicted, "{}, {}", program.name, client.rows.len());
            assert_eq!([own.bytes_sent, own.bytes_received], [other.bytes_received, other.bytes_sent]);
        }
    }
}

/// As the client sees it: bytes sent, bytes received, frames, rounds.
struct Predicted([u64; 4]);

impl From<eqo_checkpoints::cost::Flow> for Predicted {
    fn from(flow: eqo_checkpoints::cost::Flow) -> Self {
        Self([flow.to_server, flow.to_client, flow.frames, flow.rounds])
    }
}

fn random_image(program: &Program, seed: u64) -> Vec<i64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..program.len(0)).map(|_| rng.random_range(-3000..3000)).collect()
}

/// An architecture on small images.
fn shrunk(name: &str, side: usize) -> Arch {
    let mut arch = Arch::by_name(name, 4).unwrap();
    arch.nodes[0].op = ArchOp::Input { shape: [3, side, side] };
    arch
}

const STYLES: [FixedPoint; 4] = [
    FixedPoint::Uniform { bits: 37, algorithm: Algorithm::Direct },
    FixedPoint::Uniform { bits: 41, algorithm: Algorithm::F2x2 },
    FixedPoint::Mixed { algorithm: Algorithm::Direct },
    FixedPoint::Mixed { algorithm: Algorithm::F2x2 },
];

#[test]
fn fixed_point_networks_equal_the_clear_and_cost_what_was_predicted() {
    let arch = shrunk("cifar-resnet8", 6);
    let layers = float_layers(&arch, &mut ChaCha8Rng::seed_from_u64(1));
    for style in STYLES {
        let network = fixed_point("fixed", &arch, style).unwrap();
        let weights = network.weights(&layers).unwrap();
        check(&network.program, &weights, &random_image(&network.program, 2));
    }
}

#[test]
fn pooled_and_clustered_networks_equal_the_clear_and_cost_what_was_predicted() {
    // Two max poolings; the linear layer flattens a map.
    let arch = Arch::by_name("minionn", 3).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut narrow = arch.clone();
    narrow.nodes.truncate(4);
    let (program, _) = coinn(&shrunk("cifar-resnet8-b", 4));
    let weights = coinn_weights(&program, &mut rng);
    check(&program, &weights, &random_image(&program, 6));
    narrow.nodes[0].op = ArchOp::Input { shape: [3, 4, 4] };
    for style in [STYLES[0], STYLES[2]] {
        let network = fixed_point("pooled", &narrow, style).unwrap();
        let weights = network.weights(&float_layers(&narrow, &mut rng)).unwrap();
        check(&network.program, &weights, &random_image(&network.program, 7));
    }
}

#[test]
fn quantized_networks_equal_the_clear_and_cost_what_was_predicted_at_every_step() {
    for seed in 0..8 {
        let steps =
            Steps { fused: seed & 1 == 1, known_msb: seed & 2 == 2, simplified_residual: seed & 4 == 4 };
        let spec = Spec { image: [3, 5, 6], ..Spec::every_kind() };
        let spec = if seed < 4 { spec.with_mid_rise() } else { spec };
        let checkpoint = random_checkpoint(seed, &spec);
        let Ok((program, weights)) = quantized("quantized", checkpoint.graph(), checkpoint.weights(), steps)
        else {
            continue;
        };
        check(&program, &weights, &random_image(&program, seed).iter().map(|x| x >> 4).collect::<Vec<_>>());
    }
}

#[test]
fn parties_of_different_programs_refuse_each_other() {
    let one = coinn(&shrunk("cifar-resnet8", 4)).0;
    let other = coinn(&shrunk("cifar-resnet8", 5)).0;
    let weights = coinn_weights(&one, &mut ChaCha8Rng::seed_from_u64(1));
    let (served, inferred) = play([&one, &other], &weights, &random_image(&other, 1));
    for error in [served.err().unwrap(), inferred.map(|_| ()).err().unwrap()] {
        assert!(error.to_string().contains("expected program coinn cifar-resnet8"), "{error}");
    }
    let (served, _) = play([&other, &other], &ProgramWeights::default(), &random_image(&other, 1));
    assert!(served.err().unwrap().to_string().contains("those of coinn cifar-resnet8"));
}
