//! Rings that a plan asks for are had, from before the first training step to the engine that is exported.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use eqo_checkpoints::arch::Arch;
use eqo_checkpoints::engine::Engine;
use eqo_checkpoints::graph::{CheckedGraph, Conv, Op};
use eqo_checkpoints::plan::BitPlan;
use eqo_checkpoints::weights::Weights;
use eqo_checkpoints::winograd::Algorithm::P2x2;
use eqo_datasets::{Dataset, Normalization, synthetic};
use eqo_quant::rings::Rings;
use eqo_quant::verify::verify;
use eqo_quant::{Error, fold, lower};
use eqo_train::fit::{FitConfig, Hooks, Project, fit};
use eqo_train::net::Net;
use eqo_train::recipe::FitSection;
use eqo_train::tensors::NamedTensors;
use eqo_train::{Classifier, QatNet};

const NORMALIZATION: Normalization = Normalization::SYNTHETIC;

struct Case {
    arch: Arch,
    plan: BitPlan,
    images: Dataset,
    float: NamedTensors,
}

impl Case {
    /// A network of `weight_bits` whose inner layers may have accumulators of `ring` bits.
    fn new(name: &str, (weight_bits, mid_rise): (u8, bool), ring: u8) -> Self {
        let arch = Arch::by_name(name, 10).unwrap();
        let mut plan = BitPlan::uniform(&arch, weight_bits, 6).with_tiles(&arch, P2x2);
        for layer in plan.layers.values_mut().filter(|layer| layer.weight_bits == weight_bits) {
            (layer.ring_bits, layer.mid_rise) = (Some(ring), mid_rise);
        }
        let float = Net::random(&arch, NORMALIZATION, 7, &Device::flex()).unwrap().to_tensors();
        Self { arch, plan, images: synthetic::generate(3, 20), float }
    }

    fn net(&self) -> QatNet {
        let folded = fold::fold(&self.arch, &self.float, &NORMALIZATION).unwrap();
        let device = Device::flex();
        QatNet::from_folded(&self.arch, &self.plan, &folded, NORMALIZATION, &self.images, &device).unwrap()
    }

    fn rings(&self) -> Rings<'_> {
        let classes = self.images.classes();
        Rings { arch: &self.arch, plan: &self.plan, normalization: NORMALIZATION, classes }
    }

    fn lowered(&self, net: &QatNet) -> (CheckedGraph, Weights) {
        let layers = net.export().unwrap();
        lower::lower(&self.arch, &self.plan, layers, &NORMALIZATION, self.images.classes()).unwrap()
    }

    /// The widest ring of the layers that have a limit.
    fn widest(&self, net: &QatNet) -> u8 {
        let (graph, _) = self.lowered(net);
        let rings = graph.nodes().iter().filter_map(|node| match &node.op {
            Op::Conv(conv) if self.plan.layers[&node.name].ring_bits.is_some() => {
                conv.ring_bits.iter().copied().max()
            }
            _ => None,
        });
        rings.max().unwrap()
    }

    fn check_equal_to_the_engine(&self, net: &QatNet) {
        let (graph, weights) = self.lowered(net);
        let images: Vec<&[u8]> = (0..4).map(|index| self.images.image(index)).collect();
        let engine = Engine::new(graph, &weights).unwrap();
        verify(&engine, &images, &net.trace(&images.concat()).unwrap()).unwrap();
    }
}

/// Channels are at most 16 times smaller and 12 bits coarser than before.
fn assert_near(kept: &QatNet, net: &QatNet) {
    let (kept, net) = (kept.to_tensors(), net.to_tensors());
    for (name, before) in &net {
        for (after, before) in kept[name].iter().zip(before) {
            let near = match name.rsplit('.').next() {
                Some("log2_step") => (before - 1.0..before + 13.0).contains(after),
                _ => after.abs() * 16.1 >= before.abs() && after.abs() <= before.abs() * 1.001,
            };
            assert!(near, "{name}: {before} became {after}");
        }
    }
}

#[test]
fn every_ring_that_is_asked_for_is_had_nearby_and_the_engine_still_equal() {
    for (name, bits, domain) in [
        ("cifar-resnet8", (4, false), "folded"),
        ("cifar-resnet8", (2, true), "taps"),
        ("cifar-resnet8-b", (4, false), "live"),
        ("cifar-resnet8-b", (3, true), "folded"),
    ] {
        let free = Case::new(name, bits, 40);
        let widest = free.widest(&free.net());
        // Mid-rise weights of few bits can't be small.
        for narrower in [0, 1, if bits.1 { 1 } else { 3 }] {
            let case = Case::new(name, bits, widest - narrower);
            let net = match domain {
                "live" => case.net().with_live_normalization(&case.float).unwrap(),
                "taps" => case.net().in_winograd_domain().unwrap(),
                _ => case.net(),
            };
            let kept = case.rings().within(&net);
            let kept =
                kept.unwrap_or_else(|error| panic!("{name} {bits:?} {domain} {widest} {narrower}: {error}"));
            assert!(case.widest(&kept) <= widest - narrower, "{name} {bits:?} {narrower}");
            assert_eq!(kept.to_tensors() == net.to_tensors(), narrower == 0, "nothing changes in vain");
            assert_near(&kept, &net);
            case.check_equal_to_the_engine(&kept);
        }
    }
}

#[test]
fn any_ring_is_had_nearby_or_refused_as_such() {
    for (name, bits) in [("cifar-resnet8", (2, true)), ("cifar-resnet8-b", (4, false))] {
        let mut refused = 0;
        for ring in [14, 12, 11, 10, 9] {
            let case = Case::new(name, bits, ring);
            let net = case.net();
            match case.rings().within(&net) {
                Ok(kept) => {
                    assert!(case.widest(&kept) <= ring);
                    assert_near(&kept, &net);
                }
                Err(error) => {
                    assert!(matches!(&error, Error::Lowering { what: "ring", .. }), "{error}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 0, "{name}: these are narrow");
    }
}

/// An accumulator that another layer adds has as wide a ring as that one needs of it. It only becomes coarser where that one, made as
/// narrow as is asked, would have steps coarser than what it adds.
#[test]
fn what_is_added_becomes_no_coarser_than_its_reader_needs() {
    let case = Case::new("cifar-resnet8-b", (4, false), 15);
    let net = case.net();
    let kept = case.rings().within(&net).unwrap();
    let (graph, _) = case.lowered(&net);
    let step = |net: &QatNet, source: &str| net.to_tensors()[&format!("{source}.log2_step")].mapv(f32::round);
    let mut untouched = 0;
    for (reader, source) in
        [("layer2.0.conv2", "layer2.0.shortcut.0"), ("layer3.0.conv2", "layer3.0.shortcut.0")]
    {
        let op = &graph.nodes().iter().find(|node| node.name == reader).unwrap().op;
        let Op::Conv(Conv { ring_bits, shortcut: Some(shortcut), .. }) = op else { panic!("{reader} adds") };
        let coarser = step(&kept, source) - step(&net, source);
        for (channel, &coarser) in coarser.iter().enumerate() {
            let room = i32::from(shortcut.shifts[channel]) - (i32::from(ring_bits[channel]) - 15);
            assert!(coarser as i32 <= (-room).max(0), "{source}, channel {channel}");
            untouched += usize::from(coarser == 0.0);
        }
    }
    assert!(untouched > 0);
}

#[test]
fn training_keeps_to_the_rings() {
    let free = Case::new("cifar-resnet8", (4, false), 40);
    let case = Case::new("cifar-resnet8", (4, false), free.widest(&free.net()) - 2);
    let limit = case.plan.layers["layer1.0.conv1"].ring_bits.unwrap();
    let out = tempfile::tempdir().unwrap();
    let start = case.rings().within(&case.net()).unwrap();
    let section = FitSection {
        steps: 11,
        batch_size: 4,
        learning_rate: 0.05,
        distill_weight: 0.0,
        ..FitSection::default()
    };
    let train = |project: Option<Project<'_>>| {
        let config = FitConfig::new(&section, &NORMALIZATION, 1, out.path().to_owned());
        let hooks = Hooks { stop: &AtomicBool::new(false), progress: &mut |_| {}, project };
        fit(start.clone(), None, &case.images, None, &config, hooks).unwrap()
    };
    assert!(case.widest(&train(None)) > limit, "this training leaves the rings unless it is held");
    let kept = train(Some(&|tensors| case.rings().projected(&start, tensors)));
    assert!(case.widest(&kept) <= limit);
    case.check_equal_to_the_engine(&kept);
}

#[test]
fn a_ring_that_no_weights_fit_is_refused_and_named() {
    let case = Case::new("cifar-resnet8", (4, true), 8);
    let error = case.rings().within(&case.net()).err().unwrap();
    assert!(matches!(&error, Error::Lowering { what: "ring", .. }), "{error}");
    assert!(error.to_string().contains("at most 8 bits in channel"), "{error}");
}
