use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::tensor::{Device, Tensor, TensorData};
use eqo_datasets::Normalization;
use ndarray::{ArrayD, Axis};

use super::*;
use crate::classifier::Classifier;
use crate::net::Net;

/// A file of `train/fixtures/make_networks.py`.
pub(super) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/networks").join(name)
}

/// Compares the logits of `arch` with those that PyTorch found for the network `name`.
pub(super) fn assert_logits(name: &str, arch: &Arch, tensors: &NamedTensors) {
    let results = read_tensors(&fixture("results.safetensors")).unwrap();
    let (pixels, want) = (&results["pixels"], &results[name]);
    let device = Device::flex();
    let normalization = Normalization { mean: [0.5; 3], std: [0.25; 3] };
    let net = Net::from_tensors(arch, normalization, tensors, name, &device);
    let net = net.unwrap_or_else(|error| panic!("{error}"));
    let shape: [usize; 4] = [0, 1, 2, 3].map(|axis| pixels.shape()[axis]);
    let pixels =
        Tensor::<4>::from_data(TensorData::new(pixels.iter().copied().collect::<Vec<f32>>(), shape), &device);
    let found = net.logits(pixels.permute([1, 2, 3, 0])).into_data();
    let (found, want): (Vec<f32>, Vec<f32>) = (found.iter().collect(), want.iter().copied().collect());
    let farthest = found.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(found.len() == want.len() && farthest < 1e-4, "{name}: {farthest}");
}

#[test]
fn checkpoints_of_training_scripts_give_pytorchs_logits() {
    for network in ["residual", "plain"] {
        let described = fixture(&format!("{network}-unfolded.onnx"));
        let arch = architecture(ONNX, Some(&described), Some(10)).unwrap();
        // The tensors are under `net`, beside numbers, with DataParallel's prefix and batch counters.
        assert_logits(network, &arch, &read_network(&fixture(&format!("{network}.pth")), &arch).unwrap());
    }
}

/// Names and shapes that torchvision 0.29 and timm 1.0 themselves print.
#[test]
fn state_dicts_of_torchvision_and_timm_are_those_of_the_architectures() {
    let listed = fs::read_to_string(fixture("state_dicts.txt")).unwrap();
    let mut networks = 0;
    for section in listed.split("# ").filter(|section| !section.is_empty()) {
        let (title, lines) = section.split_once('\n').unwrap();
        let (_, name) = title.split_once(' ').unwrap();
        let arch = Arch::by_name(&name.replace('_', "-"), 1000).unwrap();
        let tensor = |line: &str| {
            let (name, shape) = line.split_once(' ').unwrap_or((line, ""));
            let shape: Vec<usize> = shape.split_whitespace().map(|side| side.parse().unwrap()).collect();
            (name.to_owned(), ArrayD::zeros(shape))
        };
        let found = names::adapt(&arch.state_dict(), lines.lines().map(tensor).collect());
        let found = found.iter().filter(|(name, _)| !name.ends_with("num_batches_tracked"));
        let found: BTreeMap<String, Vec<usize>> =
            found.map(|(name, tensor)| (name.clone(), tensor.shape().to_vec())).collect();
        assert!(found == arch.state_dict(), "{title}");
        networks += 1;
    }
    assert_eq!(networks, 8);
}

#[test]
fn a_file_of_another_network_is_refused_with_the_nearest_names() {
    let arch = Arch::by_name("cifar-resnet8", 10).unwrap();
    let mut tensors = crate::state_dict::random(&arch, 1);
    let weight = tensors.remove("layer1.0.conv1.weight").unwrap();
    tensors.insert("layer1.0.conv_1.weight".to_owned(), weight.clone());
    let refuse = |tensors: &NamedTensors| {
        let net = Net::from_tensors(&arch, Normalization::IMAGENET, tensors, "w.pth", &Device::flex());
        net.map(|_| ()).unwrap_err().to_string()
    };
    let message = refuse(&tensors);
    let missing =
        "missing layer1.0.conv1.weight [16, 16, 3, 3] (nearest: layer1.0.conv_1.weight [16, 16, 3, 3])";
    assert!(message.contains(missing) && message.contains("unexpected layer1.0.conv_1.weight"), "{message}");
    let strange: NamedTensors =
        (0..90).map(|at| (format!("block{at}"), weight.index_axis(Axis(0), 0).to_owned())).collect();
    let message = refuse(&strange);
    assert!(message.lines().count() < 40 && message.contains("more"), "{message}");
}

fn two_tensors() -> NamedTensors {
    let values = |count: usize| (0..count).map(|i| i as f32 * 0.37 - 1.0).collect();
    let weight = ArrayD::from_shape_vec(vec![2, 3], values(6)).unwrap();
    let bias = ArrayD::from_shape_vec(vec![2], values(2)).unwrap();
    [("module.linear.weight", weight), ("linear.bias", bias)]
        .map(|(name, array)| (name.to_owned(), array))
        .into()
}

#[test]
fn saved_tensors_come_back_without_the_parallel_prefix_and_leave_no_part_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    save_tensors(&path, &two_tensors(), &[("arch", "tiny")]).unwrap();
    let read = read_tensors(&path).unwrap();
    assert_eq!(read.keys().collect::<Vec<_>>(), ["linear.bias", "linear.weight"]);
    assert_eq!(read["linear.weight"], two_tensors()["module.linear.weight"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let bytes = fs::read(&path).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(metadata.metadata().as_ref().unwrap()["arch"], "tiny");
}

#[test]
fn damaged_and_missing_files_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in [("a.safetensors", b"not a file".as_slice()), ("b.pth", b"neither"), ("c.th", b"")] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let message = read_tensors(&path).unwrap_err().to_string();
        assert!(message.contains(name), "{message}");
    }
    assert!(matches!(read_tensors(&folder.path().join("absent.pth")), Err(Error::Io { .. })));
}

#[test]
fn integer_tensors_are_refused_and_counters_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let data = 7_i64.to_le_bytes();
    let write = |name: &str| {
        let view = TensorView::new(Dtype::I64, vec![1], &data).unwrap();
        fs::write(&path, safetensors::serialize([(name, view)], None).unwrap()).unwrap();
        read_tensors(&path)
    };
    assert!(write("bn.num_batches_tracked").unwrap().is_empty());
    assert!(write("conv.weight").unwrap_err().to_string().contains("conv.weight"));
}
