//! Rings that a plan asks for are had, from before the first training step to the engine that is exported.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use eqo_checkpoints::arch::Arch;
use eqo_checkpoints::engine::Engine;
use eqo_checkpoints::graph::{CheckedGraph, Op};
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
    /// ResNet-8 whose inner layers may have accumulators of `ring` bits.
    fn new(ring: u8, mid_rise: bool) -> Self {
        let arch = Arch::by_name("cifar-resnet8", 10).unwrap();
        let mut plan = BitPlan::uniform(&arch, 4, 6).with_tiles(&arch, P2x2);
        for layer in plan.layers.values_mut().filter(|layer| layer.weight_bits == 4) {
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

#[test]
fn every_ring_that_is_asked_for_is_had_and_the_engine_still_equal() {
    for (mid_rise, live) in [(false, false), (true, false), (false, true)] {
        let free = Case::new(40, mid_rise);
        let widest = free.widest(&free.net());
        for narrower in [0, 1, 2, 4] {
            let case = Case::new(widest - narrower, mid_rise);
            let net = case.net();
            let net = if live { net.with_live_normalization(&case.float).unwrap() } else { net };
            let kept = case.rings().within(&net).unwrap();
            assert!(case.widest(&kept) <= widest - narrower, "{mid_rise} {live} {narrower}");
            assert_eq!(kept.to_tensors() == net.to_tensors(), narrower == 0, "nothing changes in vain");
            case.check_equal_to_the_engine(&kept);
        }
    }
}

#[test]
fn training_keeps_to_the_rings() {
    let free = Case::new(40, false);
    let case = Case::new(free.widest(&free.net()) - 2, false);
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
    let case = Case::new(8, true);
    let error = case.rings().within(&case.net()).err().unwrap();
    assert!(matches!(&error, Error::Lowering { what: "ring", .. }), "{error}");
    assert!(error.to_string().contains("at most 8 bits in channel"), "{error}");
}
