//! Vectors of lanes: loading and storing them at the edges of slices, and their arithmetic.
//!
//! Functions, not closures: a closure doesn't inherit the caller's instruction set and would stay a call.

use pulp::Simd;

/// The first lanes of `row`, the missing ones zero.
#[inline(always)]
pub(super) fn load<S: Simd>(simd: S, row: &[f32]) -> S::f32s {
    if row.len() >= S::F32_LANES { S::as_simd_f32s(row).0[0] } else { simd.partial_load_f32s(row) }
}

/// Writes as many lanes as `row` has.
#[inline(always)]
pub(super) fn store<S: Simd>(simd: S, row: &mut [f32], lanes: S::f32s) {
    if row.len() >= S::F32_LANES {
        S::as_mut_simd_f32s(row).0[0] = lanes;
    } else {
        simd.partial_store_f32s(row, lanes);
    }
}

/// Adds to as many lanes as `row` has.
#[inline(always)]
pub(super) fn add<S: Simd>(simd: S, row: &mut [f32], lanes: S::f32s) {
    let sum = simd.add_f32s(load(simd, row), lanes);
    store(simd, row, sum);
}

/// `a + b`.
#[inline(always)]
pub(super) fn plus<S: Simd>(simd: S, a: S::f32s, b: S::f32s) -> S::f32s {
    simd.add_f32s(a, b)
}

/// `a − b`.
#[inline(always)]
pub(super) fn minus<S: Simd>(simd: S, a: S::f32s, b: S::f32s) -> S::f32s {
    simd.sub_f32s(a, b)
}

/// `factor·a + b`.
#[inline(always)]
pub(super) fn fma<S: Simd>(simd: S, factor: f32, a: S::f32s, b: S::f32s) -> S::f32s {
    simd.mul_add_f32s(simd.splat_f32s(factor), a, b)
}
