//! One-dimensional Winograd transforms of vectors of lanes, and their adjoints.
//!
//! A tile's two-dimensional transform applies one to its columns and then to its rows. The coefficients are those of
//! [`eqo_checkpoints::winograd::Transform`], written out so that they compile to additions; a test compares them.

use pulp::Simd;

use super::lanes::{fma, minus as sub, plus as add};

/// F(m x m, 3x3) with tiles of `T` inputs and `M = m` outputs, over lanes of images.
pub(crate) trait Tile<const T: usize, const M: usize>: Copy + Send + Sync {
    /// Inputs from one tile to the next: M times the stride.
    const STEP: usize;

    /// `Bᵀ·d`.
    fn input<S: Simd>(self, simd: S, d: [S::f32s; T]) -> [S::f32s; T];
    /// `B·v`, the adjoint of [`Tile::input`].
    fn input_adjoint<S: Simd>(self, simd: S, v: [S::f32s; T]) -> [S::f32s; T];
    /// `Aᵀ·m`.
    fn output<S: Simd>(self, simd: S, m: [S::f32s; T]) -> [S::f32s; M];
    /// `A·y`, the adjoint of [`Tile::output`].
    fn output_adjoint<S: Simd>(self, simd: S, y: [S::f32s; M]) -> [S::f32s; T];
}

/// F(2x2, 3x3).
#[derive(Clone, Copy)]
pub(crate) struct F2;

/// F(4x4, 3x3) at the points 0, ±1, ±2 and infinity.
#[derive(Clone, Copy)]
pub(crate) struct F4;

/// F(2x2, 3x3) for stride 2, by phases.
#[derive(Clone, Copy)]
pub(crate) struct P2;

impl Tile<4, 2> for F2 {
    const STEP: usize = 2;

    #[inline(always)]
    fn input<S: Simd>(self, simd: S, d: [S::f32s; 4]) -> [S::f32s; 4] {
        [sub(simd, d[0], d[2]), add(simd, d[1], d[2]), sub(simd, d[2], d[1]), sub(simd, d[1], d[3])]
    }

    #[inline(always)]
    fn input_adjoint<S: Simd>(self, simd: S, v: [S::f32s; 4]) -> [S::f32s; 4] {
        [
            v[0],
            add(simd, sub(simd, v[1], v[2]), v[3]),
            sub(simd, add(simd, v[1], v[2]), v[0]),
            simd.neg_f32s(v[3]),
        ]
    }

    #[inline(always)]
    fn output<S: Simd>(self, simd: S, m: [S::f32s; 4]) -> [S::f32s; 2] {
        [add(simd, add(simd, m[0], m[1]), m[2]), sub(simd, sub(simd, m[1], m[2]), m[3])]
    }

    #[inline(always)]
    fn output_adjoint<S: Simd>(self, simd: S, y: [S::f32s; 2]) -> [S::f32s; 4] {
        [y[0], simd.add_f32s(y[0], y[1]), simd.sub_f32s(y[0], y[1]), simd.neg_f32s(y[1])]
    }
}

impl Tile<6, 4> for F4 {
    const STEP: usize = 4;

    #[inline(always)]
    fn input<S: Simd>(self, simd: S, d: [S::f32s; 6]) -> [S::f32s; 6] {
        let (even, odd) = (fma(simd, -4.0, d[2], d[4]), fma(simd, -4.0, d[1], d[3]));
        let (difference, twice) = (sub(simd, d[4], d[2]), sub(simd, d[3], d[1]));
        let twice = add(simd, twice, twice);
        [
            fma(simd, 4.0, d[0], fma(simd, -5.0, d[2], d[4])),
            add(simd, even, odd),
            sub(simd, even, odd),
            add(simd, difference, twice),
            sub(simd, difference, twice),
            fma(simd, 4.0, d[1], fma(simd, -5.0, d[3], d[5])),
        ]
    }

    #[inline(always)]
    fn input_adjoint<S: Simd>(self, simd: S, v: [S::f32s; 6]) -> [S::f32s; 6] {
        let four = simd.splat_f32s(4.0);
        let (near, nearer) = (add(simd, v[1], v[2]), sub(simd, v[1], v[2]));
        let (far, farther) = (add(simd, v[3], v[4]), sub(simd, v[3], v[4]));
        let farther = add(simd, farther, farther);
        [
            simd.mul_f32s(four, v[0]),
            fma(simd, 4.0, sub(simd, v[5], nearer), simd.neg_f32s(farther)),
            fma(simd, -5.0, v[0], sub(simd, simd.neg_f32s(far), simd.mul_f32s(four, near))),
            fma(simd, -5.0, v[5], add(simd, nearer, farther)),
            add(simd, v[0], add(simd, near, far)),
            v[5],
        ]
    }

    #[inline(always)]
    fn output<S: Simd>(self, simd: S, m: [S::f32s; 6]) -> [S::f32s; 4] {
        let (near, nearer) = (add(simd, m[1], m[2]), sub(simd, m[1], m[2]));
        let (far, farther) = (add(simd, m[3], m[4]), sub(simd, m[3], m[4]));
        [
            add(simd, m[0], add(simd, near, far)),
            fma(simd, 2.0, farther, nearer),
            fma(simd, 4.0, far, near),
            add(simd, fma(simd, 8.0, farther, nearer), m[5]),
        ]
    }

    #[inline(always)]
    fn output_adjoint<S: Simd>(self, simd: S, y: [S::f32s; 4]) -> [S::f32s; 6] {
        let (even, odd) = (add(simd, y[0], y[2]), add(simd, y[1], y[3]));
        let (far, farther) = (fma(simd, 4.0, y[2], y[0]), fma(simd, 8.0, y[3], add(simd, y[1], y[1])));
        [
            y[0],
            add(simd, even, odd),
            sub(simd, even, odd),
            add(simd, far, farther),
            sub(simd, far, farther),
            y[3],
        ]
    }
}

impl Tile<5, 2> for P2 {
    const STEP: usize = 4;

    #[inline(always)]
    fn input<S: Simd>(self, simd: S, d: [S::f32s; 5]) -> [S::f32s; 5] {
        [sub(simd, d[0], d[2]), d[2], sub(simd, d[2], d[4]), d[1], d[3]]
    }

    #[inline(always)]
    fn input_adjoint<S: Simd>(self, simd: S, v: [S::f32s; 5]) -> [S::f32s; 5] {
        [v[0], v[3], add(simd, sub(simd, v[1], v[0]), v[2]), v[4], simd.neg_f32s(v[2])]
    }

    #[inline(always)]
    fn output<S: Simd>(self, simd: S, m: [S::f32s; 5]) -> [S::f32s; 2] {
        [add(simd, add(simd, m[0], m[1]), m[3]), add(simd, sub(simd, m[1], m[2]), m[4])]
    }

    #[inline(always)]
    fn output_adjoint<S: Simd>(self, simd: S, y: [S::f32s; 2]) -> [S::f32s; 5] {
        [y[0], simd.add_f32s(y[0], y[1]), simd.neg_f32s(y[1]), y[0], y[1]]
    }
}

#[cfg(test)]
mod tests {
    use eqo_checkpoints::winograd::{Algorithm, Transform};
    use pulp::Scalar;

    use super::*;

    /// A one-dimensional map as a matrix: its columns are the images of the unit vectors.
    fn matrix<const A: usize, const B: usize>(map: impl Fn([f32; A]) -> [f32; B]) -> Vec<Vec<i64>> {
        let columns: Vec<[f32; B]> =
            (0..A).map(|at| map(std::array::from_fn(|i| f32::from(u8::from(i == at))))).collect();
        (0..B).map(|row| columns.iter().map(|column| column[row] as i64).collect()).collect()
    }

    fn transposed(matrix: &[Vec<i64>]) -> Vec<Vec<i64>> {
        (0..matrix[0].len()).map(|column| matrix.iter().map(|row| row[column]).collect()).collect()
    }

    fn check<A: Tile<T, M>, const T: usize, const M: usize>(tile: A, transform: &Transform) {
        let simd = Scalar::new();
        assert_eq!([T, M, A::STEP], [transform.tile, transform.outputs, transform.step]);
        assert_eq!(matrix(|d: [f32; T]| tile.input(simd, d)), transform.bt);
        assert_eq!(matrix(|v: [f32; T]| tile.input_adjoint(simd, v)), transposed(&transform.bt));
        assert_eq!(matrix(|m: [f32; T]| tile.output(simd, m)), transform.at);
        assert_eq!(matrix(|y: [f32; M]| tile.output_adjoint(simd, y)), transposed(&transform.at));
    }

    #[test]
    fn transforms_and_adjoints_are_the_matrices_of_the_integer_engine() {
        check(F2, &Algorithm::F2x2.transform().unwrap());
        check(F4, &Algorithm::F4x4.transform().unwrap());
        check(P2, &Algorithm::P2x2.transform().unwrap());
    }
}
