//! Matrix products of the server's integers with a shared tensor.

use serde::Serialize;

use super::{Range, TensorId};
use crate::engine::multiply;
use crate::layout::ConvLayout;
use crate::winograd::Algorithm;

/// A convolution or linear layer: `out[o] = Σ_tap 2^{tap_shifts[tap][o]}·products + bias[o]` in the result's ring, square kernel,
/// zero padding.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Products {
    /// The tensor it reads.
    pub input: TensorId,
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the result.
    pub out_channels: usize,
    /// Equal parts of the channels that don't meet: result channels of a part read input channels of it. More than one only for
    /// 1x1 kernels whose weights choose.
    pub groups: usize,
    /// Kernel height and width.
    pub kernel: usize,
    /// Stride in both directions.
    pub stride: usize,
    /// Zero padding on every side.
    pub padding: usize,
    /// How products are arranged.
    pub algorithm: Algorithm,
    /// What the server's integers look like.
    pub code: Code,
    /// Left shift of tap t for channel o, `[taps][out]`; none if empty.
    pub tap_shifts: Vec<Vec<u8>>,
    /// Whose bits choose in the oblivious transfers.
    pub chooser: Chooser,
    /// The ring of the shared operand.
    pub operand: OperandRing,
}

/// The bits of the server's integers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Code {
    /// Exponents of the bits, one list for all positions or one for each; no bits: the integer is 0.
    pub exponents: Vec<Vec<u8>>,
    /// Whether the last bit counts negative.
    pub signed: bool,
    /// What is added to every integer that has bits.
    pub offset: u8,
}

/// Whose bits choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Chooser {
    /// The server's weights, the client's row of shares is sent (`Bob_has_A` in SCI).
    Weights,
    /// The client's shares, the server's column of weights is sent (`Alice_has_A` in SCI, what its library calls).
    Activations,
}

/// How the shared operand's ring relates to that of the products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum OperandRing {
    /// The operand is in the ring of the products.
    Same,
    /// It is in a narrower ring, which must hold what a tile's transform makes of it, and each gathered element's wrap is corrected:
    /// its top bit is known to be 0, or it is any signed integer.
    Narrower {
        /// Whether the top bit is known to be 0.
        top_bit_zero: bool,
    },
}

impl OperandRing {
    /// What is known of the operand where it has to be brought to the ring of the products.
    pub fn range(self) -> Option<Range> {
        match self {
            Self::Same => None,
            Self::Narrower { top_bit_zero: true } => Some(Range::TopBitZero),
            Self::Narrower { top_bit_zero: false } => Some(Range::Signed),
        }
    }
}

impl Code {
    /// Two's complement of so many bits.
    pub fn twos_complement(bits: u8) -> Self {
        Self { exponents: vec![(0..bits).collect()], signed: true, offset: 0 }
    }

    /// The exponents in force at a position.
    pub fn exponents(&self, position: usize) -> &[u8] {
        if self.exponents.len() == 1 { &self.exponents[0] } else { &self.exponents[position] }
    }

    /// What a code at a position stands for, as a class of Z_{2^64}.
    pub fn value(&self, position: usize, code: i64) -> u64 {
        let exponents = self.exponents(position);
        if exponents.is_empty() {
            return 0;
        }
        let bits = exponents.iter().enumerate();
        bits.fold(u64::from(self.offset), |sum, (index, _)| {
            sum.wrapping_add(self.bit_value(position, index).wrapping_mul((code >> index) as u64 & 1))
        })
    }

    /// What bit `index` adds where it is set, as a class of Z_{2^64}.
    pub fn bit_value(&self, position: usize, index: usize) -> u64 {
        let exponents = self.exponents(position);
        let value = 1_u64 << exponents[index];
        if self.signed && index + 1 == exponents.len() { value.wrapping_neg() } else { value }
    }
}

impl Products {
    /// The order of the matrix products between tensors of these shapes.
    pub fn layout(&self, input: [usize; 3], output: [usize; 3]) -> ConvLayout {
        ConvLayout::of([self.kernel, self.stride, self.padding], self.algorithm, input, output)
    }

    /// The tensor's shape that comes out.
    pub fn output_shape(&self, [_, height, width]: [usize; 3]) -> [usize; 3] {
        let out = |size: usize| (size + 2 * self.padding - self.kernel) / self.stride + 1;
        [self.out_channels, out(height), out(width)]
    }

    /// Positions of a pair of channels: taps, or kernel² for direct convolution.
    pub fn positions(&self) -> usize {
        match self.algorithm {
            Algorithm::Direct => self.kernel * self.kernel,
            algorithm => algorithm.taps(),
        }
    }

    /// Input channels of a group.
    pub fn group_in(&self) -> usize {
        self.in_channels / self.groups
    }

    /// Result channels of a group.
    pub fn group_out(&self) -> usize {
        self.out_channels / self.groups
    }

    /// The left shift of channel `out` at a position.
    pub fn tap_shift(&self, position: usize, out: usize) -> u8 {
        match self.tap_shifts.len() {
            0 => 0,
            1 => self.tap_shifts[0][out],
            _ => self.tap_shifts[position][out],
        }
    }

    /// Number of the server's integers.
    pub fn codes(&self) -> usize {
        self.positions() * self.out_channels * self.group_in()
    }

    /// The server's integers as classes of Z_{2^64}, tap shifts applied, `[taps][out][inner]` where `inner` are the positions of a
    /// tap times the input channels of a group.
    pub fn matrix(&self, codes: &[i64], layout: &ConvLayout) -> Vec<u64> {
        let (outs, ins) = (self.out_channels, self.group_in());
        let per_tap = layout.positions() / layout.taps();
        let mut values = vec![0; codes.len()];
        for (row, codes) in codes.chunks_exact(ins).enumerate() {
            let (position, out) = (row / outs, row % outs);
            let (tap, within) = (position / per_tap, position % per_tap);
            let target = &mut values[((tap * outs + out) * per_tap + within) * ins..][..ins];
            for (target, &code) in target.iter_mut().zip(codes) {
                *target = self.code.value(position, code) << self.tap_shift(position, out);
            }
        }
        values
    }

    /// `[taps][out][columns]` from [`Self::matrix`] and gathered columns `[positions][in][columns]`, classes of Z_{2^64}.
    pub fn multiply(&self, matrix: &[u64], columns: &[u64], layout: &ConvLayout) -> Vec<u64> {
        if self.groups == 1 {
            return multiply(matrix, columns, [layout.inner(), layout.columns()]);
        }
        // Groups are of 1x1 kernels: the channels of one are neighbours.
        let group = self.group_in() * layout.columns();
        let rows = matrix.chunks_exact(self.group_out() * self.group_in());
        let shape = [self.group_in(), layout.columns()];
        rows.zip(columns.chunks_exact(group))
            .flat_map(|(rows, columns)| multiply(rows, columns, shape))
            .collect()
    }

    pub(super) fn is_linear(&self, output: [usize; 3]) -> bool {
        output[1..] == [1, 1] && self.stride == 1 && self.padding == 0
    }
}
