//! What ends a quantized unit: the residual is added and the sum rounded, while the convolution's output is in the cache
//! unless a normalization comes between.

use std::borrow::Cow;

use pulp::{Arch, Simd, WithSimd};

use super::activation::ActivationQuantizer;
use super::fresh::filled;

/// Numbers a thread finishes at a time.
const CHUNK: usize = 1 << 13;

/// What follows a convolution in its unit.
pub(crate) struct Finish<'a> {
    /// As the output.
    pub(crate) residual: Option<&'a [f32]>,
    pub(crate) activation: ActivationQuantizer,
}

impl Finish<'_> {
    /// Adds the residual's numbers from `start` on to `y`, and rounds the sum into `rounded`.
    pub(super) fn row(&self, start: usize, y: &mut [f32], rounded: &mut [f32]) {
        if let Some(residual) = self.residual {
            Arch::new().dispatch(Add { residual: &residual[start..], y });
        }
        self.activation.quantize(y, rounded);
    }

    /// All of `y` at once: the sum's rounding, where something is between the convolution and its end.
    pub(crate) fn rounded(&self, y: &[f32]) -> Vec<f32> {
        filled(y.len(), CHUNK, |index, rounded| {
            let start = CHUNK * index;
            let mut sum = y[start..start + rounded.len()].to_vec();
            self.row(start, &mut sum, rounded);
        })
    }

    /// All of `y` plus the residual.
    pub(crate) fn sum<'y>(&self, y: &'y [f32]) -> Cow<'y, [f32]> {
        let Some(residual) = self.residual else { return Cow::Borrowed(y) };
        Cow::Owned(filled(y.len(), CHUNK, |index, sum| {
            let start = CHUNK * index;
            sum.copy_from_slice(&y[start..start + sum.len()]);
            Arch::new().dispatch(Add { residual: &residual[start..], y: sum });
        }))
    }
}

struct Add<'a> {
    residual: &'a [f32],
    y: &'a mut [f32],
}

impl WithSimd for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (y, residual) in self.y.iter_mut().zip(self.residual) {
            *y += residual;
        }
    }
}
