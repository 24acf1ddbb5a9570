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

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 3] = [Self::Direct, Self::F2x2, Self::F4x4];

    /// The name in tables and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::F2x2 => "f2x2",
            Self::F4x4 => "f4x4",
        }
    }

    /// The transform of a Winograd algorithm; `None` for [`Algorithm::Direct`].
    pub fn transform(self) -> Option<Transform> {
        match self {
            Self::Direct => None,
            Self::F2x2 => Some(Transform::new(&F2_BT, &F2_AT, &F2_G)),
            Self::F4x4 => Some(Transform::new(&F4_BT, &F4_AT, &F4_G)),
        }
    }

    /// Number of scales a channel has: tile² taps, or 1 for direct convolution.
    pub fn taps(self) -> usize {
        self.transform().map_or(1, |transform| transform.tile * transform.tile)
    }
}

/// The matrices of F(m x m, 3x3) with tile `t = m + 2`.
#[derive(Clone, Debug, PartialEq)]
pub struct Transform {
    /// m: outputs a tile yields in each direction.
    pub outputs: usize,
    /// t: inputs a tile reads in each direction.
    pub tile: usize,
    /// Bᵀ, `[t][t]`.
    pub bt: Vec<Vec<i64>>,
    /// Aᵀ, `[m][t]`.
    pub at: Vec<Vec<i64>>,
    /// G, `[t][3]`.
    pub g: Vec<Vec<f32>>,
}

impl Transform {
    fn new<const T: usize, const M: usize>(
        bt: &[[i64; T]; T],
        at: &[[i64; T]; M],
        g: &[[f32; 3]; T],
    ) -> Self {
        Self {
            outputs: M,
            tile: T,
            bt: bt.iter().map(|row| row.to_vec()).collect(),
            at: at.iter().map(|row| row.to_vec()).collect(),
            g: g.iter().map(|row| row.to_vec()).collect(),
        }
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

    /// `(G⊗G)·kernel` times the square of G's common denominator, 2 or 24, in integers.
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
        for (algorithm, denominator) in [(Algorithm::F2x2, 2), (Algorithm::F4x4, 24)] {
            let transform = algorithm.transform().unwrap();
            let (m, t) = (transform.outputs, transform.tile);
            assert_eq!([m + 2, t * t], [t, algorithm.taps()]);
            for element in 0..9 {
                let mut kernel = [0; 9];
                kernel[element] = 1;
                let u = scaled_taps(&transform, denominator, &kernel);
                let mut effective = vec![vec![0; t * t]; m * m];
                for term in transform.effective_terms() {
                    effective[term.output][term.position] += term.coefficient * u[term.tap];
                }
                for (output, row) in effective.iter().enumerate() {
                    let hit = (output / m + element / 3) * t + output % m + element % 3;
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
