use eqo_checkpoints::arch::{ArchNode, ArchOp};
use eqo_checkpoints::plan::BitPlan;
use eqo_checkpoints::winograd::Algorithm;

use super::*;
use crate::qat::tests::{planned, planned_for};
use crate::testing::{pooled_arch, tiny_arch, tiny_images};
use crate::winograd;

const IMAGES: [usize; 5] = [0, 1, 2, 3, 4];

fn network(tiles: Algorithm) -> FloatTaps {
    planned(&BitPlan::uniform(&tiny_arch(), 4, 6).with_tiles(&tiny_arch(), tiles), &Device::flex())
        .float_network()
}

fn pooled(tiles: Algorithm) -> FloatTaps {
    let plan = BitPlan::uniform(&pooled_arch(), 8, 8).with_tiles(&pooled_arch(), tiles);
    planned_for(&pooled_arch(), &plan, &Device::flex()).float_network()
}

fn wave(shape: [usize; 4], offset: f32, device: &Device) -> Tensor<4> {
    let values = (0..shape.iter().product()).map(|at| (at as f32 * 0.7 + offset).sin());
    Tensor::from_data(TensorData::new(values.collect::<Vec<f32>>(), shape), device)
}

fn products(net: &FloatTaps, direction: &[Tensor<4>]) -> Vec<Tensor<4>> {
    let (pixels, labels) = net.batch(&tiny_images(6), &IMAGES).unwrap();
    let direction: Vec<Option<Tensor<4>>> = direction.iter().cloned().map(Some).collect();
    net.product(pixels, &labels, &direction)
}

fn dot(a: &Tensor<4>, b: &Tensor<4>) -> f64 {
    host(a).iter().zip(host(b)).map(|(a, b)| f64::from(*a) * f64::from(b)).sum()
}

/// Mean cross entropy of the tiny network in f64, by loops, with direct convolutions of `taps`.
fn loss(net: &FloatTaps, taps: &[Vec<f64>]) -> f64 {
    let images = tiny_images(6);
    let offsets = net.normalization.offsets();
    let shapes = net.arch.shapes();
    let loss = |&index: &usize| {
        let mut values: Vec<Vec<f64>> = Vec::new();
        let mut layer = 0;
        for (node, &[channels, height, width]) in net.arch.nodes.iter().zip(&shapes) {
            let plane = height * width;
            let value = match &node.op {
                ArchOp::Input { .. } => {
                    let pixel =
                        |(at, &pixel): (usize, &u8)| f64::from(pixel) - f64::from(offsets[at / plane]);
                    images.image(index).iter().enumerate().map(pixel).collect()
                }
                ArchOp::GlobalAvgPool { input } => {
                    let [_, height, width] = shapes[*input];
                    values[*input].chunks(height * width).map(|plane| plane.iter().sum()).collect()
                }
                &ArchOp::MaxPool { input, kernel, stride, padding } => {
                    let sides = [shapes[input][1], shapes[input][2]];
                    largest(&values[input], sides, [kernel, stride, padding])
                }
                _ => {
                    layer += 1;
                    weighted(net, (node, layer - 1), &taps[layer - 1], &values)
                }
            };
            assert_eq!(value.len(), channels * plane);
            values.push(value);
        }
        let logits = &values[values.len() - 1];
        let total: f64 = logits.iter().map(|logit| logit.exp()).sum();
        total.ln() - logits[usize::from(images.labels()[index])]
    };
    IMAGES.iter().map(loss).sum::<f64>() / IMAGES.len() as f64
}

/// The largest of every window.
fn largest(x: &[f64], [height, width]: [usize; 2], [kernel, stride, padding]: [usize; 3]) -> Vec<f64> {
    let out = |side: usize| (side + 2 * padding - kernel) / stride + 1;
    let under = |at: usize, side: usize| {
        (at * stride..at * stride + kernel)
            .filter_map(move |y| y.checked_sub(padding))
            .filter(move |&y| y < side)
    };
    let mut y = Vec::new();
    for plane in x.chunks(height * width) {
        for (row, column) in (0..out(height)).flat_map(|row| (0..out(width)).map(move |column| (row, column)))
        {
            let values =
                under(row, height).flat_map(|row| under(column, width).map(move |column| (row, column)));
            y.push(values.map(|(row, column)| plane[row * width + column]).fold(f64::MIN, f64::max));
        }
    }
    y
}

fn weighted(
    net: &FloatTaps,
    (node, layer): (&ArchNode, usize),
    taps: &[f64],
    values: &[Vec<f64>],
) -> Vec<f64> {
    let (shapes, layer) = (net.arch.shapes(), &net.layers[layer]);
    let conv = node.op.as_conv().unwrap();
    let (input, shortcut, relu) = (conv.input, conv.shortcut.as_ref(), conv.relu);
    let [out, inputs, kernel, _] = layer.taps.dims();
    let [_, height, width] = shapes[input];
    let (stride, padding) = (layer.conv.geometry.stride, layer.conv.geometry.padding);
    let side = (height + 2 * padding - kernel) / stride + 1;
    let bias = host(&layer.bias);
    let mut y = Vec::new();
    for o in 0..out {
        for (row, column) in (0..side).flat_map(|row| (0..side).map(move |column| (row, column))) {
            let mut sum = f64::from(bias[o]);
            for at in 0..inputs * kernel * kernel {
                let (i, dy, dx) = (at / (kernel * kernel), at / kernel % kernel, at % kernel);
                let (sy, sx) = (row * stride + dy, column * stride + dx);
                if (padding..height + padding).contains(&sy) && (padding..width + padding).contains(&sx) {
                    let x = values[input][(i * height + sy - padding) * width + sx - padding];
                    sum += taps[o * inputs * kernel * kernel + at] * x;
                }
            }
            if let Some(shortcut) = shortcut {
                let [present, height, width] = shapes[shortcut.input];
                let from = o.wrapping_sub(shortcut.channel_offset);
                if from < present {
                    let at = (from * height + row * shortcut.stride) * width + column * shortcut.stride;
                    sum += values[shortcut.input][at];
                }
            }
            y.push(if relu { sum.max(0.0) } else { sum });
        }
    }
    y
}

#[test]
fn products_equal_second_differences_of_an_independent_network_in_float64() {
    second_differences(&network(Algorithm::Direct));
    second_differences(&pooled(Algorithm::Direct));
}

fn second_differences(net: &FloatTaps) {
    let taps: Vec<Vec<f64>> =
        net.layers.iter().map(|layer| host(&layer.taps).into_iter().map(f64::from).collect()).collect();
    let direction: Vec<Tensor<4>> = net
        .layers
        .iter()
        .zip(0_u8..)
        .map(|(layer, at)| wave(layer.taps.dims(), f32::from(at), &net.device))
        .collect();
    let found = products(net, &direction);
    // Of every layer an element here and there; the mixed second difference along the direction.
    let moved = |by: f64, (layer, at, step): (usize, usize, f64)| -> f64 {
        let mut taps = taps.clone();
        for (taps, v) in taps.iter_mut().zip(&direction) {
            taps.iter_mut().zip(host(v)).for_each(|(tap, v)| *tap += by * f64::from(v));
        }
        taps[layer][at] += step;
        loss(net, &taps)
    };
    let step = 1e-5;
    let mut largest = 0.0_f64;
    for layer in 0..net.layers.len() {
        let found = host(&found[layer]);
        for at in (0..found.len()).step_by(found.len().div_ceil(5)) {
            let signs = [(1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)];
            let sum: f64 = signs.iter().map(|(a, b)| a * b * moved(a * step, (layer, at, b * step))).sum();
            let want = sum / (4.0 * step * step);
            largest = largest.max(want.abs());
            let close = (f64::from(found[at]) - want).abs() < 2e-3 * want.abs().max(0.01);
            assert!(close, "{layer} {at}: {} {want}", found[at]);
        }
    }
    assert!(largest > 0.1, "{largest}");
}

/// U is a linear function of the kernel, so both Hessians agree in directions that come from kernels.
#[test]
fn products_by_taps_and_by_kernels_are_the_same_quadratic_form() {
    let direct = network(Algorithm::Direct);
    let kernels: Vec<Tensor<4>> =
        direct.layers.iter().map(|layer| wave(layer.taps.dims(), 0.3, &direct.device)).collect();
    let of = |direction: &[Tensor<4>], products: Vec<Tensor<4>>| -> Vec<f64> {
        direction.iter().zip(&products).map(|(v, hv)| dot(v, hv)).collect()
    };
    let want = of(&kernels, products(&direct, &kernels));
    for tiles in [Algorithm::F2x2, Algorithm::F4x4, Algorithm::P2x2] {
        let net = network(tiles);
        let taps = |(kernel, layer): (&Tensor<4>, &TapLayer)| {
            let [out, inputs, side, _] = layer.taps.dims();
            let taps = winograd::tap_weights(kernel.clone(), layer.conv.geometry.algorithm);
            taps.reshape([side, side, out, inputs]).permute([2, 3, 0, 1])
        };
        let direction: Vec<Tensor<4>> = kernels.iter().zip(&net.layers).map(taps).collect();
        for (found, want) in of(&direction, products(&net, &direction)).iter().zip(&want) {
            assert!((found - want).abs() < 1e-3 * want.abs().max(0.1), "{found} {want}");
        }
    }
}

/// Values of every node.
fn values(net: &FloatTaps) -> Vec<Tensor<4>> {
    let (pixels, _) = net.batch(&tiny_images(6), &IMAGES).unwrap();
    let taps: Vec<Tensor<4>> = net.layers.iter().map(|layer| layer.taps.clone()).collect();
    let duals = Duals::new(net, &taps, Direction::None);
    let image = pixels::subtract_offsets(pixels, &net.normalization);
    interpret::interpret(&net.arch, &duals, Dual::constant(image))
        .into_iter()
        .map(|dual| dual.value)
        .collect()
}

/// For a linear network `H = mean (diag p − p·pᵀ) ⊗ x·xᵀ`, so its trace is `mean (1 − Σp²)·‖x‖²`.
#[test]
fn the_trace_of_the_last_layer_is_its_closed_form() {
    let net = network(Algorithm::F2x2);
    let last = net.layers.len() - 1;
    let zeros: Vec<Tensor<4>> = net.layers.iter().map(|layer| layer.taps.zeros_like()).collect();
    let count = host(&zeros[last]).len();
    let unit = |at: usize| {
        let values: Vec<f32> = (0..count).map(|index| f32::from(u8::from(index == at))).collect();
        Tensor::<4>::from_data(TensorData::new(values, zeros[last].dims()), &net.device)
    };
    let diagonal = |at: usize| {
        let mut direction = zeros.clone();
        direction[last] = unit(at);
        dot(&direction[last], &products(&net, &direction)[last])
    };
    let found: f64 = (0..count).map(diagonal).sum();
    let mut nodes = values(&net);
    let p = softmax(interpret::by_image(nodes.pop().unwrap()), 1);
    let x = interpret::by_image(nodes.pop().unwrap());
    let ones = Tensor::ones([IMAGES.len(), 1], &net.device);
    let trace = (ones - p.square().sum_dim(1)) * x.square().sum_dim(1);
    let want = f64::from(trace.mean().into_scalar::<f32>());
    assert!((found - want).abs() < 1e-3 * want, "{found} {want}");
    // What probes find is that on average.
    let probe = |seed| net.probe(&tiny_images(6), &IMAGES, last, seed).unwrap().sums.concat();
    let samples: Vec<f64> = (0..300).map(|seed| probe(seed).iter().sum()).collect();
    let mean = samples.iter().sum::<f64>() / 300.0;
    let variance = samples.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>() / 299.0;
    assert!((mean - want).abs() < 4.0 * (variance / 300.0).sqrt(), "{mean} {want} {variance}");
}

/// The mean over `samples` and its standard error.
fn mean_and_error(samples: &[f64]) -> (f64, f64) {
    let count = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / count;
    let spread: f64 = samples.iter().map(|sample| (sample - mean).powi(2)).sum();
    (mean, (spread / (count - 1.0) / count).sqrt())
}

/// Sums over the parts of every layer of several samples, `[layer][sample]`.
fn totals(net: &FloatTaps, of: (Squares, Variable), samples: u64) -> Vec<Vec<f64>> {
    let sample = |seed| net.squares(&tiny_images(6), &IMAGES, of, seed).unwrap();
    let samples: Vec<Vec<Curved>> = (0..samples).map(sample).collect();
    let total = |layer: usize| samples.iter().map(|all| all[layer].sums.iter().flatten().sum()).collect();
    (0..net.layers.len()).map(total).collect()
}

#[test]
fn squares_are_the_diagonal_of_every_layers_block_on_average() {
    diagonal_by_squares(&network(Algorithm::F2x2));
    diagonal_by_squares(&pooled(Algorithm::F2x2));
}

fn diagonal_by_squares(net: &FloatTaps) {
    for (layer, samples) in totals(net, (Squares::Hessian, Variable::Taps), 300).iter().enumerate() {
        let products = |seed| net.probe(&tiny_images(6), &IMAGES, layer, seed).unwrap();
        let products: Vec<f64> = (0..300).map(|seed| products(seed).sums.iter().flatten().sum()).collect();
        let ((found, error), (want, noise)) = (mean_and_error(samples), mean_and_error(&products));
        assert!((found - want).abs() < 4.0 * (error + noise), "{layer}: {found} ± {error}, {want} ± {noise}");
    }
}

/// Behind the last activation the network is linear.
#[test]
fn squares_by_the_last_activation_have_their_closed_form_on_average() {
    let net = network(Algorithm::F2x2);
    let last = net.layers.len() - 2;
    let (found, error) = mean_and_error(&totals(&net, (Squares::Hessian, Variable::Activations), 300)[last]);
    let nodes = values(&net);
    let p = host(&softmax(interpret::by_image(nodes[nodes.len() - 1].clone()), 1));
    let activation = &nodes[nodes.len() - 3];
    let above: Vec<bool> = host(activation).iter().map(|&x| x > 0.0).collect();
    let [channels, height, width, count] = activation.dims();
    let weight = host(&net.layers[last + 1].taps);
    let mut want = 0.0;
    for (at, _) in above.iter().enumerate().filter(|(_, above)| **above) {
        let (channel, image) = (at / (height * width * count), at % count);
        let of = |class: usize| f64::from(weight[class * channels + channel]);
        let p = |class: usize| f64::from(p[image * 3 + class]);
        let mean: f64 = (0..3).map(|class| p(class) * of(class)).sum();
        want += (0..3).map(|class| p(class) * (of(class) - mean).powi(2)).sum::<f64>() / count as f64;
    }
    assert!((found - want).abs() < 4.0 * error && error < 0.2 * want, "{found} ± {error}, {want}");
    let sample = net.squares(&tiny_images(6), &IMAGES, (Squares::Hessian, Variable::Activations), 1).unwrap();
    let moved = above.iter().filter(|above| **above).count() as f64 / count as f64;
    assert!((sample[last].count - moved).abs() < 1e-9);
    // The projection and the logits end in accumulators.
    assert!(sample[3].count == 0.0 && sample[5].count == 0.0 && sample[3].sums.concat() == [0.0; 6]);
}

#[test]
fn the_fisher_diagonal_is_the_mean_square_of_single_images_gradients() {
    let net = network(Algorithm::F2x2);
    let fisher = (Squares::Fisher, Variable::Taps);
    // With one image the sign doesn't matter: its square is exact.
    let single = |at: usize| net.squares(&tiny_images(6), &[at], fisher, 7).unwrap();
    let single: Vec<Vec<Curved>> = IMAGES.iter().map(|&at| single(at)).collect();
    for (layer, samples) in totals(&net, fisher, 600).iter().enumerate() {
        let of_image = single.iter().map(|image| image[layer].sums.iter().flatten().sum::<f64>());
        let want = of_image.sum::<f64>() / IMAGES.len() as f64;
        let (found, error) = mean_and_error(samples);
        assert!(
            (found - want).abs() < 4.0 * error && error < 0.2 * want,
            "{layer}: {found} ± {error}, {want}"
        );
    }
}

#[test]
fn samples_are_functions_of_their_seed() {
    let net = network(Algorithm::F2x2);
    let probe = |seed| net.probe(&tiny_images(6), &IMAGES, 2, seed).unwrap();
    assert!(probe(3) == probe(3) && probe(3) != probe(4));
    for of in [
        (Squares::Hessian, Variable::Taps),
        (Squares::Hessian, Variable::Activations),
        (Squares::Fisher, Variable::Taps),
    ] {
        let squares = |seed| net.squares(&tiny_images(6), &IMAGES, of, seed).unwrap();
        assert!(squares(3) == squares(3) && squares(3) != squares(4));
    }
}
