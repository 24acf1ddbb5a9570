//! Claims about the kernels, against loops written from the definitions. Numbers are small integers, so sums are exact and
//! comparisons need no tolerance unless stated.

use eqo_checkpoints::winograd::Algorithm;
use proptest::prelude::*;

use super::*;

fn integers(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|index| ((index * 7919 + seed * 104_729 + index / 13) % 9) as f32 - 4.0).collect()
}

fn output_len(shape: ConvShape) -> usize {
    shape.outputs * shape.images * shape.output_size().iter().product::<usize>()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
}

/// The definition: kernel positions `[k², out, in]` over windows.
fn sliding_windows(shape: ConvShape, x: &[f32], kernel: &[f32], bias: &[f32]) -> Vec<f32> {
    let ConvShape { inputs, outputs, height, width, images, .. } = shape;
    let [rows, columns] = shape.output_size();
    let mut y = Vec::new();
    for out in 0..outputs {
        for at in 0..rows * columns * images {
            let (row, column, image) = (at / images / columns, at / images % columns, at % images);
            let mut sum = bias[out];
            for position in 0..shape.kernel * shape.kernel {
                let from_row = (row * shape.stride + position / shape.kernel).wrapping_sub(shape.padding);
                let from = (column * shape.stride + position % shape.kernel).wrapping_sub(shape.padding);
                if from_row < height && from < width {
                    for input in 0..inputs {
                        let weight = kernel[(position * outputs + out) * inputs + input];
                        sum += weight * x[((input * height + from_row) * width + from) * images + image];
                    }
                }
            }
            y.push(sum);
        }
    }
    y
}

/// The same for an algorithm of another stride.
fn strided(shape: ConvShape, algorithm: Algorithm) -> ConvShape {
    ConvShape { stride: algorithm.transform().map_or(1, |transform| transform.stride()), ..shape }
}

/// Kernels of 3, stride 1.
fn shapes() -> impl Strategy<Value = ConvShape> {
    (1..4_usize, 1..4_usize, 3..10_usize, 3..8_usize, 1..36_usize, 0..3_usize).prop_map(
        |(inputs, outputs, height, width, images, padding)| ConvShape {
            inputs,
            outputs,
            height,
            width,
            images,
            kernel: 3,
            stride: 1,
            padding,
        },
    )
}

/// Taps of an integer 3x3 kernel, times what makes them integers too.
fn taps(shape: ConvShape, algorithm: Algorithm, kernel: &[f32], scale: f32) -> Vec<f32> {
    let rows = shape.outputs * shape.inputs;
    // [out, in, k, k], as the map wants it.
    let weight: Vec<f32> = (0..rows * 9).map(|index| kernel[index % 9 * rows + index / 9] * scale).collect();
    let transform = algorithm.transform();
    let map = TapMap::new([shape.outputs, shape.inputs, 3, 3], transform.as_ref(), &vec![1.0; shape.inputs]);
    map.taps(&weight).into_iter().map(f32::round).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn every_algorithm_equals_sliding_windows(shape in shapes(), seed in 0..100_usize) {
        let x = integers(shape.input_len(), seed);
        let kernel = integers(9 * shape.outputs * shape.inputs, seed + 1);
        let bias = integers(shape.outputs, seed + 2);
        for (algorithm, scale) in Algorithm::ALL.into_iter().zip([1.0, 4.0, 576.0, 1.0]) {
            let shape = strided(shape, algorithm);
            let scaled = |values: &[f32]| values.iter().map(|value| value * scale).collect::<Vec<f32>>();
            let want = scaled(&sliding_windows(shape, &x, &kernel, &bias));
            let taps = taps(shape, algorithm, &kernel, scale);
            prop_assert_eq!(&forward(algorithm, shape, (&x, &taps, &scaled(&bias))), &want);
        }
    }

    #[test]
    fn a_unit_is_the_convolution_plus_the_residual_and_its_rounding(shape in shapes(), seed in 0..100_usize) {
        let activation = ActivationQuantizer { exponent: 2, largest: 7.0 };
        for algorithm in Algorithm::ALL {
            let shape = strided(shape, algorithm);
            let positions = if algorithm == Algorithm::Direct { 9 } else { algorithm.taps() };
            let x = integers(shape.input_len(), seed);
            let taps = integers(positions * shape.outputs * shape.inputs, seed + 1);
            let bias = integers(shape.outputs, seed + 2);
            let y = forward(algorithm, shape, (&x, &taps, &bias));
            let residual = integers(y.len(), seed + 3);
            for residual in [None, Some(residual.as_slice())] {
                let finish = Finish { residual, activation };
                let [sum, rounded] = forward_unit(algorithm, shape, (&x, &taps, &bias), &finish);
                let added = |at: usize| residual.map_or(0.0, |residual| residual[at]);
                let want: Vec<f32> = y.iter().enumerate().map(|(at, y)| y + added(at)).collect();
                prop_assert!(sum == want);
                let steps = |sum: f32| (sum / 4.0 + 0.5).floor().clamp(0.0, 7.0) * 4.0;
                prop_assert!(rounded.iter().zip(&want).all(|(&rounded, &sum)| rounded == steps(sum)));
            }
        }
    }

    /// A convolution is linear in its input and in its taps, so both gradients are fixed by inner products.
    #[test]
    fn gradients_are_the_adjoints_of_the_forward_pass(shape in shapes(), seed in 0..100_usize) {
        let x = integers(shape.input_len(), seed);
        for algorithm in Algorithm::ALL {
            let shape = strided(shape, algorithm);
            let upstream = integers(output_len(shape), seed + 3);
            let positions = if algorithm == Algorithm::Direct { 9 } else { algorithm.taps() };
            let taps = integers(positions * shape.outputs * shape.inputs, seed + 1);
            let found = backward(algorithm, shape, (&x, &taps, &upstream), true);
            let y = forward(algorithm, shape, (&x, &taps, &vec![0.0; shape.outputs]));
            let product = dot(&y, &upstream);
            prop_assert_eq!(dot(&found.input, &x), product);
            prop_assert_eq!(dot(&found.taps, &taps), product);
            // Not only in the directions of x and of the taps themselves.
            let (other_x, other_taps) = (integers(x.len(), seed + 5), integers(taps.len(), seed + 6));
            let zeros = vec![0.0; shape.outputs];
            let along_x = forward(algorithm, shape, (&other_x, &taps, &zeros));
            prop_assert_eq!(dot(&found.input, &other_x), dot(&along_x, &upstream));
            let along_taps = forward(algorithm, shape, (&x, &other_taps, &zeros));
            prop_assert_eq!(dot(&found.taps, &other_taps), dot(&along_taps, &upstream));
            let plane = upstream.len() / shape.outputs;
            let bias: Vec<f32> = upstream.chunks(plane).map(|plane| plane.iter().sum()).collect();
            prop_assert_eq!(sum_images(&upstream, shape.outputs), bias);
        }
    }
}

#[test]
fn strided_and_pointwise_kernels_have_exact_adjoints_too() {
    for (kernel, stride, padding, side) in
        [(3, 2, 1, 8), (3, 2, 1, 7), (1, 2, 0, 6), (1, 1, 0, 1), (5, 3, 2, 9), (7, 2, 3, 14), (7, 1, 0, 7)]
    {
        let shape = ConvShape {
            inputs: 3,
            outputs: 4,
            height: side,
            width: side,
            images: 19,
            kernel,
            stride,
            padding,
        };
        let x = integers(shape.input_len(), 1);
        let weights = integers(kernel * kernel * 12, 2);
        let upstream = integers(output_len(shape), 3);
        let zeros = vec![0.0; 4];
        let y = forward(Algorithm::Direct, shape, (&x, &weights, &zeros));
        assert_eq!(y, sliding_windows(shape, &x, &weights, &zeros));
        let found = backward(Algorithm::Direct, shape, (&x, &weights, &upstream), true);
        assert_eq!(dot(&found.input, &x), dot(&y, &upstream));
        assert_eq!(dot(&found.taps, &weights), dot(&y, &upstream));
        assert!(backward(Algorithm::Direct, shape, (&x, &weights, &upstream), false).input.is_empty());
    }
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let shape = ConvShape {
        inputs: 5,
        outputs: 6,
        height: 13,
        width: 10,
        images: 21,
        kernel: 3,
        stride: 1,
        padding: 1,
    };
    let fractions = |count: usize, seed: usize| -> Vec<f32> {
        integers(count, seed).into_iter().enumerate().map(|(at, value)| value / (at % 7 + 3) as f32).collect()
    };
    let x = fractions(shape.input_len(), 1);
    for algorithm in Algorithm::ALL {
        let shape = strided(shape, algorithm);
        let upstream = fractions(output_len(shape), 2);
        let positions = if algorithm == Algorithm::Direct { 9 } else { algorithm.taps() };
        let taps = fractions(positions * 30, 3);
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let y = forward(algorithm, shape, (&x, &taps, &[0.0; 6]));
                let found = backward(algorithm, shape, (&x, &taps, &upstream), true);
                let quantizer = ActivationQuantizer { exponent: -3, largest: 63.0 };
                let mut gradient = upstream.clone();
                let slopes = quantizer.gradients(&y, &mut gradient, 6);
                (y, found.input, found.taps, sum_images(&upstream, 6), gradient, slopes)
            })
        };
        assert!(run(1) == run(3), "{}", algorithm.name());
    }
}

/// Loss `Σ weights·normalize(x)`, in float64 from the definition.
fn normalized_loss(x: &[f64], (gamma, beta): (f64, f64), weights: &[f32], relu: bool) -> f64 {
    let count = x.len() as f64;
    let mean = x.iter().sum::<f64>() / count;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    let y = x.iter().map(|x| (x - mean) / (variance + 1e-5).sqrt() * gamma + beta);
    y.zip(weights).map(|(y, &weight)| if relu { y.max(0.0) } else { y } * f64::from(weight)).sum()
}

#[test]
fn normalization_gradients_equal_central_differences() {
    let x: Vec<f32> =
        integers(70, 1).iter().enumerate().map(|(at, x)| x + 0.37 * (at as f32).sin()).collect();
    let weights: Vec<f32> = integers(70, 2).iter().map(|weight| weight / 3.0).collect();
    for (gamma, beta, relu) in [(1.3_f32, 0.2_f32, false), (0.8, 0.1, true), (-0.5, -0.1, true)] {
        let (mean, variance) = moments(&x, 1);
        let inverse = variance.iter().map(|variance| 1.0 / (variance + 1e-5).sqrt()).collect();
        let normalizer = Normalizer { mean, inverse, of_batch: true, relu };
        let wide: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
        let parameters = (f64::from(gamma), f64::from(beta));
        let y = normalizer.normalize(&x, &[gamma], &[beta]);
        assert!((dot(&y, &weights) - normalized_loss(&wide, parameters, &weights, relu)).abs() < 1e-4);
        let found = normalizer.gradients(&x, &[gamma], &[beta], weights.clone());
        let step = 1e-6;
        let difference = |loss: &dyn Fn(f64) -> f64| (loss(step) - loss(-step)) / (2.0 * step);
        for (at, &gradient) in found.input.iter().enumerate() {
            let want = difference(&|shift| {
                let mut moved = wide.clone();
                moved[at] += shift;
                normalized_loss(&moved, parameters, &weights, relu)
            });
            assert!((f64::from(gradient) - want).abs() < 1e-4, "input {at}: {gradient} {want}");
        }
        let by_gamma = |shift| normalized_loss(&wide, (parameters.0 + shift, parameters.1), &weights, relu);
        assert!((f64::from(found.gamma[0]) - difference(&by_gamma)).abs() < 1e-3);
        let by_beta = |shift| normalized_loss(&wide, (parameters.0, parameters.1 + shift), &weights, relu);
        assert!((f64::from(found.beta[0]) - difference(&by_beta)).abs() < 1e-3);
    }
}

#[test]
fn statistics_of_a_running_average_pass_no_gradient() {
    let x = integers(40, 1);
    let normalizer = Normalizer { mean: vec![0.5], inverse: vec![2.0], of_batch: false, relu: false };
    let upstream = integers(40, 2);
    let found = normalizer.gradients(&x, &[3.0], &[0.0], upstream.clone());
    assert!(found.input.iter().zip(&upstream).all(|(found, upstream)| *found == 6.0 * upstream));
}

#[test]
fn a_nan_goes_through_every_kernel_that_clamps() {
    let x = [1.0, f32::NAN, -1.0];
    let normalizer = Normalizer { mean: vec![0.0], inverse: vec![1.0], of_batch: false, relu: true };
    assert!(normalizer.normalize(&x, &[1.0], &[0.0])[1].is_nan());
    let mut rounded = [0.0; 3];
    ActivationQuantizer { exponent: 0, largest: 3.0 }.quantize(&x, &mut rounded);
    assert!(rounded[1].is_nan());
}
