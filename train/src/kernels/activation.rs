//! Fake quantization of activations, `clamp(floor(x/s + 0.5), 0, 2^bits − 1)·s`, in one pass each way.

use eqo_checkpoints::scales::round_half_up;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Scale and range of an activation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ActivationQuantizer {
    /// Exponent of the step s.
    pub(crate) exponent: i32,
    /// `2^bits − 1`.
    pub(crate) largest: f32,
}

impl ActivationQuantizer {
    /// Rounds `x` into `rounded`, which is as long.
    pub(super) fn quantize(&self, x: &[f32], rounded: &mut [f32]) {
        let (step, inverse) = self.steps();
        Arch::new().dispatch(Quantize { x, rounded, step, inverse, largest: self.largest });
    }

    /// The gradient of `x` `[channels, …]`, into `upstream`: unchanged inside the range and 0 outside. Returns that of the
    /// step's logarithm, not damped: `Σ g·s·ln 2·(q − x/s)` inside, `(2^bits − 1)` above, 0 below; and the sum of the
    /// gradient of `x` over each channel, which is that of a bias.
    pub(crate) fn gradients(&self, x: &[f32], upstream: &mut [f32], channels: usize) -> (f32, Vec<f32>) {
        let (step, inverse) = self.steps();
        let part = |(upstream, x): (&mut [f32], &[f32])| {
            Arch::new().dispatch(Gradients { x, upstream, inverse, largest: self.largest })
        };
        let plane = (x.len() / channels.max(1)).max(1);
        // Collected in order: the sums' bits must not depend on which thread finishes first.
        let sums: Vec<(f32, f32)> =
            upstream.par_chunks_mut(plane).zip(x.par_chunks(plane)).map(part).collect();
        let (slopes, biases): (Vec<f32>, Vec<f32>) = sums.into_iter().unzip();
        (slopes.into_iter().sum::<f32>() * step * std::f32::consts::LN_2, biases)
    }

    fn steps(&self) -> (f32, f32) {
        (2.0_f32.powi(self.exponent), 2.0_f32.powi(-self.exponent))
    }
}

struct Quantize<'a> {
    x: &'a [f32],
    rounded: &'a mut [f32],
    step: f32,
    inverse: f32,
    largest: f32,
}

impl WithSimd for Quantize<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (rounded, x) in self.rounded.iter_mut().zip(self.x) {
            *rounded = round_half_up(x * self.inverse).clamp(0.0, self.largest) * self.step;
        }
    }
}

struct Gradients<'a> {
    x: &'a [f32],
    upstream: &'a mut [f32],
    inverse: f32,
    largest: f32,
}

/// Partial sums that one vector of additions updates.
const SUMS: usize = 16;

impl WithSimd for Gradients<'_> {
    /// Sums of the slopes and of the gradients.
    type Output = (f32, f32);

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> (f32, f32) {
        let Self { x, upstream, inverse, largest } = self;
        let (mut sums, mut totals) = ([0.0_f32; SUMS], [0.0_f32; SUMS]);
        let (x_body, x_tail) = x.as_chunks::<SUMS>();
        let (g_body, g_tail) = upstream.as_chunks_mut::<SUMS>();
        for (x, g) in x_body.iter().zip(g_body) {
            for lane in 0..SUMS {
                let (gradient, slope) = one(x[lane] * inverse, g[lane], largest);
                g[lane] = gradient;
                sums[lane] += slope;
                totals[lane] += gradient;
            }
        }
        for ((x, g), (sum, total)) in x_tail.iter().zip(g_tail).zip(sums.iter_mut().zip(&mut totals)) {
            let (gradient, slope) = one(x * inverse, *g, largest);
            *g = gradient;
            *sum += slope;
            *total += gradient;
        }
        (sums.iter().sum(), totals.iter().sum())
    }
}

/// Gradients of the value and of the step for one value of `x` steps.
#[inline(always)]
fn one(x: f32, upstream: f32, largest: f32) -> (f32, f32) {
    let inside = x >= 0.0 && x <= largest;
    let rounding = if inside { round_half_up(x) - x } else { 0.0 };
    let slope = if x > largest { largest } else { rounding };
    (if inside { upstream } else { 0.0 }, upstream * slope)
}
