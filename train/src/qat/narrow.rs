//! Making the accumulators of single channels narrower, for rings of a width that was asked for.

use super::QatNet;
use super::spec::LayerSpec;
use crate::Result;
use crate::classifier::Classifier;
use crate::tensors::NamedTensors;

/// What becomes of one output channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Narrowing {
    /// What its weights and bias are multiplied by, above 0.
    pub factor: f32,
    /// Bits by which its finest weight step becomes coarser, and with it the accumulator's.
    pub coarser: i32,
}

impl Narrowing {
    /// The channel stays as it is.
    pub const NONE: Self = Self { factor: 1.0, coarser: 0 };
}

impl QatNet {
    /// The same network with `[layer][out]` narrowed.
    ///
    /// # Errors
    /// None if there is an element for each channel.
    pub fn narrowed(&self, channels: &[Vec<Narrowing>]) -> Result<Self> {
        let mut tensors = self.to_tensors();
        let exponents = self.step_exponents();
        for ((spec, channels), rows) in self.specs.iter().zip(channels).zip(&exponents) {
            for (channel, narrowing) in channels.iter().enumerate().filter(|(_, n)| **n != Narrowing::NONE) {
                scale(&mut tensors, spec, channel, narrowing.factor);
                coarsen(&mut tensors, spec, (channel, narrowing.coarser), rows);
            }
        }
        let device = self.device();
        self.with_tensors(&tensors, "narrowed weights", &device)
    }
}

/// A live normalization would undo a factor of the weights, so it is its own that changes there.
fn scale(tensors: &mut NamedTensors, spec: &LayerSpec, channel: usize, factor: f32) {
    let gamma = format!("{}.norm_gamma", spec.name);
    let weights = if tensors.contains_key(&gamma) { gamma } else { format!("{}.weight", spec.name) };
    for key in [weights, format!("{}.bias", spec.name)] {
        if let Some(tensor) = tensors.get_mut(&key) {
            tensor.index_axis_mut(ndarray::Axis(0), channel).mapv_inplace(|value| value * factor);
        }
    }
}

/// Raises what is below the finest step in force plus `bits`.
fn coarsen(
    tensors: &mut NamedTensors,
    spec: &LayerSpec,
    (channel, bits): (usize, i32),
    exponents: &[Vec<i32>],
) {
    let group = if spec.one_scale { 0 } else { channel };
    let finest = exponents.iter().map(|row| row[group]).min().unwrap_or(0);
    let floor = (finest + bits) as f32;
    let Some(steps) = tensors.get_mut(&format!("{}.log2_step", spec.name)).filter(|_| bits > 0) else {
        return;
    };
    steps.index_axis_mut(ndarray::Axis(1), group).mapv_inplace(|step| step.max(floor));
}
