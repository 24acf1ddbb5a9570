//! torchvision's and timm's own networks, imported whole: the logits of a 224x224 image.
//!
//! `EQO_PYTHON=python3 cargo test --release -p eqo -p eqo-train --test torchvision -- --ignored`, with a Python that has torch,
//! torchvision, timm and safetensors. Nothing is downloaded: weights are random.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::path::Path;
use std::process::Command;

use burn::tensor::{Device, Tensor, TensorData};
use eqo_checkpoints::arch::Arch;
use eqo_datasets::Normalization;
use eqo_train::Classifier;
use eqo_train::import::{read_network, read_tensors};
use eqo_train::net::Net;

const NORMALIZATION: Normalization = Normalization { mean: [0.5; 3], std: [0.25; 3] };

/// Largest difference of a logit, and the largest logit.
fn difference(project: &str, name: &str) -> [f32; 2] {
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/make_torchvision.py");
    let python = std::env::var("EQO_PYTHON").unwrap_or("python3".to_owned());
    let made = Command::new(python).arg(script).args([project, name]).arg(folder.path()).status().unwrap();
    assert!(made.success(), "{project} {name}");
    let arch = Arch::by_name(&name.replace('_', "-"), 1000).unwrap();
    let tensors = read_network(&folder.path().join("network.pth"), &arch).unwrap();
    let results = read_tensors(&folder.path().join("results.safetensors")).unwrap();
    let net = Net::from_tensors(&arch, NORMALIZATION, &tensors, name, &Device::flex()).unwrap();
    let pixels: Vec<f32> = results["pixels"].iter().copied().collect();
    let pixels = Tensor::<4>::from_data(TensorData::new(pixels, [3, 224, 224, 1]), &Device::flex());
    let found: Vec<f32> = net.logits(pixels).into_data().iter().collect();
    let pairs = found.iter().zip(&results["logits"]);
    pairs.fold([0.0, 0.0], |[far, large]: [f32; 2], (a, b)| [far.max((a - b).abs()), large.max(b.abs())])
}

#[test]
#[ignore = "needs a Python with torch, torchvision and timm"]
fn logits_of_imported_networks_equal_those_of_their_projects() {
    for project in ["torchvision", "timm"] {
        for name in ["resnet18", "resnet34", "resnet50", "vgg16_bn"] {
            let [far, large] = difference(project, name);
            assert!(far <= 1e-4 * large.max(1.0), "{project} {name}: {far} of {large}");
        }
    }
}
