//! Fake quantizers: exact integer arithmetic forward, straight-through gradients backward.
//!
//! Rounding is `floor(x + 0.5)`, as in the integer engine ([`eqo_checkpoints::arith::requantize`]); Burn's own `round`
//! rounds halves to even. `x + (q − x)` is exactly `q` in float32 because |q − x| <= 1/2 of a step (Sterbenz).

use burn::tensor::{Tensor, TensorData};
use eqo_checkpoints::codebook::Codebook;
use eqo_checkpoints::scales;

use crate::kernels::{ActivationQuantizer, TapQuantizer};

/// [`scales::round_half_up`] of every element; no gradient.
fn round_half_up<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    (x + 0.5).floor()
}

/// Largest unsigned activation of `bits` bits.
pub(crate) fn largest_level(bits: u8) -> f32 {
    f32::from((1_u16 << bits) - 1)
}

/// `codebook.nearest(u/step)·step`, with `u` `[positions, out, in]` and `log2_step` `[rows, groups]` whose values in force
/// are `exponents`: a row for each position or one for all, a group for each output channel or one for all.
///
/// Gradients are those of [`crate::kernels::TapQuantizer`]: 1 where `u` isn't clipped and 0 where it is; learned step
/// sizes for `log2_step`.
pub(crate) fn quantize_taps(u: Tensor<3>, log2_step: Tensor<2>, quantizer: &TapQuantizer) -> Tensor<3> {
    let TapQuantizer { codebooks, exponents } = quantizer;
    if let [codebook] = codebooks.as_slice() {
        return quantize_rows(u, log2_step, exponents, codebook);
    }
    let row = |(position, codebook): (usize, &Codebook)| {
        let (u, step) = (u.clone().narrow(0, position, 1), log2_step.clone().narrow(0, position, 1));
        quantize_rows(u, step, &exponents[position..=position], codebook)
    };
    Tensor::cat(codebooks.iter().enumerate().map(row).collect(), 0)
}

/// [`quantize_taps`] where all codes are of one codebook.
fn quantize_rows(
    u: Tensor<3>,
    log2_step: Tensor<2>,
    exponents: &[Vec<i32>],
    codebook: &Codebook,
) -> Tensor<3> {
    if codebook.bits() == 0 {
        return u.zeros_like();
    }
    let [positions, out, inputs] = u.dims();
    let ((low, high), (_, largest)) = (codebook.clip(), codebook.range());
    let [rows, groups] = log2_step.dims();
    let steps: Vec<f32> = exponents.iter().flatten().map(|&exponent| 2.0_f32.powi(exponent)).collect();
    let step = Tensor::<3>::from_data(TensorData::new(steps, [rows, groups, 1]), &u.device());
    let scaled = u / step.clone();
    let untracked = scaled.clone().detach();
    let nearest = nearest(untracked.clone(), codebook);
    let clipped = scaled.clamp(low, high);
    let rest = clipped.clone().detach();
    let outside = untracked.clone().lower_elem(low).bool_or(untracked.greater_elem(high));
    let damping = std::f32::consts::LN_2
        / ((positions * out * inputs) as f32 / (rows * groups) as f32 * largest.max(1.0)).sqrt();
    let slope = (nearest.clone() - rest.clone()).mask_where(outside, nearest.clone()) * damping;
    let zero = log2_step.clone() - log2_step.detach();
    (nearest + (clipped - rest) + slope * zero.reshape([rows as i32, groups as i32, 1])) * step
}

/// Elementwise [`Codebook::nearest`]: a step up at every midpoint between two values.
fn nearest(x: Tensor<3>, codebook: &Codebook) -> Tensor<3> {
    let (low, high) = codebook.range();
    if codebook.is_consecutive() {
        return round_half_up(x.clamp(low, high));
    }
    let steps = codebook.values().windows(2);
    steps.fold(x.zeros_like() + low, |sum, pair| {
        sum + x.clone().greater_equal_elem((pair[0] + pair[1]) / 2.0).float() * (pair[1] - pair[0])
    })
}

/// Activation values looked at for one scale: enough for a stable error, few enough to search on the host.
const SAMPLES: usize = 200_000;

/// Exponent of the step of least squared error for an activation of these `values`; `None` if all are zero.
pub(crate) fn best_activation_exponent(values: &[f32], bits: u8) -> Option<i32> {
    let sample: Vec<f32> = values.iter().step_by(values.len().div_ceil(SAMPLES).max(1)).copied().collect();
    scales::best_exponent(&sample, (0.0, largest_level(bits)))
}

/// `Σ (Q(x) − x)²` at the step `2^exponent`.
pub(crate) fn activation_error(values: &[f32], bits: u8, exponent: i32) -> f64 {
    let (step, largest) = (2.0_f32.powi(exponent), largest_level(bits));
    let miss = |&x: &f32| f64::from(scales::round_half_up(x / step).clamp(0.0, largest) * step - x);
    values.iter().map(|x| miss(x) * miss(x)).sum()
}

/// A bias in whole steps of its accumulator, `2^exponent` each.
pub(crate) fn bias_code(bias: f32, exponent: i32) -> f32 {
    scales::round_half_up(bias / 2.0_f32.powi(exponent))
}

/// The bias rounded to multiples of `step`, with gradient 1.
pub(crate) fn quantize_bias(bias: Tensor<1>, step: Tensor<1>) -> Tensor<1> {
    let untracked = bias.clone().detach();
    let rounded = round_half_up(untracked.clone() / step.clone()) * step;
    bias + (rounded - untracked)
}

/// Unsigned activation `clamp(floor(x/s + 0.5), 0, 2^bits − 1) · s` with `s = 2^round(log2_scale)`, which `quantizer` has.
///
/// Gradients are those of learned step size quantization (Esser et al. 2020, eq. 3 and §2.2) with the rounding of the
/// logarithm passed straight through: 1 inside and 0 outside the range for `x`; for `log2_scale` the sum of
/// `s·ln 2·(q − x/s)` inside, `s·ln 2·(2^bits − 1)` above, times `1/sqrt(values per image · (2^bits − 1))`.
pub(crate) fn quantize_activation(
    x: Tensor<4>,
    log2_scale: Tensor<1>,
    ActivationQuantizer { exponent, largest }: ActivationQuantizer,
) -> Tensor<4> {
    let step = 2.0_f32.powi(exponent);
    let untracked = x.clone().detach();
    let levels = round_half_up(untracked.clone() / step).clamp(0.0, largest);
    if !x.is_autodiff() {
        return levels * step;
    }
    let clipped = x.clamp(0.0, largest * step);
    let rounding = levels * step - clipped.clone().detach();
    let [channels, height, width, _] = rounding.dims();
    let values = (channels * height * width) as f32;
    let damping = std::f32::consts::LN_2 / (values * largest).sqrt();
    let above = untracked.greater_elem(largest * step);
    let slope = rounding.clone().mask_fill(above, largest * step) * damping;
    let zero = log2_scale.clone() - log2_scale.detach();
    clipped + rounding + slope * zero.reshape([1, 1, 1, 1])
}

/// Exponent in force: `floor(log2_scale + 0.5)`.
pub(crate) fn exponent_of(log2_scale: &Tensor<1>) -> i32 {
    scales::round_half_up(log2_scale.clone().into_scalar::<f32>()) as i32
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use eqo_checkpoints::arith::requantize;

    use super::*;

    fn row(values: &[f32], device: &Device) -> Tensor<4> {
        Tensor::<1>::from_floats(values, device).reshape([1, 1, values.len(), 1])
    }

    fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data_as::<f32>().iter::<f32>().collect()
    }

    #[test]
    fn activations_equal_the_integer_requantization_for_every_accumulator_shift_and_width() {
        let device = Device::flex();
        for (shift, bits) in [(1_u8, 2_u8), (3, 4), (5, 6), (2, 8)] {
            let acc: Vec<i64> = (-300..3000).collect();
            // Accumulator step 2^-9, activation step 2^(shift - 9).
            let x: Vec<f32> = acc.iter().map(|&y| y as f32 * 2.0_f32.powi(-9)).collect();
            let exponent = i32::from(shift) - 9;
            for device in [device.clone(), device.clone().autodiff()] {
                let scale = Tensor::<1>::from_floats([exponent as f32], &device);
                let quantizer = ActivationQuantizer { exponent, largest: largest_level(bits) };
                let y = host(quantize_activation(row(&x, &device), scale, quantizer));
                for (&acc, y) in acc.iter().zip(y) {
                    assert_eq!(y * 2.0_f32.powi(-exponent), requantize(acc, shift, bits) as f32, "{acc}");
                }
            }
        }
    }

    #[test]
    fn activation_gradients_are_those_of_learned_step_sizes() {
        let device = Device::flex().autodiff();
        let values = [-0.7_f32, 0.1, 0.3, 0.55, 1.2, 1.74, 1.9, 5.0];
        let (bits, exponent) = (3, -2); // levels 0 to 7, step 1/4, so 1.75 is the largest value
        let x = row(&values, &device).require_grad();
        let scale = Tensor::<1>::from_floats([-2.2], &device).require_grad();
        assert_eq!(exponent_of(&scale), exponent);
        let quantizer = ActivationQuantizer { exponent, largest: largest_level(bits) };
        let y = quantize_activation(x.clone(), scale.clone(), quantizer);
        let upstream: Vec<f32> = (1..=8).map(|i| i as f32).collect();
        let grads = (y * row(&upstream, &device)).sum().backward();
        let inside = |v: f32| v > 0.0 && v < 1.75;
        let want: Vec<f32> =
            values.iter().zip(&upstream).map(|(&v, &g)| if inside(v) { g } else { 0.0 }).collect();
        assert_eq!(host(x.grad(&grads).unwrap()), want);
        let slope = |v: f32| match v / 0.25 {
            q if q <= 0.0 => 0.0,
            q if q >= 7.0 => 7.0,
            q => (q + 0.5).floor() - q,
        };
        let sum: f32 = values.iter().zip(&upstream).map(|(&v, &g)| g * slope(v)).sum();
        let want = sum * 0.25 * std::f32::consts::LN_2 / (8.0_f32 * 7.0).sqrt();
        let found = host(scale.grad(&grads).unwrap())[0];
        assert!((found - want).abs() < 1e-5, "{found} {want}");
    }

    #[test]
    fn weights_become_codes_times_step_and_clipped_ones_get_no_gradient() {
        let device = Device::flex().autodiff();
        let values = [-3.0_f32, -1.1, -0.24, 0.26, 0.74, 2.6];
        let u = Tensor::<1>::from_floats(values, &device).reshape([1, 1, 6]).require_grad();
        let log2_step = Tensor::<2>::from_floats([[-1.2]], &device).require_grad();
        let quantizer =
            TapQuantizer { codebooks: vec![Codebook::new(&[0, 1, 2], 0)], exponents: vec![vec![-1]] };
        let quantized = quantize_taps(u.clone(), log2_step.clone(), &quantizer);
        assert_eq!(host(quantized.clone()), [-2.0, -1.0, 0.0, 0.5, 0.5, 1.5]);
        let grads = quantized.sum().backward();
        assert_eq!(host(u.grad(&grads).unwrap()), [0.0, 1.0, 1.0, 1.0, 1.0, 0.0]);
    }

    #[test]
    fn biases_round_half_up_and_pass_gradients() {
        let device = Device::flex().autodiff();
        let bias = Tensor::<1>::from_floats([0.25, -0.25, 0.3, -0.9], &device).require_grad();
        let step = Tensor::<1>::from_floats([0.5; 4], &device);
        let rounded = quantize_bias(bias.clone(), step);
        assert_eq!(host(rounded.clone()), [0.5, 0.0, 0.5, -1.0]);
        let grads = rounded.sum().backward();
        assert_eq!(host(bias.grad(&grads).unwrap()), [1.0; 4]);
    }
}
