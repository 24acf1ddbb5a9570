//! The largest value of each window, forward and backward, over `[channels, height, width, images]`.

use pulp::{Arch, Simd, WithSimd};

use super::fresh::filled;
use super::scratch::with_scratch;
use super::shape::Window;

/// Sizes of one pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pooling {
    /// Height and width of the input.
    pub(crate) sides: [usize; 2],
    pub(crate) images: usize,
    pub(crate) window: Window,
}

impl Pooling {
    /// `[channels, h', w', images]` of `x` `[channels, h, w, images]`; padding never wins.
    pub(crate) fn forward(&self, x: &[f32], channels: usize) -> Vec<f32> {
        let [height, width] = self.output_size();
        let row = width * self.images;
        filled(channels * height * row, row.max(1), |index, y| {
            let x = &x[index / height * self.plane()..][..self.plane()];
            for (column, y) in y.chunks_exact_mut(self.images).enumerate() {
                let mut positions = self.positions([index % height, column]);
                if let Some(first) = positions.next() {
                    y.copy_from_slice(&x[first..][..self.images]);
                }
                for at in positions {
                    Arch::new().dispatch(Largest { y, x: &x[at..][..self.images] });
                }
            }
        })
    }

    /// The gradient of `x` for that of the output: all of a window's goes to its first largest value, row by row.
    pub(crate) fn backward(&self, x: &[f32], dy: &[f32], channels: usize) -> Vec<f32> {
        let [height, width] = self.output_size();
        let outputs = height * width * self.images;
        filled(channels * self.plane(), self.plane().max(1), |channel, dx| {
            let x = &x[channel * self.plane()..][..self.plane()];
            let dy = &dy[channel * outputs..][..outputs];
            with_scratch([self.images; 2], |largest, rest| {
                for (index, dy) in dy.chunks_exact(self.images).enumerate() {
                    let output = [index / width, index % width];
                    largest.fill(f32::NEG_INFINITY);
                    for at in self.positions(output) {
                        Arch::new().dispatch(Largest { y: largest, x: &x[at..][..self.images] });
                    }
                    rest.copy_from_slice(dy);
                    for at in self.positions(output) {
                        let (x, dx) = (&x[at..][..self.images], &mut dx[at..][..self.images]);
                        Arch::new().dispatch(Credit { x, largest, rest, dx });
                    }
                }
            });
        })
    }

    pub(crate) fn output_size(&self) -> [usize; 2] {
        self.sides.map(|side| self.window.outputs(side))
    }

    fn plane(&self) -> usize {
        self.sides[0] * self.sides[1] * self.images
    }

    /// Where the values under an output's window begin in a plane, row by row, without padding.
    fn positions(&self, [y, x]: [usize; 2]) -> impl Iterator<Item = usize> {
        let [rows, columns] =
            [(y, self.sides[0]), (x, self.sides[1])].map(|(at, side)| self.window.of(at, side));
        let (width, images) = (self.sides[1], self.images);
        rows.flat_map(move |row| columns.clone().map(move |column| (row * width + column) * images))
    }
}

/// `y = max(y, x)`; NaN if one is, so that a diverging network shows.
struct Largest<'a> {
    y: &'a mut [f32],
    x: &'a [f32],
}

impl WithSimd for Largest<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (y, &x) in self.y.iter_mut().zip(self.x) {
            *y = if x > *y || x.is_nan() { x } else { *y };
        }
    }
}

/// Gives what is left of the gradient to the values that are the largest.
struct Credit<'a> {
    x: &'a [f32],
    largest: &'a [f32],
    rest: &'a mut [f32],
    dx: &'a mut [f32],
}

impl WithSimd for Credit<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let lanes = self.dx.iter_mut().zip(self.rest).zip(self.x).zip(self.largest);
        for (((dx, rest), &x), &largest) in lanes {
            let given = if x == largest { *rest } else { 0.0 };
            *dx += given;
            *rest -= given;
        }
    }
}
