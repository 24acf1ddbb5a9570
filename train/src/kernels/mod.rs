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
mod gemm;
mod halo;
mod lanes;
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
pub(crate) use norm::{Normalizer, moments};
pub(crate) use shape::ConvShape;
pub(crate) use taps::{TapMap, TapQuantizer};
pub(crate) use winograd::Gradients;

/// `y` `[out, h', w', images]` of `x` `[in, h, w, images]`, taps `[positions, out, in]` and a bias for each channel.
pub(crate) fn forward(
    algorithm: Algorithm,
    shape: ConvShape,
    operands: (&[f32], &[f32], &[f32]),
) -> Vec<f32> {
    match algorithm {
        Algorithm::Direct => direct::forward(shape, operands),
        Algorithm::F2x2 => winograd::forward(tile::F2, shape, operands),
        Algorithm::F4x4 => winograd::forward(tile::F4, shape, operands),
    }
}

/// Gradients of [`forward`] for input, taps and the output's gradient; that of the input only if `with_input`.
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
    }
}

#[cfg(test)]
mod tests;
