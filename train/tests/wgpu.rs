//! Training on a GPU through wgpu, or on a software rasterizer where one is installed (Debian: `mesa-vulkan-drivers`):
//!
//! `cargo test --release -p eqo -p eqo-train --features eqo-train/wgpu --test wgpu`

#![cfg(feature = "wgpu")]
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a failed unwrap fails the test; a skip says why"
)]

use std::sync::atomic::AtomicBool;

use burn::tensor::{Device, DeviceType};
use eqo_checkpoints::arch::Arch;
use eqo_checkpoints::plan::BitPlan;
use eqo_checkpoints::winograd::Algorithm;
use eqo_datasets::{Dataset, Normalization, synthetic};
use eqo_train::device::device_by_name;
use eqo_train::fit::{FitConfig, Hooks, Progress, fit};
use eqo_train::net::Net;
use eqo_train::qat::{FoldedLayer, FoldedWeights};
use eqo_train::recipe::FitSection;
use eqo_train::{Classifier, QatNet};

const NORMALIZATION: Normalization = Normalization::SYNTHETIC;

/// wgpu's device, if it has any.
fn wgpu() -> Option<Device> {
    if Device::enumerate(DeviceType::Wgpu).is_empty() {
        eprintln!("skipped: wgpu finds no adapter on this machine");
        return None;
    }
    Some(device_by_name("wgpu").unwrap())
}

/// An untrained network's convolutions, without its normalizations.
fn quantized(plan: &BitPlan, arch: &Arch, images: &Dataset, device: &Device) -> QatNet {
    let tensors = Net::random(arch, NORMALIZATION, 1, &Device::flex()).unwrap().to_tensors();
    let layer = |name: &String| {
        let weight = &tensors[&format!("{name}.weight")] * 0.5;
        let mut shape = weight.shape().to_vec();
        shape.resize(4, 1);
        let bias = vec![0.0; shape[0]];
        (name.clone(), FoldedLayer { weight: weight.into_shape_with_order(shape).unwrap(), bias })
    };
    let folded: FoldedWeights = plan.layers.keys().map(layer).collect();
    QatNet::from_folded(arch, plan, &folded, NORMALIZATION, images, device).unwrap()
}

/// Integers of every node, and the losses of three steps of training.
fn run(plan: &BitPlan, arch: &Arch, device: &Device) -> (Vec<Vec<i64>>, Vec<f64>) {
    let images = synthetic::generate(1, 8);
    let net = quantized(plan, arch, &images, &Device::flex());
    // Both devices start from the same numbers: calibration sums floats, and may differ by a rounding.
    let net = net.with_tensors(&net.to_tensors(), "the network on flex", &device.clone().autodiff()).unwrap();
    let trace = net.trace(images.pixels()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let section = FitSection {
        steps: 3,
        batch_size: 4,
        learning_rate: 1e-3,
        distill_weight: 0.0,
        ..FitSection::default()
    };
    let config = FitConfig::new(&section, &NORMALIZATION, 1, dir.path().to_owned());
    let mut losses = Vec::new();
    let mut progress = |progress: &Progress| losses.push(progress.loss);
    let hooks = Hooks { stop: &AtomicBool::new(false), progress: &mut progress, project: None };
    fit(net, None, &images, None, &config, hooks).unwrap();
    (trace, losses)
}

#[test]
fn a_quantized_network_has_the_same_integers_on_wgpu_and_the_same_losses_in_training() {
    let Some(wgpu) = wgpu() else { return };
    let arch = Arch::by_name("cifar-resnet8", 10).unwrap();
    for algorithm in [Algorithm::F2x2, Algorithm::F4x4, Algorithm::P2x2] {
        let plan = BitPlan::uniform(&arch, 4, 6).with_tiles(&arch, algorithm);
        let (trace, losses) = run(&plan, &arch, &wgpu);
        let (want_trace, want_losses) = run(&plan, &arch, &Device::flex());
        assert!(trace == want_trace, "{}", algorithm.name());
        for (loss, want) in losses.iter().zip(&want_losses) {
            assert!(
                (loss - want).abs() <= 1e-3 * want.abs(),
                "{}: {losses:?} {want_losses:?}",
                algorithm.name()
            );
        }
        assert_eq!(losses.len(), 3);
    }
}
