//! Convolutions, activations and normalization on the CPU, forward and backward, over raw buffers.
//!
//! Activations are `[channels, height, width, images]`: the images of a batch are the lanes of every vector, so tile
//! transforms, strides and borders need no shuffling and the same code serves every image size. Work is split into
//! bands of rows; the split doesn't depend on the number of threads, so neither do the bits of a result.
//!
//! Reading order: `shape`, `tile` (transforms), `winograd` and `direct` (convolutions), `gemm`, `lanes`.

mod activation;
mod bands;
mod direct;
mod finish;
mod fresh;
mod gemm;
mod halo;
mod lanes;
mod max_pool;
mod norm;
mod scratch;
mod shape;
mod strip;
mod sum;
mod taps;
mod tile;
mod transforms;
mod winograd;

use eqo_checkpoints::winograd::Algorithm;

pub(crate) use activation::ActivationQuantizer;
pub(crate) use finish::Finish;
pub(crate) use max_pool::Pooling;
pub(crate) use norm::{Normalizer, moments};
pub(crate) use shape::{ConvShape, Window};
pub(crate) use sum::sum_images;
pub(crate) use taps::{TapMap, TapQuantizer};
pub(crate) use winograd::Gradients;

/// `y` `[out, h', w', images]` of `x` `[in, h, w, images]`, taps `[positions, out, in]` and a bias for each channel.
pub(crate) fn forward(
    algorithm: Algorithm,
    shape: ConvShape,
    operands: (&[f32], &[f32], &[f32]),
) -> Vec<f32> {
    let [y] = convolve(algorithm, shape, operands, |_, _| ());
    y
}

/// `y` as [`forward`]'s plus the residual, and its rounding.
pub(crate) fn forward_unit(
    algorithm: Algorithm,
    shape: ConvShape,
    operands: (&[f32], &[f32], &[f32]),
    finish: &Finish<'_>,
) -> [Vec<f32>; 2] {
    convolve(algorithm, shape, operands, |at, [y, rounded]| finish.row(at, y, rounded))
}

/// A new tensor for the convolution and those that `finish` derives from it, a part of a row of pixels at a time: where
/// the part starts in a tensor, and the part in each.
fn convolve<const N: usize>(
    algorithm: Algorithm,
    shape: ConvShape,
    operands: (&[f32], &[f32], &[f32]),
    finish: impl Fn(usize, [&mut [f32]; N]) + Sync,
) -> [Vec<f32>; N] {
    match algorithm {
        Algorithm::Direct => direct::forward(shape, operands, finish),
        Algorithm::F2x2 => winograd::forward(tile::F2, shape, operands, finish),
        Algorithm::F4x4 => winograd::forward(tile::F4, shape, operands, finish),
        Algorithm::P2x2 => winograd::forward(tile::P2, shape, operands, finish),
    }
}

/// Gradients of [`forward`] for input, taps and the output's gradient; that of the input only if `with_input`. The bias's is
/// [`sum_images`].
pub(crate) fn backward(
    algorithm: Algorithm,
    shape: ConvShape,
    operands: (&[f32], &[f32], &[f32]),
    with_input: bool,
) -> Gradients {
    match algorithm {
        Algorithm::Direct => direct::backward(shape, operands, with_input),
        Algorithm::F2x2 => winograd::backward(tile::F2, shape, operands, with_input),
        Algorithm::F4x4 => winograd::backward(tile::F4, shape, operands, with_input),
        Algorithm::P2x2 => winograd::backward(tile::P2, shape, operands, with_input),
    }
}

#[cfg(test)]
mod tests;
