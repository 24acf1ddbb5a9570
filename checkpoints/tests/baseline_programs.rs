//! Programs in the clear: a quantized network is the engine's at every step of the ablation, fixed point is close to floats.

#![allow(clippy::unwrap_used, reason = "an Err is a failed test")]

use std::collections::BTreeMap;

use eqo_checkpoints::arch::{Arch, ArchNode, ArchOp};
use eqo_checkpoints::baseline::{
    FixedPoint, FloatLayer, Kind, Steps, coinn, coinn_weights, fixed_point, float_layers, quantized,
};
use eqo_checkpoints::graph::Op;
use eqo_checkpoints::testing::{Spec, random_checkpoint, random_image};
use eqo_checkpoints::winograd::Algorithm;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const STYLES: [FixedPoint; 4] = [
    FixedPoint::Uniform { bits: 37, algorithm: Algorithm::Direct },
    FixedPoint::Uniform { bits: 41, algorithm: Algorithm::F2x2 },
    FixedPoint::Mixed { algorithm: Algorithm::Direct },
    FixedPoint::Mixed { algorithm: Algorithm::F2x2 },
];

fn steps() -> impl Iterator<Item = Steps> {
    (0..8).map(|bits| Steps {
        fused: bits & 1 == 1,
        known_msb: bits & 2 == 2,
        simplified_residual: bits & 4 == 4,
    })
}

#[test]
fn quantized_programs_give_the_engines_logits_at_every_step() {
    let mut compared = 0;
    for seed in 0..24 {
        let spec = if seed < 4 { Spec::every_kind() } else { Spec::random(seed) };
        let checkpoint = random_checkpoint(seed, &spec);
        let Op::Input(input) = &checkpoint.graph().nodes()[0].op else { unreachable!("inputs come first") };
        let pixels = random_image(seed, &checkpoint);
        let plane = input.height * input.width;
        let image: Vec<i64> = pixels
            .iter()
            .enumerate()
            .map(|(at, &pixel)| i64::from(pixel) - i64::from(input.offsets[at / plane]))
            .collect();
        let logits = checkpoint.engine().run(&pixels).unwrap();
        for steps in steps() {
            // Channels of very different shifts may need more than a ring has.
            let Ok((program, weights)) = quantized("eqo", checkpoint.graph(), checkpoint.weights(), steps)
            else {
                continue;
            };
            assert_eq!(program.evaluate(&weights, &image).unwrap(), logits, "seed {seed}, {steps:?}");
            compared += 1;
        }
    }
    assert!(compared > 100, "only {compared} programs fit their rings");
}

/// A small network with a residual, a pooling and a map of 5x5 pixels, whose average is no power of two.
fn small() -> Arch {
    let mut arch = Arch::by_name("cifar-resnet8", 4).unwrap();
    arch.nodes[0].op = ArchOp::Input { shape: [3, 20, 20] };
    arch
}

/// What the network computes in floats.
fn float_logits(arch: &Arch, layers: &BTreeMap<String, FloatLayer>, image: &[f64]) -> Vec<f64> {
    let shapes = arch.shapes();
    let mut tensors: Vec<Vec<f64>> = Vec::new();
    for (id, ArchNode { name, op }) in arch.nodes.iter().enumerate() {
        let [_, rows, cols] = shapes[id];
        tensors.push(match op {
            ArchOp::Input { .. } => image.to_vec(),
            ArchOp::GlobalAvgPool { input } => {
                let area = shapes[*input][1] * shapes[*input][2];
                tensors[*input].chunks(area).map(|plane| plane.iter().sum::<f64>() / area as f64).collect()
            }
            ArchOp::MaxPool { .. } => unreachable!("this network has none"),
            ArchOp::Conv(_) | ArchOp::Linear { .. } => {
                let conv = op.as_conv().unwrap();
                let ([channels, height, width], layer) = (shapes[conv.input], &layers[name]);
                let mut out = Vec::new();
                for o in 0..conv.out_channels {
                    for (y, x) in (0..rows).flat_map(|y| (0..cols).map(move |x| (y, x))) {
                        let mut sum = f64::from(layer.bias[o]);
                        for c in 0..channels {
                            for (i, j) in (0..conv.kernel).flat_map(|i| (0..conv.kernel).map(move |j| (i, j)))
                            {
                                let at = |place: usize, offset: usize, size: usize| {
                                    (place * conv.stride + offset)
                                        .checked_sub(conv.padding)
                                        .filter(|&at| at < size)
                                };
                                if let Some((y, x)) = at(y, i, height).zip(at(x, j, width)) {
                                    let weight = ((o * channels + c) * conv.kernel + i) * conv.kernel + j;
                                    let pixel = tensors[conv.input][(c * height + y) * width + x];
                                    sum += f64::from(layer.weights[weight]) * pixel;
                                }
                            }
                        }
                        if let Some(shortcut) = &conv.shortcut
                            && let Some(c) = o.checked_sub(shortcut.channel_offset)
                            && c < shapes[shortcut.input][0]
                        {
                            let [_, height, width] = shapes[shortcut.input];
                            let (y, x) = (y * shortcut.stride, x * shortcut.stride);
                            sum += tensors[shortcut.input][(c * height + y) * width + x];
                        }
                        out.push(if conv.relu { sum.max(0.0) } else { sum });
                    }
                }
                out
            }
        });
    }
    tensors.pop().unwrap()
}

#[test]
fn fixed_point_is_the_float_network_up_to_rounding() {
    let arch = small();
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let layers = float_layers(&arch, &mut rng);
    let image: Vec<f64> = (0..1200).map(|i| f64::from(i * 37 % 101) / 50.0 - 1.0).collect();
    let want = float_logits(&arch, &layers, &image);
    for style in STYLES {
        let network = fixed_point("fixed", &arch, style).unwrap();
        let scale = f64::from(1 << network.image_fraction());
        let integers: Vec<i64> = image.iter().map(|pixel| (pixel * scale).round() as i64).collect();
        let weights = network.weights(&layers).unwrap();
        let found = network.program.evaluate(&weights, &integers).unwrap();
        let exponent = network.logit_fraction();
        for (found, want) in found.iter().zip(&want) {
            let found = *found as f64 / (1_u64 << exponent) as f64;
            assert!((found - want).abs() < 0.03, "{style:?}: {found} for {want}");
        }
    }
}

#[test]
fn coinn_has_the_published_bins_and_bits_of_resnet32() {
    let (program, published) = coinn(&Arch::by_name("cifar-resnet32", 100).unwrap());
    assert!(published);
    let clustered = program.ops.iter().filter(|op| matches!(&op.kind, Kind::Products(p) if !p.code.signed));
    // 26 clustered and 8 plain layers are published; one of each is a projection, which option A has not.
    assert_eq!(clustered.count(), 25);
    let weights = coinn_weights(&program, &mut ChaCha8Rng::seed_from_u64(1));
    for (id, (op, layer)) in program.ops.iter().zip(&weights.layers).enumerate() {
        let Kind::Products(products) = &op.kind else { continue };
        if products.code.signed {
            continue;
        }
        let channels = program.ops.iter().find_map(|next| match &next.kind {
            Kind::Products(centres) if centres.input == id => Some(centres.groups),
            _ => None,
        });
        // A weight is in one bin at most; those in none are in the last, which has no row.
        let (rows, ins) = (products.out_channels / channels.unwrap(), products.in_channels);
        for channel in layer.codes.chunks_exact(rows * ins) {
            for input in 0..ins {
                assert!((0..rows).map(|row| channel[row * ins + input]).sum::<i64>() <= 1, "{}", op.layer);
            }
        }
        let chosen = layer.codes.iter().sum::<i64>() as f64 / (layer.codes.len() / rows) as f64;
        assert!((chosen - rows as f64 / (rows + 1) as f64).abs() < 0.1, "{}: {chosen}", op.layer);
    }
    let (_, published) = coinn(&Arch::by_name("cifar-resnet20", 10).unwrap());
    assert!(!published);
}
