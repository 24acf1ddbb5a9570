//! Earlier protocols between two parties: logits are those in the clear, and every byte, frame and round is the predicted one.

#![allow(clippy::unwrap_used, reason = "an Err is a failed test")]

mod common;

use common::baseline::{check, play, random_image, random_program};
use eqo_checkpoints::arch::{Arch, ArchOp};
use eqo_checkpoints::baseline::{
    Chooser, Code, FixedPoint, Kind, LayerCodes, Op, OperandRing, Products, Program, ProgramWeights, Steps,
    coinn, coinn_weights, fixed_point, float_layers, quantized,
};
use eqo_checkpoints::testing::{Spec, random_checkpoint};
use eqo_checkpoints::winograd::Algorithm;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Images of a network in fixed point: small numbers.
fn small_image(program: &Program, seed: u64) -> Vec<i64> {
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
        check(&network.program, &weights, &small_image(&network.program, 2));
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
    check(&program, &weights, &small_image(&program, 6));
    narrow.nodes[0].op = ArchOp::Input { shape: [3, 4, 4] };
    for style in [STYLES[0], STYLES[2]] {
        let network = fixed_point("pooled", &narrow, style).unwrap();
        let weights = network.weights(&float_layers(&narrow, &mut rng)).unwrap();
        check(&network.program, &weights, &small_image(&network.program, 7));
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
        check(&program, &weights, &small_image(&program, seed).iter().map(|x| x >> 4).collect::<Vec<_>>());
    }
}

#[test]
fn parties_of_different_programs_refuse_each_other() {
    let one = coinn(&shrunk("cifar-resnet8", 4)).0;
    let other = coinn(&shrunk("cifar-resnet8", 5)).0;
    let weights = coinn_weights(&one, &mut ChaCha8Rng::seed_from_u64(1));
    let (served, inferred) = play([&one, &other], &weights, &small_image(&other, 1));
    for error in [served.err().unwrap(), inferred.map(|_| ()).err().unwrap()] {
        assert!(error.to_string().contains("expected program coinn cifar-resnet8"), "{error}");
    }
    let (served, _) = play([&other, &other], &ProgramWeights::default(), &small_image(&other, 1));
    assert!(served.err().unwrap().to_string().contains("those of coinn cifar-resnet8"));
}

#[test]
fn random_programs_equal_the_clear_and_cost_what_was_predicted() {
    let mut run = 0;
    for seed in 0..120 {
        let (program, weights) = random_program(seed);
        let image = random_image(&program, seed);
        // Integers may outgrow what a program assumes of them.
        if program.evaluate(&weights, &image).is_ok() {
            check(&program, &weights, &image);
            run += 1;
        }
    }
    assert!(run > 60, "only {run} programs of 120 suit their images");
}

/// One layer of 1x1 kernels of weights of so many bits.
fn one_layer(shape: [usize; 3], outs: usize, bits: [u32; 2], (chooser, weight_bits): (Chooser, u8)) {
    let operand =
        if bits[0] == bits[1] { OperandRing::Same } else { OperandRing::Narrower { top_bit_zero: false } };
    let products = Products {
        input: 0,
        in_channels: shape[0],
        out_channels: outs,
        groups: 1,
        kernel: 1,
        stride: 1,
        padding: 0,
        algorithm: Algorithm::Direct,
        code: Code::twos_complement(weight_bits),
        tap_shifts: Vec::new(),
        chooser,
        operand,
    };
    let codes = (0..products.codes()).map(|index| index as i64 % 3 - 1).collect();
    let layers = vec![LayerCodes::default(), LayerCodes { codes, bias: vec![5; outs] }];
    let op = |kind, shape, bits| Op { layer: "layer".into(), kind, shape, bits };
    let ops = vec![
        op(Kind::Input, shape, bits[0]),
        op(Kind::Products(products), [outs, shape[1], shape[2]], bits[1]),
    ];
    let program = Program { name: "one layer".into(), ops };
    check(&program, &ProgramWeights { layers }, &random_image(&program, 1));
}

/// `PRODUCT_OTS` are 2^20.
#[test]
fn layers_of_several_pieces_equal_the_clear_and_cost_what_was_predicted() {
    // 16,912 elements of 62 bits are a piece.
    one_layer([1, 16_912, 1], 2, [62, 62], (Chooser::Activations, 2));
    one_layer([1, 33_825, 1], 1, [62, 62], (Chooser::Activations, 2));
    // 65,536 pairs of 16 bits are a piece.
    one_layer([257, 1, 1], 256, [17, 17], (Chooser::Weights, 16));
    // So are 2^20 wraps.
    one_layer([1, (1 << 20) + 1, 1], 1, [2, 3], (Chooser::Activations, 2));
}
