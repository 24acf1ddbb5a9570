//! One convolution with its weights laid out for the matrix products.

use super::product::multiply;
use crate::graph::Conv;
use crate::layout::{ConvLayout, RingElement};
use crate::weights::LayerWeights;

/// Computed modulo 2^32 where every accumulator provably fits 32 bits, else modulo 2^64. Either way the
/// accumulators are exact, whatever overflows on the way to them.
pub(super) enum CompiledConv {
    Narrow(Matrices<i32>),
    Wide(Matrices<i64>),
}

/// Weight values with tap shifts applied, `[taps][out][inner]`, and biases `[out]`.
pub(super) struct Matrices<W> {
    layout: ConvLayout,
    weights: Vec<W>,
    bias: Vec<W>,
}

impl CompiledConv {
    /// The layer must match the convolution ([`crate::range::prove`] has checked that).
    pub(super) fn new(conv: &Conv, layer: &LayerWeights, input: [usize; 3], output: [usize; 3]) -> Self {
        let layout = ConvLayout::new(conv, input, output);
        if conv.widest_ring() <= 32 {
            Self::Narrow(Matrices::new(conv, layer, layout))
        } else {
            Self::Wide(Matrices::new(conv, layer, layout))
        }
    }

    /// The accumulators `[out][height][width]` of an input `[in][height][width]` and a residual of the output's shape.
    pub(super) fn accumulate(&self, input: &[i64], residual: Option<&[i64]>) -> Vec<i64> {
        match self {
            Self::Narrow(matrices) => matrices.accumulate(input, residual),
            Self::Wide(matrices) => matrices.accumulate(input, residual),
        }
    }
}

impl<W: RingElement> Matrices<W> {
    fn new(conv: &Conv, layer: &LayerWeights, layout: ConvLayout) -> Self {
        let (outs, ins) = (conv.out_channels, conv.in_channels);
        let per_tap = layout.positions() / layout.taps();
        let mut weights = vec![W::default(); layer.codes.len()];
        for (row, codes) in layer.codes.chunks_exact(ins).enumerate() {
            let (position, out) = (row / outs, row % outs);
            let (tap, within) = (position / per_tap, position % per_tap);
            let target = &mut weights[((tap * outs + out) * per_tap + within) * ins..][..ins];
            for (target, &code) in target.iter_mut().zip(codes) {
                let value = W::from_i64(conv.weight_value(position, code));
                *target = value.shifted(conv.tap_shift(position, out));
            }
        }
        Self { layout, weights, bias: layer.bias.iter().map(|&bias| W::from_i64(bias)).collect() }
    }

    fn accumulate(&self, input: &[i64], residual: Option<&[i64]>) -> Vec<i64> {
        let input: Vec<W> = input.iter().map(|&value| W::from_i64(value)).collect();
        let columns = self.layout.gather(&input);
        let products = multiply(&self.weights, &columns, [self.layout.inner(), self.layout.columns()]);
        let mut sums = self.layout.scatter(&products);
        let plane = sums.len() / self.bias.len();
        for (sums, &bias) in sums.chunks_exact_mut(plane).zip(&self.bias) {
            sums.iter_mut().for_each(|sum| *sum = sum.plus(bias));
        }
        if let Some(residual) = residual {
            sums.iter_mut().zip(residual).for_each(|(sum, &term)| *sum = sum.plus(W::from_i64(term)));
        }
        sums.into_iter().map(RingElement::signed).collect()
    }
}
