//! Batch normalization with an optional ReLU behind it, forward and backward, one channel at a time.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::fresh::filled;

/// Partial sums that one vector of additions updates.
const SUMS: usize = 16;

/// Statistics of each channel and what follows the normalization.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Normalizer {
    /// `[channels]`.
    pub(crate) mean: Vec<f32>,
    /// `1/sqrt(variance + ε)`, `[channels]`.
    pub(crate) inverse: Vec<f32>,
    /// Whether the statistics are those of the input itself, so that gradients flow through them.
    pub(crate) of_batch: bool,
    pub(crate) relu: bool,
}

/// Gradients of [`Normalizer::normalize`].
pub(crate) struct NormGradients {
    /// As the input.
    pub(crate) input: Vec<f32>,
    /// `[channels]`.
    pub(crate) gamma: Vec<f32>,
    /// `[channels]`.
    pub(crate) beta: Vec<f32>,
}

/// Mean and (biased) variance of each of the equal parts of `x`.
pub(crate) fn moments(x: &[f32], channels: usize) -> (Vec<f32>, Vec<f32>) {
    let plane = (x.len() / channels.max(1)).max(1);
    x.par_chunks_exact(plane).map(|x| Arch::new().dispatch(Moments { x })).unzip()
}

impl Normalizer {
    /// `(x − mean)·inverse·gamma + beta`, then the ReLU.
    pub(crate) fn normalize(&self, x: &[f32], gamma: &[f32], beta: &[f32]) -> Vec<f32> {
        let plane = (x.len() / self.mean.len().max(1)).max(1);
        filled(x.len(), plane, |channel, y| {
            let factor = self.inverse[channel] * gamma[channel];
            let (mean, offset, relu) = (self.mean[channel], beta[channel], self.relu);
            let x = &x[channel * plane..][..plane];
            Arch::new().dispatch(Affine { x, y, mean, factor, offset, relu });
        })
    }

    /// Gradients for the output's gradient `upstream`.
    pub(crate) fn gradients(
        &self,
        x: &[f32],
        gamma: &[f32],
        beta: &[f32],
        mut upstream: Vec<f32>,
    ) -> NormGradients {
        let plane = (x.len() / self.mean.len().max(1)).max(1);
        let channels = upstream.par_chunks_exact_mut(plane).zip(x.par_chunks_exact(plane)).enumerate();
        let (gamma, beta) = channels
            .map(|(channel, (gradient, x))| {
                let (mean, inverse) = (self.mean[channel], self.inverse[channel]);
                let (gamma, beta) = (gamma[channel], beta[channel]);
                let (relu, of_batch) = (self.relu, self.of_batch);
                Arch::new().dispatch(Backward { x, gradient, mean, inverse, gamma, beta, relu, of_batch })
            })
            .unzip();
        NormGradients { input: upstream, gamma, beta }
    }
}

struct Moments<'a> {
    x: &'a [f32],
}

impl WithSimd for Moments<'_> {
    type Output = (f32, f32);

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> (f32, f32) {
        let count = self.x.len() as f32;
        let (body, tail) = self.x.as_chunks::<SUMS>();
        let mut sums = [0.0_f32; SUMS];
        for x in body {
            for lane in 0..SUMS {
                sums[lane] += x[lane];
            }
        }
        let mean = (sums.iter().sum::<f32>() + tail.iter().sum::<f32>()) / count;
        let mut squares = [0.0_f32; SUMS];
        for x in body {
            for lane in 0..SUMS {
                squares[lane] += (x[lane] - mean) * (x[lane] - mean);
            }
        }
        let rest: f32 = tail.iter().map(|x| (x - mean) * (x - mean)).sum();
        (mean, (squares.iter().sum::<f32>() + rest) / count)
    }
}

struct Affine<'a> {
    x: &'a [f32],
    y: &'a mut [f32],
    mean: f32,
    factor: f32,
    offset: f32,
    relu: bool,
}

impl WithSimd for Affine<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let floor = if self.relu { 0.0 } else { f32::NEG_INFINITY };
        for (y, x) in self.y.iter_mut().zip(self.x) {
            let affine = (x - self.mean) * self.factor + self.offset;
            // Not `max`, which would hide a NaN from whoever looks for it.
            *y = if affine < floor { floor } else { affine };
        }
    }
}

struct Backward<'a> {
    x: &'a [f32],
    /// The output's gradient; becomes the input's.
    gradient: &'a mut [f32],
    mean: f32,
    inverse: f32,
    gamma: f32,
    beta: f32,
    relu: bool,
    of_batch: bool,
}

impl WithSimd for Backward<'_> {
    /// Gradients of gamma and beta.
    type Output = (f32, f32);

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> (f32, f32) {
        let Self { x, gradient, mean, inverse, gamma, beta, relu, of_batch } = self;
        let factor = inverse * gamma;
        let floor = if relu { 0.0 } else { f32::NEG_INFINITY };
        let (mut sums, mut products) = ([0.0_f32; SUMS], [0.0_f32; SUMS]);
        for (x, gradient) in x.chunks(SUMS).zip(gradient.chunks_mut(SUMS)) {
            for ((x, gradient), (sum, product)) in
                x.iter().zip(gradient).zip(sums.iter_mut().zip(&mut products))
            {
                let y = (x - mean) * factor + beta;
                *gradient = if y <= floor { 0.0 } else { *gradient };
                *sum += *gradient;
                *product += *gradient * (x - mean);
            }
        }
        let beta_gradient: f32 = sums.iter().sum();
        let gamma_gradient = products.iter().sum::<f32>() * inverse;
        let share = if of_batch { 1.0 / x.len() as f32 } else { 0.0 };
        let (constant, slope) = (beta_gradient * share, gamma_gradient * inverse * share);
        for (x, gradient) in x.iter().zip(gradient) {
            *gradient = factor * (*gradient - constant - slope * (x - mean));
        }
        (gamma_gradient, beta_gradient)
    }
}
