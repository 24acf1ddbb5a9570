//! Sums over the positions and images of each channel.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Sum over positions and images of each channel.
pub(crate) fn sum_images(dy: &[f32], channels: usize) -> Vec<f32> {
    let each = dy.len() / channels.max(1);
    dy.par_chunks(each.max(1)).map(|plane| Arch::new().dispatch(Sum(plane))).collect()
}

struct Sum<'a>(&'a [f32]);

impl WithSimd for Sum<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        let (body, tail) = S::as_simd_f32s(self.0);
        let mut sums = [simd.splat_f32s(0.0); 4];
        for chunk in body.chunks(4) {
            sums.iter_mut().zip(chunk).for_each(|(sum, &lanes)| *sum = simd.add_f32s(*sum, lanes));
        }
        let total = simd.add_f32s(simd.add_f32s(sums[0], sums[1]), simd.add_f32s(sums[2], sums[3]));
        simd.reduce_sum_f32s(simd.add_f32s(total, simd.partial_load_f32s(tail)))
    }
}
