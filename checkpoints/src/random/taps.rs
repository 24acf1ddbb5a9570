//! Float weights where they are quantized: Winograd taps, or kernel positions of a direct convolution.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::quantize::Unit;
use crate::codebook::Codebook;

/// Correlation of a kernel's elements: training makes kernels smooth, so high frequencies get finer scales.
const LIKENESS: f32 = 0.5;

/// Weights `[positions][out][in]` of one layer.
pub(super) struct Taps {
    values: Vec<f32>,
    out_channels: usize,
    in_channels: usize,
    /// Scales of an output channel: Winograd taps, or 1.
    taps: usize,
    /// What codes stand for: one for all taps or one for each.
    books: Vec<Codebook>,
    /// Whether all channels share their scale, so that logits compare.
    one_scale: bool,
}

impl Taps {
    /// Normal of variance `2/(in·kernel²)`, elements of a kernel alike, times `factors` by input channel, then `(G⊗G)·w`.
    pub(super) fn draw(rng: &mut ChaCha8Rng, unit: &Unit<'_>, factors: &[f32]) -> Self {
        let (conv, plan) = (&unit.conv, unit.plan);
        let area = conv.kernel * conv.kernel;
        let deviation = (2.0 / (conv.in_channels * area) as f32).sqrt();
        let kernels: Vec<Vec<f32>> = (0..conv.out_channels * conv.in_channels)
            .map(|pair| {
                let factor = deviation * factors[pair % conv.in_channels];
                let common = LIKENESS.sqrt() * normal(rng);
                let own = (1.0 - LIKENESS).sqrt();
                (0..area).map(|_| factor * (common + own * normal(rng))).collect()
            })
            .collect();
        let values = match plan.algorithm.transform() {
            Some(transform) => {
                let rows = transform.kernel_coefficients();
                let tap = |row: &[f32], kernel: &[f32]| row.iter().zip(kernel).map(|(g, w)| g * w).sum();
                rows.iter().flat_map(|row| kernels.iter().map(move |kernel| tap(row, kernel))).collect()
            }
            None => (0..area).flat_map(|at| kernels.iter().map(move |kernel| kernel[at])).collect(),
        };
        Self {
            values,
            out_channels: conv.out_channels,
            in_channels: conv.in_channels,
            taps: plan.algorithm.taps(),
            books: plan
                .weight_exponents()
                .iter()
                .map(|list| Codebook::new(list, plan.weight_offset()))
                .collect(),
            one_scale: unit.one_scale,
        }
    }

    /// Folds batch normalization: every weight of output channel `o` times `factors[o]`.
    pub(super) fn scale_channels(&mut self, factors: &[f32]) {
        for (row, factor) in self.values.chunks_mut(self.in_channels).zip(factors.iter().cycle()) {
            row.iter_mut().for_each(|value| *value *= factor);
        }
    }

    /// Exponents of the codes, `[taps][out]`. A tap without bits takes the finest of its channel's others, which shifts nothing.
    pub(super) fn exponents(&self) -> Vec<Vec<i32>> {
        if self.one_scale {
            let best = self.books[0].best_exponent(&self.values).unwrap_or(0);
            return vec![vec![best; self.out_channels]; self.taps];
        }
        let channel = |group: &[f32], out: usize| -> Vec<f32> {
            let rows = group.chunks(self.in_channels).skip(out).step_by(self.out_channels);
            rows.flatten().copied().collect()
        };
        let groups: Vec<&[f32]> = self.values.chunks(self.values.len() / self.taps).collect();
        let mut exponents = vec![vec![0; self.out_channels]; self.taps];
        for out in 0..self.out_channels {
            let best = |(tap, group): (usize, &&[f32])| self.book(tap).best_exponent(&channel(group, out));
            let found: Vec<Option<i32>> = groups.iter().enumerate().map(best).collect();
            let finest = found.iter().flatten().copied().min().unwrap_or(0);
            exponents.iter_mut().zip(found).for_each(|(row, found)| row[out] = found.unwrap_or(finest));
        }
        exponents
    }

    /// The nearest code to every weight.
    pub(super) fn codes(&self, exponents: &[Vec<i32>]) -> Vec<i8> {
        let rows_a_tap = self.values.len() / self.in_channels / self.taps;
        let rows = self.values.chunks(self.in_channels).enumerate();
        rows.flat_map(|(row, values)| {
            let tap = row / rows_a_tap;
            let step = 2.0_f32.powi(exponents[tap][row % self.out_channels]);
            let book = self.book(tap);
            // Every nearest value has a code.
            values.iter().map(move |value| book.code(book.nearest(value / step)).unwrap_or(0))
        })
        .collect()
    }

    fn book(&self, tap: usize) -> &Codebook {
        if self.books.len() == 1 { &self.books[0] } else { &self.books[tap] }
    }
}

/// A standard normal number (Box and Muller 1958).
pub(super) fn normal(rng: &mut ChaCha8Rng) -> f32 {
    let uniform: f32 = rng.random();
    let radius = (-2.0 * (1.0 - uniform).ln()).sqrt();
    radius * (std::f32::consts::TAU * rng.random::<f32>()).cos()
}
