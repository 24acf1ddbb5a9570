//! Two-dimensional tile transforms of a strip, forward and adjoint.
//!
//! Neighbouring tiles share columns (`t − m` for stride 1): a window of columns slides over a row of tiles, so each column is loaded
//! and transformed vertically once. Loops instead of iterator adapters and closures, see [`super::lanes`].
#![allow(clippy::needless_range_loop, reason = "indices transpose small register arrays")]

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::halo::Sink;
use super::lanes::{add, load, plus, store};
use super::strip::{Strip, tap_stride};
use super::tile::Tile;
use super::winograd::Plan;

/// `v[tap][in][column] = (Bᵀ d B)[tap]` for the strip's tiles d.
pub(super) struct InputTransform<'a, A, const T: usize, const M: usize> {
    pub(super) tile: A,
    pub(super) plan: Plan,
    pub(super) strip: &'a Strip,
    pub(super) x: &'a [f32],
    pub(super) v: &'a mut [f32],
}

impl<A: Tile<T, M>, const T: usize, const M: usize> InputTransform<'_, A, T, M> {
    /// One channel and one vector of images.
    #[inline(always)]
    fn slide<S: Simd>(&mut self, simd: S, channel: usize, images: Range<usize>) {
        let (columns, lanes) = (self.strip.columns(), self.strip.images.len());
        let tap_stride = tap_stride(self.plan.shape.inputs, columns);
        let first = self.strip.tiles.start * A::STEP;
        let mut window = [[simd.splat_f32s(0.0); T]; T];
        for j in A::STEP..T {
            window[j] = self.column(simd, channel, first + j - A::STEP, &images);
        }
        for index in 0..self.strip.tiles.len() {
            for j in 0..T - A::STEP {
                window[j] = window[j + A::STEP];
            }
            for j in T - A::STEP..T {
                window[j] = self.column(simd, channel, first + index * A::STEP + j, &images);
            }
            let at = channel * columns + index * lanes + images.start - self.strip.images.start;
            for i in 0..T {
                let mut row = [simd.splat_f32s(0.0); T];
                for j in 0..T {
                    row[j] = window[j][i];
                }
                let taps = self.tile.input(simd, row);
                for j in 0..T {
                    store(simd, &mut self.v[(i * T + j) * tap_stride + at..][..images.len()], taps[j]);
                }
            }
        }
    }

    /// Column `at` of the padded image, transformed.
    #[inline(always)]
    fn column<S: Simd>(&self, simd: S, channel: usize, at: usize, images: &Range<usize>) -> [S::f32s; T] {
        let shape = &self.plan.shape;
        let mut d = [simd.splat_f32s(0.0); T];
        let x = at.wrapping_sub(shape.padding);
        if x >= shape.width {
            return d;
        }
        for i in 0..T {
            let y = (self.strip.row * A::STEP + i).wrapping_sub(shape.padding);
            if y < shape.height {
                let start = ((channel * shape.height + y) * shape.width + x) * shape.images;
                d[i] = load(simd, &self.x[start + images.start..start + images.end]);
            }
        }
        self.tile.input(simd, d)
    }
}

/// `y = Aᵀ m A + bias` for the strip's tiles.
pub(super) struct OutputTransform<'a, 'b, A, const T: usize, const M: usize> {
    pub(super) tile: A,
    pub(super) plan: Plan,
    pub(super) strip: &'a Strip,
    pub(super) m: &'a [f32],
    pub(super) bias: &'a [f32],
    /// `[out]`, each the rows of a band from `first_row` on.
    pub(super) outputs: &'a mut [&'b mut [f32]],
    pub(super) first_row: usize,
}

impl<A: Tile<T, M>, const T: usize, const M: usize> OutputTransform<'_, '_, A, T, M> {
    /// One channel, tile and vector of images.
    #[inline(always)]
    fn tile<S: Simd>(&mut self, simd: S, (channel, index): (usize, usize), images: Range<usize>) {
        let Plan { shape, size: [height, width], .. } = self.plan;
        let (columns, lanes) = (self.strip.columns(), self.strip.images.len());
        let tap_stride = tap_stride(shape.outputs, columns);
        let at = channel * columns + index * lanes + images.start - self.strip.images.start;
        let zero = simd.splat_f32s(0.0);
        let mut vertical = [[zero; M]; T];
        for j in 0..T {
            let mut column = [zero; T];
            for i in 0..T {
                column[i] = load(simd, &self.m[(i * T + j) * tap_stride + at..][..images.len()]);
            }
            vertical[j] = self.tile.output(simd, column);
        }
        let bias = simd.splat_f32s(self.bias[channel]);
        let (row, column) = (self.strip.row * M, (self.strip.tiles.start + index) * M);
        for p in 0..M {
            let mut taps = [zero; T];
            for j in 0..T {
                taps[j] = vertical[j][p];
            }
            let outputs = self.tile.output(simd, taps);
            for q in 0..M {
                if row + p < height && column + q < width {
                    let at = ((row + p - self.first_row) * width + column + q) * shape.images;
                    let into = &mut self.outputs[channel][at + images.start..at + images.end];
                    store(simd, into, plus(simd, outputs[q], bias));
                }
            }
        }
    }
}

/// `dm[tap][out][column] = (A dy Aᵀ)[tap]`.
pub(super) struct OutputAdjoint<'a, A, const T: usize, const M: usize> {
    pub(super) tile: A,
    pub(super) plan: Plan,
    pub(super) strip: &'a Strip,
    pub(super) dy: &'a [f32],
    pub(super) dm: &'a mut [f32],
}

impl<A: Tile<T, M>, const T: usize, const M: usize> OutputAdjoint<'_, A, T, M> {
    /// One channel, tile and vector of images.
    #[inline(always)]
    fn tile<S: Simd>(&mut self, simd: S, (channel, index): (usize, usize), images: Range<usize>) {
        let Plan { shape, size: [height, width], .. } = self.plan;
        let (columns, lanes) = (self.strip.columns(), self.strip.images.len());
        let (row, column) = (self.strip.row * M, (self.strip.tiles.start + index) * M);
        let zero = simd.splat_f32s(0.0);
        let mut horizontal = [[zero; T]; M];
        for p in 0..M {
            let mut gradient = [zero; M];
            for q in 0..M {
                if row + p < height && column + q < width {
                    let at = ((channel * height + row + p) * width + column + q) * shape.images;
                    gradient[q] = load(simd, &self.dy[at + images.start..at + images.end]);
                }
            }
            horizontal[p] = self.tile.output_adjoint(simd, gradient);
        }
        let tap_stride = tap_stride(shape.outputs, columns);
        let at = channel * columns + index * lanes + images.start - self.strip.images.start;
        for j in 0..T {
            let mut column = [zero; M];
            for p in 0..M {
                column[p] = horizontal[p][j];
            }
            let taps = self.tile.output_adjoint(simd, column);
            for i in 0..T {
                store(simd, &mut self.dm[(i * T + j) * tap_stride + at..][..images.len()], taps[i]);
            }
        }
    }
}

/// `dx += B dv Bᵀ`.
pub(super) struct InputAdjoint<'a, 'b, A, const T: usize, const M: usize> {
    pub(super) tile: A,
    pub(super) plan: Plan,
    pub(super) strip: &'a Strip,
    pub(super) dv: &'a [f32],
    pub(super) sink: &'a mut Sink<'b>,
}

impl<A: Tile<T, M>, const T: usize, const M: usize> InputAdjoint<'_, '_, A, T, M> {
    /// One channel and one vector of images.
    #[inline(always)]
    fn slide<S: Simd>(&mut self, simd: S, channel: usize, images: Range<usize>) {
        let (columns, lanes) = (self.strip.columns(), self.strip.images.len());
        let tap_stride = tap_stride(self.plan.shape.inputs, columns);
        let first = self.strip.tiles.start * A::STEP;
        let zero = simd.splat_f32s(0.0);
        let mut window = [[zero; T]; T];
        for index in 0..self.strip.tiles.len() {
            let at = channel * columns + index * lanes + images.start - self.strip.images.start;
            for i in 0..T {
                let mut taps = [zero; T];
                for j in 0..T {
                    taps[j] = load(simd, &self.dv[(i * T + j) * tap_stride + at..][..images.len()]);
                }
                let inputs = self.tile.input_adjoint(simd, taps);
                for j in 0..T {
                    window[j][i] = plus(simd, window[j][i], inputs[j]);
                }
            }
            for j in 0..A::STEP {
                self.add_column(simd, window[j], (channel, first + index * A::STEP + j), &images);
            }
            for j in 0..T {
                window[j] = if j + A::STEP < T { window[j + A::STEP] } else { [zero; T] };
            }
        }
        for j in 0..T - A::STEP {
            let at = first + self.strip.tiles.len() * A::STEP + j;
            self.add_column(simd, window[j], (channel, at), &images);
        }
    }

    /// Adds column `at` of the padded image, vertically not yet transformed.
    #[inline(always)]
    fn add_column<S: Simd>(
        &mut self,
        simd: S,
        column: [S::f32s; T],
        (channel, at): (usize, usize),
        images: &Range<usize>,
    ) {
        let shape = self.plan.shape;
        let x = at.wrapping_sub(shape.padding);
        if x >= shape.width {
            return;
        }
        let inputs = self.tile.input_adjoint(simd, column);
        for i in 0..T {
            let y = (self.strip.row * A::STEP + i).wrapping_sub(shape.padding);
            if y < shape.height {
                let row = self.sink.row(channel, y, self.plan.halo_rows);
                let at = x * shape.images;
                add(simd, &mut row[at + images.start..at + images.end], inputs[i]);
            }
        }
    }
}

/// Runs `$body` for each vector of the strip's images.
macro_rules! for_vectors {
    ($images:ident in $strip:expr, $body:expr) => {
        let Range { start: mut next, end } = $strip.images;
        while next < end {
            let $images = next..end.min(next + S::F32_LANES);
            next = $images.end;
            $body;
        }
    };
}

impl<A: Tile<T, M>, const T: usize, const M: usize> WithSimd for InputTransform<'_, A, T, M> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for channel in 0..self.plan.shape.inputs {
            for_vectors!(images in self.strip, self.slide(simd, channel, images));
        }
    }
}

impl<A: Tile<T, M>, const T: usize, const M: usize> WithSimd for OutputTransform<'_, '_, A, T, M> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for channel in 0..self.plan.shape.outputs {
            for index in 0..self.strip.tiles.len() {
                for_vectors!(images in self.strip, self.tile(simd, (channel, index), images));
            }
        }
    }
}

impl<A: Tile<T, M>, const T: usize, const M: usize> WithSimd for OutputAdjoint<'_, A, T, M> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for channel in 0..self.plan.shape.outputs {
            for index in 0..self.strip.tiles.len() {
                for_vectors!(images in self.strip, self.tile(simd, (channel, index), images));
            }
        }
    }
}

impl<A: Tile<T, M>, const T: usize, const M: usize> WithSimd for InputAdjoint<'_, '_, A, T, M> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for channel in 0..self.plan.shape.inputs {
            for_vectors!(images in self.strip, self.slide(simd, channel, images));
        }
    }
}
