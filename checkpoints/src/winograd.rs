//! Winograd convolution as exact integer arithmetic: `Y = Aᵀ[U ⊙ (Bᵀ d B)]A` with `U = G w Gᵀ` quantized (DESIGN §2).
//!
//! A and B are integer matrices, so everything after the quantization of `U` is exact.

use serde::{Deserialize, Serialize};

/// How a convolution's products are arranged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// Sliding window: `kernel²` products an output.
    Direct,
    /// Winograd F(2x2, 3x3): 4x4 tiles, 16 taps, 4 products an output. Stride 1, kernel 3 only.
    F2x2,
    /// Winograd F(4x4, 3x3): 6x6 tiles, 36 taps, 2.25 products an output. Stride 1, kernel 3 only. Its transforms
    /// have coefficients up to 8, so the same weight bits need wider rings.
    F4x4,
    /// Winograd F(2x2, 3x3) for stride 2, by phases (polyphase): of each direction's 5 inputs the 3 even ones meet the kernel's
    /// ends in an F(2, 2) of 3 products, the 2 odd ones its middle in one each. 5x5 tiles, 25 taps, 6.25 products an output
    /// instead of 9. Stride 2, kernel 3 only.
    P2x2,
}

// Lavin and Gray 2015 (arXiv 1509.09308, §4): points 0, ±1, ∞ and 0, ±1, ±2, ∞. Signs and factors are moved into G so that
// A and B are integer matrices.
const F2_BT: [[i64; 4]; 4] = [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]];
const F2_AT: [[i64; 4]; 2] = [[1, 1, 1, 0], [0, 1, -1, -1]];
const F2_G: [[f32; 3]; 4] = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]];

const F4_BT: [[i64; 6]; 6] = [
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
];
const F4_AT: [[i64; 6]; 4] =
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]];
const F4_G: [[f32; 3]; 6] = [
    [1.0 / 4.0, 0.0, 0.0],
    [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
    [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
    [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
    [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
    [0.0, 0.0, 1.0],
];

// Even phase: (d0 − d2)·w0, d2·(w0 + w2), (d2 − d4)·w2; odd phase: d1·w1, d3·w1 (Yepez and Ko 2020, stride-2 Winograd, with
// an F(2, 2) at the points 0, 1, ∞).
const P2_BT: [[i64; 5]; 5] =
    [[1, 0, -1, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 0, -1], [0, 1, 0, 0, 0], [0, 0, 0, 1, 0]];
const P2_AT: [[i64; 5]; 2] = [[1, 1, 0, 1, 0], [0, 1, -1, 0, 1]];
const P2_G: [[f32; 3]; 5] =
    [[1.0, 0.0, 0.0], [1.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]];

/// What [`Algorithm::fits`] allows, for messages.
pub const FITTING: &str = "direct; for 3x3 kernels also f2x2 or f4x4 (stride 1), p2x2 (stride 2)";

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 4] = [Self::Direct, Self::F2x2, Self::F4x4, Self::P2x2];

    /// The name in tables and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::F2x2 => "f2x2",
            Self::F4x4 => "f4x4",
            Self::P2x2 => "p2x2",
        }
    }

    /// The transform of a Winograd algorithm; `None` for [`Algorithm::Direct`].
    pub fn transform(self) -> Option<Transform> {
        match self {
            Self::Direct => None,
            Self::F2x2 => Some(Transform::new(1, &F2_BT, &F2_AT, &F2_G)),
            Self::F4x4 => Some(Transform::new(1, &F4_BT, &F4_AT, &F4_G)),
            Self::P2x2 => Some(Transform::new(2, &P2_BT, &P2_AT, &P2_G)),
        }
    }

    /// Whether a convolution of this kernel and stride can be arranged so.
    pub fn fits(self, kernel: usize, stride: usize) -> bool {
        self.transform().is_none_or(|transform| kernel == 3 && stride == transform.stride())
    }

    /// How a convolution is arranged in a network that has this algorithm wherever it fits: direct where it doesn't, but of
    /// stride 1 by F(2x2, 3x3) beside [`Algorithm::P2x2`].
    pub fn beside(self, kernel: usize, stride: usize) -> Self {
        let candidates = if self == Self::P2x2 { &[self, Self::F2x2][..] } else { &[self] };
        candidates.iter().copied().find(|candidate| candidate.fits(kernel, stride)).unwrap_or(Self::Direct)
    }

    /// Number of scales a channel has: tile² taps, or 1 for direct convolution.
    pub fn taps(self) -> usize {
        self.transform().map_or(1, |transform| transform.tile * transform.tile)
    }
}

/// The matrices of F(m x m, 3x3): tile `t = m + 2`, or `2m + 1` for stride 2.
#[derive(Clone, Debug, PartialEq)]
pub struct Transform {
    /// m: outputs a tile yields in each direction.
    pub outputs: usize,
    /// t: inputs a tile reads in each direction.
    pub tile: usize,
    /// Inputs from one tile to the next: m times the stride.
    pub step: usize,
    /// Bᵀ, `[t][t]`.
    pub bt: Vec<Vec<i64>>,
    /// Aᵀ, `[m][t]`.
    pub at: Vec<Vec<i64>>,
    /// G, `[t][3]`.
    pub g: Vec<Vec<f32>>,
}

impl Transform {
    fn new<const T: usize, const M: usize>(
        stride: usize,
        bt: &[[i64; T]; T],
        at: &[[i64; T]; M],
        g: &[[f32; 3]; T],
    ) -> Self {
        Self {
            outputs: M,
            tile: T,
            step: M * stride,
            bt: bt.iter().map(|row| row.to_vec()).collect(),
            at: at.iter().map(|row| row.to_vec()).collect(),
            g: g.iter().map(|row| row.to_vec()).collect(),
        }
    }

    /// Of the convolution.
    pub fn stride(&self) -> usize {
        self.step / self.outputs
    }

    /// Tiles that cover an output of this height or width.
    pub fn tiles(&self, outputs: usize) -> usize {
        outputs.div_ceil(self.outputs)
    }

    /// `(Aᵀ ⊗ Aᵀ)[p·m + q][tap]`: what tap `tap = a·t + b` adds to output (p, q) of its tile.
    pub fn output_coefficients(&self) -> Vec<Vec<i64>> {
        kronecker_square(&self.at)
    }

    /// `(Bᵀ ⊗ Bᵀ)[tap][i·t + j]`: what input (i, j) of the tile adds to the transformed tap.
    pub fn input_coefficients(&self) -> Vec<Vec<i64>> {
        kronecker_square(&self.bt)
    }

    /// `(G ⊗ G)[tap][y·3 + x]`: what kernel element (y, x) adds to the tap's weight.
    pub fn kernel_coefficients(&self) -> Vec<Vec<f32>> {
        kronecker_square(&self.g)
    }

    /// The terms of the effective kernel `K[p·m + q][i·t + j] = Σ_tap (Aᵀ⊗Aᵀ)[pq][tap]·U[tap]·(Bᵀ⊗Bᵀ)[tap][ij]`, which
    /// makes the tile's outputs plain dot products with its inputs. Zero coefficients are left out.
    pub fn effective_terms(&self) -> Vec<EffectiveTerm> {
        let input = self.input_coefficients();
        let mut terms = Vec::new();
        for (output, row) in self.output_coefficients().iter().enumerate() {
            for (tap, &a) in row.iter().enumerate().filter(|(_, a)| **a != 0) {
                for (position, &b) in input[tap].iter().enumerate().filter(|(_, b)| **b != 0) {
                    terms.push(EffectiveTerm { output, tap, position, coefficient: a * b });
                }
            }
        }
        terms
    }
}

/// `K[output][position] += coefficient · U[tap]`, see [`Transform::effective_terms`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EffectiveTerm {
    /// `p·m + q`.
    pub output: usize,
    /// `a·t + b`.
    pub tap: usize,
    /// `i·t + j`.
    pub position: usize,
    /// The product of the two transforms' coefficients.
    pub coefficient: i64,
}

fn kronecker_square<T: Copy + std::ops::Mul<Output = T>>(matrix: &[Vec<T>]) -> Vec<Vec<T>> {
    let mut square = Vec::with_capacity(matrix.len() * matrix.len());
    for a in matrix {
        for b in matrix {
            square.push(a.iter().flat_map(|&x| b.iter().map(move |&y| x * y)).collect());
        }
    }
    square
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `(G⊗G)·kernel` times the square of G's common denominator in integers.
    fn scaled_taps(transform: &Transform, denominator: i64, kernel: &[i64]) -> Vec<i64> {
        let integer = |g: f32| {
            let scaled = g * (denominator * denominator) as f32;
            assert!((scaled - scaled.round()).abs() < 1e-4, "{g} has another denominator");
            scaled.round() as i64
        };
        let rows = transform.kernel_coefficients();
        rows.iter().map(|row| row.iter().zip(kernel).map(|(&g, &w)| integer(g) * w).sum()).collect()
    }

    /// Both sides are linear in the kernel, so its nine unit kernels are all kernels.
    #[test]
    fn tiles_of_every_unit_kernel_equal_the_correlation_times_the_squared_denominator() {
        for (algorithm, denominator) in [(Algorithm::F2x2, 2), (Algorithm::F4x4, 24), (Algorithm::P2x2, 1)] {
            let transform = algorithm.transform().unwrap();
            let (m, t) = (transform.outputs, transform.tile);
            let stride = transform.stride();
            assert_eq!([(m - 1) * stride + 3, t * t], [t, algorithm.taps()]);
            for element in 0..9 {
                let mut kernel = [0; 9];
                kernel[element] = 1;
                let u = scaled_taps(&transform, denominator, &kernel);
                let mut effective = vec![vec![0; t * t]; m * m];
                for term in transform.effective_terms() {
                    effective[term.output][term.position] += term.coefficient * u[term.tap];
                }
                for (output, row) in effective.iter().enumerate() {
                    let hit = (output / m * stride + element / 3) * t + output % m * stride + element % 3;
                    let mut want = vec![0; t * t];
                    want[hit] = denominator * denominator;
                    assert_eq!(row, &want, "{}, element {element}, output {output}", algorithm.name());
                }
            }
        }
    }

    #[test]
    fn names_are_those_of_files() {
        for algorithm in Algorithm::ALL {
            let name = format!("\"{}\"", algorithm.name());
            assert_eq!(serde_json::to_string(&algorithm).unwrap(), name);
            assert_eq!(serde_json::from_str::<Algorithm>(&name).unwrap(), algorithm);
        }
    }
}
