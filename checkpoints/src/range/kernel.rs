//! Bounds of one convolution by its effective integer kernel.

use crate::graph::Conv;
use crate::weights::LayerWeights;
use crate::winograd::EffectiveTerm;

/// Exact smallest and largest accumulator of every output channel, bias included, shortcut left out: over all inputs
/// with values in `input`'s range of each channel, for an output away from the padding.
///
/// `output` is the node's shape; every range must contain 0, the value of the padding. The layer must match the
/// convolution ([`crate::weights::Weights::check`]). Saturates at the limits of `i128`.
pub fn conv_bounds(
    conv: &Conv,
    layer: &LayerWeights,
    output: [usize; 3],
    input: &[(i64, i64)],
) -> Vec<(i128, i128)> {
    let kernel = EffectiveKernel::new(conv, output);
    let channel = |(out, &bias): (usize, &i64)| {
        let mut bounds = vec![(0, 0); kernel.outputs];
        for (channel, &range) in input.iter().enumerate() {
            let taps: Vec<i128> = (0..conv.positions())
                .map(|position| tap_value(conv, layer, [position, out, channel]))
                .collect();
            kernel.widen(&taps, range, &mut bounds);
        }
        let used = kernel.used.iter().map(|&output| bounds[output]);
        let (low, high) =
            used.fold((i128::MAX, i128::MIN), |(low, high), bound| (low.min(bound.0), high.max(bound.1)));
        (low.saturating_add(i128::from(bias)), high.saturating_add(i128::from(bias)))
    };
    layer.bias.iter().enumerate().map(channel).collect()
}

/// The weight's value with its tap shift.
fn tap_value(conv: &Conv, layer: &LayerWeights, [position, out, channel]: [usize; 3]) -> i128 {
    let code = layer.codes[(position * conv.out_channels + out) * conv.in_channels + channel];
    i128::from(conv.weight_value(position, code)) << conv.tap_shift(position, out)
}

/// How tap weights become the kernel of each output of a tile; a direct convolution is a tile of one output.
struct EffectiveKernel {
    outputs: usize,
    positions: usize,
    terms: Vec<EffectiveTerm>,
    /// Outputs of the tile that lie inside the image.
    used: Vec<usize>,
}

impl EffectiveKernel {
    fn new(conv: &Conv, [_, height, width]: [usize; 3]) -> Self {
        let positions = conv.positions();
        match conv.algorithm.transform() {
            Some(transform) => {
                let m = transform.outputs;
                let used = (0..m * m).filter(|output| output / m < height && output % m < width).collect();
                Self { outputs: m * m, positions, terms: transform.effective_terms(), used }
            }
            None => {
                let identity =
                    |position| EffectiveTerm { output: 0, tap: position, position, coefficient: 1 };
                Self { outputs: 1, positions, terms: (0..positions).map(identity).collect(), used: vec![0] }
            }
        }
    }

    /// Adds what one input channel of values in `range` can contribute to every output's bounds.
    fn widen(&self, taps: &[i128], (low, high): (i64, i64), bounds: &mut [(i128, i128)]) {
        let mut kernel = vec![0_i128; self.outputs * self.positions];
        for term in &self.terms {
            kernel[term.output * self.positions + term.position] +=
                i128::from(term.coefficient) * taps[term.tap];
        }
        for (bounds, kernel) in bounds.iter_mut().zip(kernel.chunks_exact(self.positions)) {
            for &weight in kernel {
                let ends = [weight.saturating_mul(low.into()), weight.saturating_mul(high.into())];
                bounds.0 = bounds.0.saturating_add(ends[0].min(ends[1]));
                bounds.1 = bounds.1.saturating_add(ends[0].max(ends[1]));
            }
        }
    }
}
