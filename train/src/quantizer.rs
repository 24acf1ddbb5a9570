//! Fake quantizers: exact integer arithmetic forward, straight-through gradients backward.
//!
//! Rounding is `floor(x + 0.5)`, as in the integer engine ([`eqo_checkpoints::arith::requantize`]); Burn's own `round`
//! rounds halves to even. `x + (q − x)` is exactly `q` in float32 because |q − x| <= 1/2 of a step (Sterbenz).

use burn::tensor::Tensor;

/// `floor(x + 0.5)`; no gradient.
pub(crate) fn round_half_up<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    (x + 0.5).floor()
}

/// Smallest and largest signed code of `bits` bits.
pub(crate) fn code_range(bits: u8) -> (f32, f32) {
    let half = f32::from(1_u16 << (bits - 1));
    (-half, half - 1.0)
}

/// Largest unsigned activation of `bits` bits.
pub(crate) fn largest_level(bits: u8) -> f32 {
    f32::from((1_u16 << bits) - 1)
}

/// Signed codes `clamp(floor(u/step + 0.5))` of `bits` bits, as floats; no gradient. `step` broadcasts against `u`.
pub(crate) fn weight_codes<const D: usize>(u: Tensor<D>, step: Tensor<D>, bits: u8) -> Tensor<D> {
    let (low, high) = code_range(bits);
    round_half_up((u / step).clamp(low, high))
}

/// `codes · step`, with gradient 1 where `u` isn't clipped and 0 where it is; `step` is fixed.
pub(crate) fn quantize_weight<const D: usize>(u: Tensor<D>, step: Tensor<D>, bits: u8) -> Tensor<D> {
    let (low, high) = code_range(bits);
    let codes = weight_codes(u.clone().detach(), step.clone(), bits);
    let clipped = (u / step.clone()).clamp(low, high);
    let untracked = clipped.clone().detach();
    (clipped + (codes - untracked)) * step
}

/// Integers `floor(bias/step + 0.5)` as floats; no gradient.
pub(crate) fn bias_codes(bias: Tensor<1>, step: Tensor<1>) -> Tensor<1> {
    round_half_up(bias / step)
}

/// The bias rounded to multiples of `step`, with gradient 1.
pub(crate) fn quantize_bias(bias: Tensor<1>, step: Tensor<1>) -> Tensor<1> {
    let untracked = bias.clone().detach();
    let rounded = bias_codes(untracked.clone(), step.clone()) * step;
    bias + (rounded - untracked)
}

/// Unsigned activation `clamp(floor(x/s + 0.5), 0, 2^bits − 1) · s` with `s = 2^round(log2_scale)`.
///
/// Gradients are those of learned step size quantization (Esser et al. 2020, eq. 3 and §2.2) with the rounding of the
/// logarithm passed straight through: 1 inside and 0 outside the range for `x`; for `log2_scale` the sum of
/// `s·ln 2·(q − x/s)` inside, `s·ln 2·(2^bits − 1)` above, times `1/sqrt(values per image · (2^bits − 1))`.
pub(crate) fn quantize_activation(x: Tensor<4>, log2_scale: Tensor<1>, exponent: i32, bits: u8) -> Tensor<4> {
    let step = 2.0_f32.powi(exponent);
    let largest = largest_level(bits);
    let untracked = x.clone().detach();
    let levels = round_half_up(untracked.clone() / step).clamp(0.0, largest);
    if !x.is_autodiff() {
        return levels * step;
    }
    let clipped = x.clamp(0.0, largest * step);
    let rounding = levels * step - clipped.clone().detach();
    let [_, channels, height, width] = rounding.dims();
    let values = (channels * height * width) as f32;
    let damping = std::f32::consts::LN_2 / (values * largest).sqrt();
    let above = untracked.greater_elem(largest * step);
    let slope = rounding.clone().mask_fill(above, largest * step) * damping;
    let zero = log2_scale.clone() - log2_scale.detach();
    clipped + rounding + slope * zero.reshape([1, 1, 1, 1])
}

/// Exponent in force: `floor(log2_scale + 0.5)`.
pub(crate) fn exponent_of(log2_scale: &Tensor<1>) -> i32 {
    (log2_scale.clone().into_scalar::<f32>() + 0.5).floor() as i32
}
