//! From kernels to quantized tap weights, and back for gradients.
//!
//! `U = (G⊗G)·(w·factors)` is rounded to the codebook of its layer or tap at a power-of-two step for each tap and output
//! channel. Gradients pass straight through the rounding and stop where a weight is clipped, off by more than half a step; a
//! step's gradient is that of learned step sizes (Esser et al. 2020, eq. 3), with respect to its logarithm.

use eqo_checkpoints::codebook::Codebook;
use eqo_checkpoints::winograd::Transform;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Sizes and constants that map a kernel `[out, in, k, k]` to tap weights `[positions, out, in]`.
#[derive(Clone, Debug)]
pub(crate) struct TapMap {
    outputs: usize,
    inputs: usize,
    squares: usize,
    /// `(G⊗G)`, `[positions][k²]`; the identity for direct convolution.
    coefficients: Vec<Vec<f32>>,
    /// Constant factor of each input channel.
    factors: Vec<f32>,
}

/// How tap weights are rounded.
#[derive(Clone, Debug)]
pub(crate) struct TapQuantizer {
    /// One for all positions or one for each.
    pub(crate) codebooks: Vec<Codebook>,
    /// Exponents of the steps, `[rows][groups]`: a row for each position or one for all, a group for each output channel
    /// or one for all.
    pub(crate) exponents: Vec<Vec<i32>>,
}

/// Gradients of [`TapQuantizer::quantize`].
pub(crate) struct TapGradients {
    /// `[positions, out, in]`.
    pub(crate) taps: Vec<f32>,
    /// Of the logarithms of the steps, `[rows, groups]`.
    pub(crate) log2_step: Vec<f32>,
}

impl TapMap {
    /// The map of a `[out, in, k, k]` kernel; `factors` has one number for each input channel.
    pub(crate) fn new(shape: [usize; 4], transform: Option<&Transform>, factors: &[f32]) -> Self {
        let [outputs, inputs, height, width] = shape;
        let squares = height * width;
        let identity =
            || (0..squares).map(|row| (0..squares).map(|at| f32::from(u8::from(row == at))).collect());
        let coefficients = transform.map_or_else(|| identity().collect(), Transform::kernel_coefficients);
        Self { outputs, inputs, squares, coefficients, factors: factors.to_vec() }
    }

    /// Tap weights `[positions, out, in]` of `weight`.
    pub(crate) fn taps(&self, weight: &[f32]) -> Vec<f32> {
        let rows = self.outputs * self.inputs;
        let mut elements = vec![0.0; self.squares * rows];
        for (row, kernel) in weight.chunks_exact(self.squares).enumerate() {
            let factor = self.factors[row % self.inputs];
            for (at, &value) in kernel.iter().enumerate() {
                elements[at * rows + row] = value * factor;
            }
        }
        let mut taps = vec![0.0; self.coefficients.len() * rows];
        taps.par_chunks_exact_mut(rows).zip(&self.coefficients).for_each(|(tap, coefficients)| {
            accumulate(tap, coefficients, &elements);
        });
        taps
    }

    /// The adjoint of [`TapMap::taps`]: the gradient of the kernel, `[out, in, k, k]`.
    pub(crate) fn adjoint(&self, taps: &[f32]) -> Vec<f32> {
        let rows = self.outputs * self.inputs;
        let mut elements = vec![0.0; self.squares * rows];
        elements.par_chunks_exact_mut(rows).enumerate().for_each(|(at, element)| {
            let column: Vec<f32> = self.coefficients.iter().map(|row| row[at]).collect();
            accumulate(element, &column, taps);
        });
        let mut weight = vec![0.0; elements.len()];
        for (row, kernel) in weight.chunks_exact_mut(self.squares).enumerate() {
            let factor = self.factors[row % self.inputs];
            for (at, value) in kernel.iter_mut().enumerate() {
                *value = elements[at * rows + row] * factor;
            }
        }
        weight
    }
}

/// `into += Σ coefficient·part`, parts as long as `into`.
fn accumulate(into: &mut [f32], coefficients: &[f32], parts: &[f32]) {
    let length = into.len();
    for (&coefficient, part) in coefficients.iter().zip(parts.chunks_exact(length)) {
        if coefficient != 0.0 {
            into.iter_mut().zip(part).for_each(|(into, value)| *into += coefficient * value);
        }
    }
}

impl TapQuantizer {
    /// Tap weights `[positions, out, in]` rounded to the codebook.
    pub(crate) fn quantize(&self, taps: &[f32], [outputs, inputs]: [usize; 2]) -> Vec<f32> {
        let mut quantized = vec![0.0; taps.len()];
        let rows = quantized.par_chunks_exact_mut(inputs).zip(taps.par_chunks_exact(inputs)).enumerate();
        rows.for_each(|(row, (quantized, taps))| {
            let (codebook, steps) = (self.codebook(row / outputs), self.step(row / outputs, row % outputs));
            Arch::new().dispatch(RoundRow { codebook, steps, taps, quantized });
        });
        quantized
    }

    /// The codes of [`TapQuantizer::quantize`]'s values; `None` if a tap isn't a number.
    pub(crate) fn codes(&self, taps: &[f32], [outputs, inputs]: [usize; 2]) -> Option<Vec<i8>> {
        let code = |(index, &tap): (usize, &f32)| {
            let (position, output) = (index / inputs / outputs, index / inputs % outputs);
            let (codebook, (_, inverse)) = (self.codebook(position), self.step(position, output));
            codebook.code(codebook.nearest(tap * inverse))
        };
        taps.iter().enumerate().map(code).collect()
    }

    /// Gradients for that of the rounded taps.
    pub(crate) fn gradients(
        &self,
        taps: &[f32],
        [outputs, inputs]: [usize; 2],
        mut upstream: Vec<f32>,
    ) -> TapGradients {
        let row_gradient = |(row, (upstream, taps)): (usize, (&mut [f32], &[f32]))| {
            let (step, inverse) = self.step(row / outputs, row % outputs);
            let codebook = self.codebook(row / outputs);
            Arch::new().dispatch(RowGradient { codebook, inverse, taps, upstream }) * step
        };
        let rows = upstream.par_chunks_exact_mut(inputs).zip(taps.par_chunks_exact(inputs)).enumerate();
        let sums: Vec<f32> = rows.map(row_gradient).collect();
        let (lines, groups) = (self.exponents.len(), self.exponents.first().map_or(1, Vec::len));
        let mut log2_step = vec![0.0; lines * groups];
        for (row, sum) in sums.into_iter().enumerate() {
            log2_step[(row / outputs).min(lines - 1) * groups + (row % outputs).min(groups - 1)] += sum;
        }
        let shared = taps.len() as f32 / (lines * groups) as f32;
        for (line, gradients) in log2_step.chunks_mut(groups).enumerate() {
            let (_, high) = self.codebook(line).range();
            let damping = std::f32::consts::LN_2 / (shared * high.max(1.0)).sqrt();
            gradients.iter_mut().for_each(|gradient| *gradient *= damping);
        }
        TapGradients { taps: upstream, log2_step }
    }

    fn codebook(&self, position: usize) -> &Codebook {
        &self.codebooks[position.min(self.codebooks.len() - 1)]
    }

    /// Step of a position and output channel, and one over it.
    fn step(&self, position: usize, output: usize) -> (f32, f32) {
        let row = &self.exponents[position.min(self.exponents.len() - 1)];
        let exponent = row[output.min(row.len() - 1)];
        (2.0_f32.powi(exponent), 2.0_f32.powi(-exponent))
    }
}

/// Rounds the taps of one position and output channel.
struct RoundRow<'a> {
    codebook: &'a Codebook,
    /// Step and its inverse.
    steps: (f32, f32),
    taps: &'a [f32],
    quantized: &'a mut [f32],
}

impl WithSimd for RoundRow<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (step, inverse) = self.steps;
        for (quantized, &tap) in self.quantized.iter_mut().zip(self.taps) {
            *quantized = self.codebook.nearest(tap * inverse) * step;
        }
    }
}

/// Gradients of the taps of one position and output channel, and (returned) of its step's logarithm over the step.
struct RowGradient<'a> {
    codebook: &'a Codebook,
    inverse: f32,
    taps: &'a [f32],
    upstream: &'a mut [f32],
}

impl WithSimd for RowGradient<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f32 {
        let (low, high) = self.codebook.clip();
        let mut sum = 0.0;
        for (gradient, &tap) in self.upstream.iter_mut().zip(self.taps) {
            let x = tap * self.inverse;
            let nearest = self.codebook.nearest(x);
            let inside = x >= low && x <= high;
            sum += *gradient * if inside { nearest - x } else { nearest };
            *gradient = if inside { *gradient } else { 0.0 };
        }
        sum
    }
}
