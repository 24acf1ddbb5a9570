//! What a batch of values says about scales.

use super::Values;
use crate::scales::best_exponent;

/// Mean and standard deviation of each channel, as batch normalization takes them.
pub(super) struct Statistics {
    pub(super) means: Vec<f32>,
    pub(super) deviations: Vec<f32>,
}

impl Statistics {
    pub(super) fn new(values: &Values) -> Self {
        let channels = (0..values.exponents.len()).map(|channel| moments(values, channel));
        let (means, deviations) = channels.unzip();
        Self { means, deviations }
    }
}

/// A channel that never changes keeps its scale.
fn moments(values: &Values, channel: usize) -> (f32, f32) {
    let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for image in &values.images {
        let plane = image.len() / values.exponents.len();
        for &integer in &image[channel * plane..][..plane] {
            let value = integer as f64;
            count += 1.0;
            sum += value;
            squares += value * value;
        }
    }
    let mean = sum / count;
    let variance = squares / count - mean * mean;
    let step = 2.0_f64.powi(values.exponents[channel]);
    let deviation = if variance > 0.0 { variance.sqrt() * step } else { 1.0 };
    ((mean * step) as f32, deviation as f32)
}

/// The exponent of least squared error for what a ReLU leaves of `values`, as calibration before training chooses it.
pub(super) fn activation_exponent(values: &Values, bits: u8) -> i32 {
    let mut positive = Vec::new();
    for image in &values.images {
        let planes = image.chunks(image.len() / values.exponents.len());
        for (plane, &exponent) in planes.zip(&values.exponents) {
            let step = 2.0_f32.powi(exponent);
            positive.extend(plane.iter().map(|&integer| integer.max(0) as f32 * step));
        }
    }
    // A dead activation keeps scale 1: it is zero at any.
    best_exponent(&positive, (0.0, f32::from((1_u16 << bits) - 1))).unwrap_or(0)
}
