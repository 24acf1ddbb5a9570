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
}

const F2_BT: [[i64; 4]; 4] = [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]];
const F2_AT: [[i64; 4]; 2] = [[1, 1, 1, 0], [0, 1, -1, -1]];
const F2_G: [[f32; 3]; 4] = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]];

impl Algorithm {
    /// The name in tables and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::F2x2 => "f2x2",
        }
    }

    /// The transform of a Winograd algorithm; `None` for [`Algorithm::Direct`].
    pub fn transform(self) -> Option<Transform> {
        match self {
            Self::Direct => None,
            Self::F2x2 => Some(Transform {
                outputs: 2,
                tile: 4,
                bt: F2_BT.iter().map(|row| row.to_vec()).collect(),
                at: F2_AT.iter().map(|row| row.to_vec()).collect(),
                g: F2_G.iter().map(|row| row.to_vec()).collect(),
            }),
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

    /// Four times G is an integer matrix up to the factor 2 a side, so the identity can be checked in integers.
    #[test]
    fn f2x2_of_integer_kernels_equals_four_times_the_correlation() {
        let transform = Algorithm::F2x2.transform().unwrap();
        let kernel: Vec<i64> = vec![3, -1, 4, 1, -5, 9, -2, 6, -5];
        let u: Vec<i64> = transform
            .kernel_coefficients()
            .iter()
            .map(|row| row.iter().zip(&kernel).map(|(&g, &w)| (4.0 * g) as i64 * w).sum())
            .collect();
        let mut effective = vec![vec![0; 16]; 4];
        for term in transform.effective_terms() {
            effective[term.output][term.position] += term.coefficient * u[term.tap];
        }
        for (output, row) in effective.iter().enumerate() {
            let (p, q) = (output / 2, output % 2);
            for (position, &value) in row.iter().enumerate() {
                let (i, j) = (position / 4, position % 4);
                let inside = (p..p + 3).contains(&i) && (q..q + 3).contains(&j);
                let want = if inside { 4 * kernel[(i - p) * 3 + (j - q)] } else { 0 };
                assert_eq!(value, want, "output ({p},{q}), input ({i},{j})");
            }
        }
    }
}
