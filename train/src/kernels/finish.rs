//! What ends a quantized unit: the residual is added and the sum rounded while the convolution's output is in the cache.

use pulp::{Arch, Simd, WithSimd};

use super::activation::ActivationQuantizer;

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
