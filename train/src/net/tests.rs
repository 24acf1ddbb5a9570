use burn::module::Module;
use burn::tensor::{Device, Tensor};
use ndarray::{Array1, ArrayD, IxDyn};

use super::*;
use crate::state_dict;
use crate::tensors::to_device;
use crate::testing::{NORMALIZATION, tiny_arch, tiny_images};

fn tensors() -> NamedTensors {
    let mut tensors = state_dict::random(&tiny_arch(), 3);
    // Batch normalizations that do something.
    for (name, tensor) in &mut tensors {
        if name.contains("_bn.") {
            let offset = if name.ends_with("var") || name.ends_with("weight") { 0.5 } else { -0.3 };
            tensor.iter_mut().enumerate().for_each(|(i, value)| *value = offset + 0.1 * (i + 1) as f32);
        }
    }
    tensors
}

fn pixels(device: &Device) -> Tensor<4> {
    pixels::to_tensor(tiny_images(2).pixels(), [6, 6], device)
}

/// One unit in f64 with explicit loops.
fn unit(x: &ArrayD<f32>, tensors: &NamedTensors, (name, norm): (&str, &str), stride: usize) -> ArrayD<f64> {
    let weight = &tensors[&format!("{name}.weight")];
    let of = |part: &str| &tensors[&format!("{norm}.{part}")];
    let (out, kernel) = (weight.shape()[0], weight.shape()[2]);
    let padding = (kernel - 1) / 2;
    let side = (x.shape()[2] + 2 * padding - kernel) / stride + 1;
    ArrayD::from_shape_fn(IxDyn(&[x.shape()[0], out, side, side]), |at| {
        let mut sum = 0.0;
        for (index, &w) in weight.index_axis(ndarray::Axis(0), at[1]).indexed_iter() {
            let row = (at[2] * stride + index[1]).wrapping_sub(padding);
            let column = (at[3] * stride + index[2]).wrapping_sub(padding);
            let value = x.get([at[0], index[0], row, column].as_slice());
            sum += f64::from(w) * f64::from(value.copied().unwrap_or(0.0));
        }
        let part = |part: &str| f64::from(of(part)[at[1]]);
        (sum - part("running_mean")) / (part("running_var") + 1e-5).sqrt() * part("weight") + part("bias")
    })
}

fn assert_close(found: &ArrayD<f32>, want: &ArrayD<f64>) {
    assert_eq!(found.shape(), want.shape());
    let largest = found.iter().zip(want).map(|(&a, &b)| (f64::from(a) - b).abs()).fold(0.0, f64::max);
    assert!(largest < 1e-4, "{largest}");
}

#[test]
fn every_node_equals_its_definition_written_as_loops() {
    let (device, tensors) = (Device::flex(), tensors());
    let net = Net::from_tensors(&tiny_arch(), NORMALIZATION, &tensors, "test", &device).unwrap();
    let trace: Vec<ArrayD<f32>> =
        net.trace(pixels(&device)).into_iter().map(|node| to_host(&node.permute([3, 0, 1, 2]))).collect();
    let image: Vec<f32> = tiny_images(2)
        .pixels()
        .chunks(108)
        .flat_map(|image| NORMALIZATION.float_input(image).collect::<Vec<_>>())
        .collect();
    assert!(trace[0].iter().zip(&image).all(|(a, b)| (a - b).abs() < 1e-6));
    let relu = |x: ArrayD<f64>| x.mapv(|value| value.max(0.0));
    assert_close(&trace[1], &relu(unit(&trace[0], &tensors, ("stem", "stem_bn"), 1)));
    assert_close(&trace[2], &relu(unit(&trace[1], &tensors, ("down", "down_bn"), 2)));
    let mut second = unit(&trace[2], &tensors, ("second", "second_bn"), 1);
    for (at, value) in second.indexed_iter_mut() {
        if (2..6).contains(&at[1]) {
            *value += f64::from(trace[1][[at[0], at[1] - 2, 2 * at[2], 2 * at[3]].as_slice()]);
        }
    }
    assert_close(&trace[3], &relu(second));
    assert_close(&trace[4], &unit(&trace[3], &tensors, ("proj", "proj_bn"), 1));
    let third = unit(&trace[3], &tensors, ("third", "third_bn"), 1) + trace[4].mapv(f64::from);
    assert_close(&trace[5], &relu(third));
    for (at, &mean) in trace[6].indexed_iter() {
        let plane = trace[5].index_axis(ndarray::Axis(0), at[0]);
        assert!((mean - plane.index_axis(ndarray::Axis(0), at[1]).mean().unwrap()).abs() < 1e-5);
    }
    let weight = &tensors["linear.weight"];
    for (at, &logit) in trace[7].indexed_iter() {
        let features = Array1::from_iter((0..6).map(|c| trace[6][[at[0], c, 0, 0].as_slice()]));
        let dot: f32 = features.iter().enumerate().map(|(c, x)| x * weight[[at[1], c].as_slice()]).sum();
        assert!((logit - dot).abs() < 1e-4);
    }
}

#[test]
fn a_network_gives_back_the_tensors_it_was_made_from() {
    let tensors = tensors();
    let net = Net::from_tensors(&tiny_arch(), NORMALIZATION, &tensors, "test", &Device::flex()).unwrap();
    assert_eq!(net.to_tensors(), tensors);
    let again = net.with_tensors(&net.to_tensors(), "itself", &Device::flex()).unwrap();
    assert_eq!(again.to_tensors(), tensors);
}

#[test]
fn batch_statistics_are_used_and_remembered_only_where_gradients_are() {
    let training = Device::flex().autodiff();
    let net = Net::from_tensors(&tiny_arch(), NORMALIZATION, &tensors(), "test", &training).unwrap();
    let before = net.valid().logits(pixels(&Device::flex()));
    assert_eq!(net.to_tensors(), tensors());
    let batch = net.logits(pixels(&training));
    assert!((batch.inner() - before).abs().max().into_scalar::<f32>() > 1e-3);
    let after = net.to_tensors();
    assert_ne!(after["stem_bn.running_mean"], tensors()["stem_bn.running_mean"]);
    assert_eq!(after["stem.weight"], tensors()["stem.weight"]);
}

#[test]
fn every_difference_between_file_and_architecture_is_listed() {
    let mut wrong = tensors();
    wrong.remove("stem.weight");
    wrong.insert("head.weight".to_owned(), ArrayD::zeros(vec![1]));
    wrong.insert("linear.weight".to_owned(), ArrayD::zeros(vec![3, 7]));
    wrong.insert("linear.bias".to_owned(), ArrayD::from_elem(vec![3], f32::NAN));
    wrong.insert("stem_bn.num_batches_tracked".to_owned(), ArrayD::zeros(vec![]));
    let error = Net::from_tensors(&tiny_arch(), NORMALIZATION, &wrong, "w.pth", &Device::flex()).err();
    let message = error.map(|error| error.to_string()).unwrap_or_default();
    for part in ["w.pth", "missing stem.weight", "unexpected head.weight", "[3, 6], found [3, 7]", "NaN"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(!message.contains("num_batches"));
}

#[test]
fn host_tensors_survive_the_device() {
    let array = ArrayD::from_shape_vec(vec![2, 3], (0..6).map(|i| i as f32).collect()).unwrap();
    assert_eq!(to_host(&to_device::<2>(&array, &Device::flex())), array);
}
