//! How far a layer's largest weights stick out: what re-weighted bits and bits by tap answer to.

use burn::module::Module;

use super::QatNet;
use super::spec::LayerSpec;

/// The shape of a distribution of weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Spread {
    /// Fourth moment over the square of the second, both around the mean: 3 for a normal distribution, more with outliers.
    pub kurtosis: f64,
    /// Largest distance from the mean over the standard deviation.
    pub peak: f64,
}

impl QatNet {
    /// Spreads of every layer's tap weights before and after rounding, by tap (or kernel position); of weights that are all
    /// alike: zero.
    ///
    /// Weights are divided by the step of their output channel first, in which their codes are counted.
    pub fn spreads(&self) -> Vec<Vec<[Spread; 2]>> {
        let net = self.clone().valid();
        let steps = net.step_exponents();
        let layer = |(index, (spec, steps)): (usize, (&LayerSpec, &Vec<Vec<i32>>))| {
            let [out, inputs, ..] = spec.shape;
            let (taps, by_channel) = (net.float_taps(index), spec.by_channel(steps));
            let rounded = spec.quantizer(steps).quantize(&taps, [out, inputs]);
            let in_steps = |position: usize, values: &[f32]| -> Vec<f64> {
                let exponents = &by_channel[position.min(by_channel.len() - 1)];
                let rows = values.chunks(inputs).zip(exponents);
                let scaled = |(row, &exponent): (&[f32], &i32)| {
                    row.iter().map(|&u| f64::from(u) * 2.0_f64.powi(-exponent)).collect::<Vec<_>>()
                };
                rows.flat_map(scaled).collect()
            };
            let pairs = taps.chunks(out * inputs).zip(rounded.chunks(out * inputs)).enumerate();
            pairs.map(|(at, (u, q))| [spread(&in_steps(at, u)), spread(&in_steps(at, q))]).collect()
        };
        net.specs.iter().zip(&steps).enumerate().map(layer).collect()
    }
}

fn spread(values: &[f64]) -> Spread {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let moment = |power: i32| values.iter().map(|value| (value - mean).powi(power)).sum::<f64>() / count;
    let variance = moment(2);
    if variance <= 0.0 {
        return Spread::default();
    }
    let farthest = values.iter().map(|value| (value - mean).abs()).fold(0.0, f64::max);
    Spread { kurtosis: moment(4) / (variance * variance), peak: farthest / variance.sqrt() }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::qat::tests::net;

    #[test]
    fn spreads_are_those_of_known_distributions() {
        assert_eq!(spread(&[1.0, -1.0, 1.0, -1.0]), Spread { kurtosis: 1.0, peak: 1.0 });
        assert_eq!(spread(&[2.0; 5]), Spread::default());
        let outlier: Vec<f64> = (0..100).map(|at| if at == 0 { 10.0 } else { 0.0 }).collect();
        let found = spread(&outlier);
        assert!(
            (found.kurtosis - (99.0_f64.powi(3) + 1.0) / 9900.0).abs() < 1e-9 * found.kurtosis,
            "{found:?}"
        );
        assert!((found.peak - 99.0_f64.sqrt()).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn eight_bits_hardly_change_a_spread_and_every_tap_has_one() {
        let net = net(8, 6, &Device::flex());
        for (layer, spec) in net.spreads().iter().zip(&net.specs) {
            assert!(layer.len() >= spec.step_shape()[0]);
            for [before, after] in layer {
                assert!(
                    (before.kurtosis - after.kurtosis).abs() < 0.1 * before.kurtosis + 0.05,
                    "{before:?} {after:?}"
                );
            }
        }
    }
}
