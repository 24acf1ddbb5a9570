//! Fake quantization equals the integer engine: every tensor of whole networks, before and after training steps.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::sync::atomic::AtomicBool;

use burn::tensor::{Device, Tensor};
use eqo_checkpoints::arch::{Arch, ArchNode, ArchOp, Conv, Shortcut};
use eqo_checkpoints::engine::Engine;
use eqo_checkpoints::plan::BitPlan;
use eqo_checkpoints::winograd::Algorithm::{F2x2, F4x4, P2x2};
use eqo_datasets::{Dataset, Normalization, synthetic};
use eqo_quant::verify::{Verified, verify};
use eqo_quant::{Error, fold, lower};
use eqo_train::fit::{FitConfig, Hooks, fit};
use eqo_train::net::Net;
use eqo_train::pixels::to_tensor;
use eqo_train::recipe::FitSection;
use eqo_train::{Classifier, QatNet};

const NORMALIZATION: Normalization = Normalization::SYNTHETIC;

/// Random weights; biases, also those before a normalization, that do something.
fn float(arch: &Arch) -> Net {
    let net = Net::random(arch, NORMALIZATION, 7, &Device::flex()).unwrap();
    let mut tensors = net.to_tensors();
    for (_, bias) in tensors.iter_mut().filter(|(name, _)| name.ends_with(".bias")) {
        bias.iter_mut().enumerate().for_each(|(at, bias)| *bias = 0.2 * (at as f32).sin());
    }
    net.with_tensors(&tensors, "random weights", &Device::flex()).unwrap()
}

fn quantized(arch: &Arch, plan: &BitPlan, images: &Dataset, device: &Device) -> QatNet {
    let float = float(arch);
    let folded = fold::fold(arch, &float.to_tensors(), &NORMALIZATION).unwrap();
    QatNet::from_folded(arch, plan, &folded, NORMALIZATION, images, device).unwrap()
}

fn engine(arch: &Arch, plan: &BitPlan, net: &QatNet, images: &Dataset) -> Engine {
    let layers = net.export().unwrap();
    let (graph, weights) = lower::lower(arch, plan, layers, &NORMALIZATION, images.classes()).unwrap();
    Engine::new(graph, &weights).unwrap()
}

fn compare(engine: &Engine, net: &QatNet, images: &Dataset) -> Result<Verified, Error> {
    let each: Vec<&[u8]> = (0..images.len()).map(|index| images.image(index)).collect();
    verify(engine, &each, &net.trace(images.pixels()).unwrap())
}

#[test]
fn fake_quantization_equals_the_integer_engine_on_every_tensor_at_every_width() {
    let images = synthetic::generate(3, 6);
    for (name, weight_bits, act_bits, tiles, mid_rise) in [
        ("cifar-resnet8", 4, 6, F2x2, false),
        ("cifar-resnet8", 4, 6, F4x4, false),
        ("cifar-resnet8", 2, 6, F2x2, false),
        ("cifar-resnet8", 2, 6, F2x2, true),
        ("cifar-resnet8", 2, 6, F4x4, true),
        ("cifar-resnet8", 2, 6, P2x2, true),
        ("cifar-resnet8-b", 3, 4, F4x4, true),
        ("cifar-resnet8-b", 4, 6, P2x2, false),
        ("cifar-resnet8-b", 8, 8, F2x2, false),
        ("cifar-resnet8-b", 8, 8, F4x4, true),
    ] {
        let arch = Arch::by_name(name, 10).unwrap();
        let mut plan = BitPlan::uniform(&arch, weight_bits, act_bits).with_tiles(&arch, tiles);
        plan.layers.values_mut().for_each(|layer| layer.mid_rise = mid_rise);
        let net = quantized(&arch, &plan, &images, &Device::flex());
        let net = if mid_rise { net.in_winograd_domain().unwrap() } else { net };
        let verified = compare(&engine(&arch, &plan, &net, &images), &net, &images)
            .unwrap_or_else(|error| panic!("{name} W{weight_bits}A{act_bits} {tiles:?} {mid_rise}: {error}"));
        assert_eq!(verified.tensors, images.len() * arch.nodes.len());
    }
}

#[test]
fn fake_quantization_equals_the_integer_engine_where_taps_have_bits_of_their_own() {
    let images = synthetic::generate(3, 6);
    let arch = Arch::by_name("cifar-resnet8", 10).unwrap();
    for (tiles, taps) in [(F2x2, 16), (F4x4, 36), (P2x2, 25)] {
        let mut plan = BitPlan::uniform(&arch, 3, 6).with_tiles(&arch, tiles);
        for (place, layer) in plan.layers.values_mut().filter(|layer| layer.algorithm == tiles).enumerate() {
            let bits: Vec<u8> = (0..taps).map(|tap| ((place + tap) * 5 % 9) as u8).collect();
            layer.weight_bits = bits.iter().copied().max().unwrap();
            (layer.tap_bits, layer.mid_rise) = (Some(bits), true);
        }
        let net = quantized(&arch, &plan, &images, &Device::flex());
        let engine = engine(&arch, &plan, &net, &images);
        let verified = compare(&engine, &net, &images).unwrap();
        assert_eq!(verified.tensors, images.len() * arch.nodes.len());
    }
}

/// A convolution `[in, out]` of `[kernel, stride, padding]` with normalization and ReLU.
fn conv(input: usize, [from, to]: [usize; 2], [kernel, stride, padding]: [usize; 3], norm: &str) -> Conv {
    Conv {
        input,
        in_channels: from,
        out_channels: to,
        kernel,
        stride,
        padding,
        bias: false,
        batch_norm: Some(norm.to_owned()),
        shortcut: None,
        relu: true,
    }
}

fn arch<const N: usize>(name: &str, nodes: [(&str, ArchOp); N]) -> Arch {
    let node = |(name, op): (&str, ArchOp)| ArchNode { name: name.to_owned(), op };
    Arch { name: name.to_owned(), nodes: nodes.into_iter().map(node).collect() }
}

/// A 7x7 stem, max pooling with padding, a bottleneck block with a projection, an average over 7x7 pixels.
fn bottleneck() -> Arch {
    let projection = Conv { relu: false, ..conv(2, [8, 16], [1, 1, 0], "proj_bn") };
    let shortcut = Some(Shortcut { input: 5, stride: 1, channel_offset: 0 });
    arch(
        "bottleneck",
        [
            ("input", ArchOp::Input { shape: [3, 32, 32] }),
            ("stem", ArchOp::Conv(conv(0, [3, 8], [7, 2, 1], "stem_bn"))),
            ("maxpool", ArchOp::MaxPool { input: 1, kernel: 3, stride: 2, padding: 1 }),
            ("narrow", ArchOp::Conv(conv(2, [8, 4], [1, 1, 0], "narrow_bn"))),
            ("inner", ArchOp::Conv(conv(3, [4, 4], [3, 1, 1], "inner_bn"))),
            ("proj", ArchOp::Conv(projection)),
            ("wide", ArchOp::Conv(Conv { shortcut, ..conv(4, [4, 16], [1, 1, 0], "wide_bn") })),
            ("pool", ArchOp::GlobalAvgPool { input: 6 }),
            ("fc", ArchOp::Linear { input: 7, in_features: 16, kernel: 1, out_features: 10, relu: false }),
        ],
    )
}

/// Biases before normalizations, a flattened 4x4 map, a linear layer with ReLU.
fn flattened() -> Arch {
    let biased =
        |input, channels, norm| ArchOp::Conv(Conv { bias: true, ..conv(input, channels, [3, 1, 1], norm) });
    arch(
        "flattened",
        [
            ("input", ArchOp::Input { shape: [3, 32, 32] }),
            ("first", biased(0, [3, 6], "first_bn")),
            ("half", ArchOp::MaxPool { input: 1, kernel: 2, stride: 2, padding: 0 }),
            ("second", biased(2, [6, 8], "second_bn")),
            ("quarter", ArchOp::MaxPool { input: 3, kernel: 4, stride: 4, padding: 0 }),
            (
                "hidden",
                ArchOp::Linear { input: 4, in_features: 128, kernel: 4, out_features: 12, relu: true },
            ),
            ("fc", ArchOp::Linear { input: 5, in_features: 12, kernel: 1, out_features: 10, relu: false }),
        ],
    )
}

#[test]
fn fake_quantization_equals_the_integer_engine_behind_poolings_flattened_maps_and_49_pixels() {
    let images = synthetic::generate(3, 6);
    for arch in [bottleneck(), flattened()] {
        for (weight_bits, act_bits, mid_rise) in [(2, 6, true), (4, 4, false), (8, 8, false)] {
            let mut plan = BitPlan::uniform(&arch, weight_bits, act_bits);
            plan.layers.values_mut().for_each(|layer| layer.mid_rise = mid_rise);
            let net = quantized(&arch, &plan, &images, &Device::flex());
            let verified = compare(&engine(&arch, &plan, &net, &images), &net, &images)
                .unwrap_or_else(|error| panic!("{} W{weight_bits}A{act_bits}: {error}", arch.name));
            assert_eq!(verified.tensors, images.len() * arch.nodes.len());
        }
    }
}

#[test]
fn eight_bits_follow_the_float_network_through_poolings_and_flattened_maps() {
    let images = synthetic::generate(3, 40);
    for arch in [bottleneck(), flattened()] {
        let plan = BitPlan::uniform(&arch, 8, 8);
        let float = float(&arch);
        let quantized = quantized(&arch, &plan, &images, &Device::flex());
        let live = quantized.with_live_normalization(&float.to_tensors()).unwrap();
        let logits = |net: &dyn Fn(Tensor<4>) -> Tensor<2>| -> Vec<f32> {
            let pixels = to_tensor(images.pixels(), [32, 32], &Device::flex());
            net(pixels).into_data_as::<f32>().iter::<f32>().collect()
        };
        let want = logits(&|pixels| float.logits(pixels));
        let largest = want.iter().fold(0.0_f32, |largest, logit| largest.max(logit.abs()));
        for net in [&quantized, &live] {
            let found = logits(&|pixels| net.logits(pixels));
            let farthest = found.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(farthest < 0.1 * largest, "{}: {farthest} of {largest}", arch.name);
        }
    }
}

#[test]
fn the_equality_survives_training_and_a_changed_weight_breaks_it() {
    let images = synthetic::generate(5, 40);
    for arch in [Arch::by_name("cifar-resnet8", 10).unwrap(), bottleneck(), flattened()] {
        let plan = BitPlan::uniform(&arch, 4, 6);
        let folded = quantized(&arch, &plan, &images, &Device::flex().autodiff());
        let float = float(&arch).to_tensors();
        for start in [folded.with_live_normalization(&float).unwrap(), folded] {
            survives_training(&start, &arch, &plan, &images);
        }
    }
}

fn survives_training(start: &QatNet, arch: &Arch, plan: &BitPlan, images: &Dataset) {
    let out = tempfile::tempdir().unwrap();
    let section = FitSection {
        steps: 3,
        batch_size: 10,
        learning_rate: 0.05,
        distill_weight: 0.0,
        ..FitSection::default()
    };
    let config = FitConfig::new(&section, &NORMALIZATION, 1, out.path().to_owned());
    let hooks = Hooks { stop: &AtomicBool::new(false), progress: &mut |_| {}, project: None };
    let trained = fit(start.clone(), None, images, None, &config, hooks).unwrap();
    let sample = images.subset(&[0, 1, 2]);
    let untrained_engine = engine(arch, plan, start, images);
    compare(&engine(arch, plan, &trained, images), &trained, &sample).unwrap();
    assert!(matches!(compare(&untrained_engine, &trained, &sample), Err(Error::Mismatch { .. })));
}

#[test]
fn a_trace_of_other_images_or_nodes_is_refused_by_name() {
    let images = synthetic::generate(3, 3);
    let arch = Arch::by_name("cifar-resnet8", 10).unwrap();
    let plan = BitPlan::uniform(&arch, 4, 6);
    let net = quantized(&arch, &plan, &images, &Device::flex());
    let engine = engine(&arch, &plan, &net, &images);
    let trace = net.trace(images.pixels()).unwrap();
    let [two, three] = [2, 3].map(|count| (0..count).map(|index| images.image(index)).collect::<Vec<_>>());
    assert_eq!(verify(&engine, &three, &trace).unwrap().images, 3);
    let longer = verify(&engine, &two, &trace).unwrap_err();
    assert!(matches!(&longer, Error::Trace { node, .. } if node == "input"), "{longer}");
    let fewer_nodes = verify(&engine, &three, &trace[..trace.len() - 1]).unwrap_err().to_string();
    assert!(fewer_nodes.contains("node tensors"), "{fewer_nodes}");
    let mut one_more = trace.clone();
    one_more.last_mut().unwrap().push(0);
    let one_more = verify(&engine, &three, &one_more).unwrap_err();
    assert!(matches!(&one_more, Error::Trace { node, .. } if node == "linear"), "{one_more}");
    let mut shorter = trace;
    shorter[4].pop();
    assert!(matches!(verify(&engine, &three, &shorter), Err(Error::Mismatch { image: 2, .. })));
}
