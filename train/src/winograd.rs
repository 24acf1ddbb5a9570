//! Convolution by tap weights: the Winograd domain as tensors, and the convolution those taps stand for.
//!
//! `Y = Aᵀ[U ⊙ (Bᵀ d B)]A` is linear in the tile d, so U alone fixes a kernel `K = (Aᵀ⊗Aᵀ)·U·(Bᵀ⊗Bᵀ)` from a tile of
//! t x t inputs to its m x m outputs. As one convolution of stride m with m²·out channels it is the same function of U as
//! tile-wise multiplication, differentiable by Burn, and exact for dyadic numbers that fit float32.

use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData};
use eqo_checkpoints::winograd::{Algorithm, Transform};

/// How a layer's taps are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) algorithm: Algorithm,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
}

/// Tap weights `[positions, out, in]` of a kernel `[out, in, k, k]`: `(G⊗G)·w`, or the kernel's elements row by row
/// for direct convolution.
pub(crate) fn tap_weights(weight: Tensor<4>, algorithm: Algorithm) -> Tensor<3> {
    let [out, inputs, height, width] = weight.dims();
    let elements = weight.permute([2, 3, 0, 1]).reshape([height * width, out * inputs]);
    let taps = match algorithm.transform() {
        None => elements,
        Some(transform) => matrix(&transform.kernel_coefficients(), &elements.device()).matmul(elements),
    };
    taps.reshape([0, out as i32, inputs as i32])
}

/// The convolution that `taps` `[positions, out, in]` stand for; `x` is `[batch, in, height, width]`.
pub(crate) fn convolve(x: Tensor<4>, taps: Tensor<3>, bias: Tensor<1>, geometry: Geometry) -> Tensor<4> {
    match geometry.algorithm.transform() {
        Some(transform) => convolve_tiles(x, taps, bias, (&transform, geometry.padding)),
        None => {
            let [_, out, inputs] = taps.dims();
            let side = geometry.kernel;
            let weight = taps.reshape([side, side, out, inputs]).permute([2, 3, 0, 1]);
            let options = ConvOptions::new([geometry.stride; 2], [geometry.padding; 2], [1; 2], 1);
            conv2d(x, weight, Some(bias), options)
        }
    }
}

/// One stride-m convolution gives the m² outputs of every tile as channels; they are then interleaved into the image.
fn convolve_tiles(
    x: Tensor<4>,
    taps: Tensor<3>,
    bias: Tensor<1>,
    (transform, padding): (&Transform, usize),
) -> Tensor<4> {
    let [batch, _, height, width] = x.dims();
    let [_, out, _] = taps.dims();
    let m = transform.outputs;
    let sizes = [height, width].map(|size| size + 2 * padding - 2);
    let tiles = sizes.map(|size| transform.tiles(size));
    let pad = |axis: usize, size: usize| (padding, tiles[axis] * m + transform.tile - m - size - padding);
    let mut options = ConvOptions::new([m; 2], [0; 2], [1; 2], 1);
    options.padding = [pad(0, height), pad(1, width)];
    let phases = conv2d(x, effective_kernel(taps, transform), Some(bias.repeat_dim(0, m * m)), options);
    let image = phases.reshape([batch, m, m, out, tiles[0], tiles[1]]).permute([0, 3, 4, 1, 5, 2]).reshape([
        batch,
        out,
        tiles[0] * m,
        tiles[1] * m,
    ]);
    if [tiles[0] * m, tiles[1] * m] == sizes {
        return image;
    }
    image.slice([0..batch, 0..out, 0..sizes[0], 0..sizes[1]])
}

/// `[m²·out, in, t, t]` (phase-major) from `[t², out, in]`.
pub(crate) fn effective_kernel(taps: Tensor<3>, transform: &Transform) -> Tensor<4> {
    let [positions, out, inputs] = taps.dims();
    let (m, t) = (transform.outputs, transform.tile);
    let output = transform.output_coefficients();
    let input = transform.input_coefficients();
    let mix: Vec<Vec<f32>> = output
        .iter()
        .flat_map(|row| {
            let input = &input;
            (0..t * t).map(move |ij| (0..positions).map(|tap| (row[tap] * input[tap][ij]) as f32).collect())
        })
        .collect();
    matrix(&mix, &taps.device())
        .matmul(taps.reshape([positions, out * inputs]))
        .reshape([m * m, t, t, out, inputs])
        .permute([0, 3, 4, 1, 2])
        .reshape([m * m * out, inputs, t, t])
}

fn matrix(rows: &[Vec<f32>], device: &Device) -> Tensor<2> {
    let columns = rows.first().map_or(0, Vec::len);
    Tensor::from_data(TensorData::new(rows.concat(), [rows.len(), columns]), device)
}
