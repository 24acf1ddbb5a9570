//! Batch normalization during the quantized fine-tune: folded once before it, or anew in every step.

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use eqo_checkpoints::arch::Keys;
use ndarray::ArrayD;
use serde::{Deserialize, Serialize};

use super::spec::LayerSpec;
use super::{QatLayer, QatNet};
use crate::Result;
use crate::batch_norm::{EPSILON, Running};
use crate::classifier::Classifier;
use crate::interpret::weighted_nodes;
use crate::tensors::{NamedTensors, ParamMaker, to_host};

/// What becomes of batch normalization in the quantized fine-tune.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchNorm {
    /// It is folded into weights and biases before the first step.
    #[default]
    Folded,
    /// It stays, and the quantized weights are those with it folded in: `w·γ/σ` by the running σ is rounded and convolved, and
    /// the result divided by `γ/σ` again and normalized by the statistics of the batch (Krishnamoorthi 2018, §3.2.2;
    /// PyTorch's `ConvBn2d`). What is evaluated and exported has the running statistics folded in, so nothing is lost there.
    Live,
}

/// The part of a live normalization that isn't its layer's bias.
#[derive(Module, Debug)]
pub(super) struct LiveNorm {
    gamma: Param<Tensor<1>>,
    running: Running,
}

/// Names of its tensors within a layer.
const PARTS: [&str; 3] = ["norm_gamma", "norm_mean", "norm_variance"];
/// Smaller factors aren't divided by: their channel puts out its bias, whatever its weights.
const SMALLEST_FACTOR: f32 = 1e-6;

impl QatNet {
    /// The same function with its normalizations live, from the tensors of the float network that it was
    /// folded from. For a network in the spatial domain.
    ///
    /// # Errors
    /// [`crate::Error::StateDict`] if a tensor of `float` has another shape than `arch` says.
    pub fn with_live_normalization(&self, float: &NamedTensors) -> Result<Self> {
        let mut tensors = self.to_tensors();
        for node in weighted_nodes(&self.arch) {
            let Some(Keys { weight, bias, norm: Some([gamma, beta, mean, variance]), .. }) = Keys::of(node)
            else {
                continue;
            };
            let from = [weight, beta, gamma, mean, variance];
            for (part, name) in ["weight", "bias"].into_iter().chain(PARTS).zip(from) {
                if let Some(tensor) = float.get(&name) {
                    tensors.insert(format!("{}.{part}", node.name), tensor.clone());
                }
            }
            // A bias before a normalization only moves the mean.
            let mean = tensors.get_mut(&format!("{}.{}", node.name, PARTS[1]));
            let bias = bias.and_then(|name| float.get(&name));
            if let Some((mean, bias)) = mean.zip(bias).filter(|(mean, bias)| mean.shape() == bias.shape()) {
                *mean -= bias;
            }
        }
        let device = self.device();
        self.with_tensors(&tensors, "live normalizations", &device)
    }
}

impl QatLayer {
    /// Weight and bias with a live normalization folded in by its running statistics.
    pub(super) fn folded(&self) -> (Tensor<4>, Tensor<1>) {
        let (weight, bias) = (self.weight.val(), self.bias.val());
        let Some(norm) = &self.norm else { return (weight, bias) };
        let factor = norm.factor();
        let shift = norm.running.mean.value() * factor.clone();
        (weight * by_channel(factor), bias - shift)
    }

    /// What is rounded and convolved with: [`Self::folded`], without the bias if the normalization is still to come.
    pub(super) fn operands(&self, norm_follows: bool) -> (Tensor<4>, Tensor<1>) {
        let (weight, bias) = self.folded();
        if norm_follows { (weight, bias.zeros_like()) } else { (weight, bias) }
    }
}

impl LiveNorm {
    /// Adds the shapes of a layer's tensors if `tensors` has a normalization there.
    pub(super) fn add_shapes(
        spec: &LayerSpec,
        tensors: &NamedTensors,
        shapes: &mut BTreeMap<String, Vec<usize>>,
    ) {
        let names = PARTS.map(|part| format!("{}.{part}", spec.name));
        if names.iter().any(|name| tensors.contains_key(name)) {
            shapes.extend(names.map(|name| (name, vec![spec.shape[0]])));
        }
    }

    /// The layer's, if it has one.
    pub(super) fn from_tensors(
        layer: &str,
        tensors: &NamedTensors,
        params: &mut ParamMaker<'_>,
    ) -> Option<Self> {
        let [gamma, mean, variance] = PARTS.map(|part| format!("{layer}.{part}"));
        let gamma = params.make(tensors.get(&gamma)?);
        Some(Self { gamma, running: Running::from_tensors(tensors, [&mean, &variance], params.device()) })
    }

    /// Its tensors by their names within the layer.
    pub(super) fn save(&self, mut put: impl FnMut(&str, ArrayD<f32>) -> Option<ArrayD<f32>>) {
        let [mean, variance] = self.running.to_host();
        for (part, value) in PARTS.into_iter().zip([to_host(&self.gamma.val()), mean, variance]) {
            put(part, value);
        }
    }

    /// `γ/σ` by the running variance, `[out]`.
    fn factor(&self) -> Tensor<1> {
        self.gamma.val() / (self.running.variance.value() + EPSILON).sqrt()
    }

    /// The normalization of a convolution `y` by folded weights, by the statistics of the batch.
    pub(super) fn normalize(&self, y: Tensor<4>, beta: Tensor<1>, kernels: bool) -> Tensor<4> {
        let factor = self.factor().detach();
        let tiny = factor.clone().abs().lower_elem(SMALLEST_FACTOR);
        let factor = factor.mask_fill(tiny, 1.0);
        let parameters = [self.gamma.val(), beta];
        if kernels {
            self.running.normalize_multiple(y, factor, parameters, false)
        } else {
            self.running.normalize_generic(y, factor, parameters)
        }
    }
}

/// `[out]` as `[out, 1, 1, 1]`.
fn by_channel(values: Tensor<1>) -> Tensor<4> {
    let [count] = values.dims();
    values.reshape([count, 1, 1, 1])
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::pixels;
    use crate::qat::tests::net;
    use crate::testing::{tiny_arch, tiny_images};

    /// The tiny network at 8 bits with normalizations that do something.
    fn live(device: &Device) -> QatNet {
        let mut float = crate::state_dict::random(&tiny_arch(), 3);
        for (name, tensor) in float.iter_mut().filter(|(name, _)| name.contains("_bn.")) {
            let offset = if name.ends_with("var") || name.ends_with("weight") { 0.5 } else { -0.3 };
            tensor.iter_mut().enumerate().for_each(|(i, value)| *value = offset + 0.1 * (i + 1) as f32);
        }
        let net = net(8, 8, device).with_live_normalization(&float).unwrap();
        net.with_best_steps(device).unwrap()
    }

    fn logits(net: &QatNet, device: &Device) -> Vec<f32> {
        let pixels = pixels::to_tensor(tiny_images(6).pixels(), [6, 6], device);
        net.logits(pixels).into_data_as::<f32>().iter::<f32>().collect()
    }

    #[test]
    fn what_is_evaluated_and_exported_is_the_network_with_the_running_statistics_folded_in() {
        let device = Device::flex();
        let net = live(&device);
        let mut tensors = net.to_tensors();
        for (layer, spec) in net.layers.iter().zip(&net.specs) {
            let (weight, bias) = layer.folded();
            tensors.insert(format!("{}.weight", spec.name), to_host(&weight));
            tensors.insert(format!("{}.bias", spec.name), to_host(&bias));
            PARTS.iter().for_each(|part| drop(tensors.remove(&format!("{}.{part}", spec.name))));
        }
        let folded = net.with_tensors(&tensors, "folded", &device).unwrap();
        assert!(folded.layers.iter().all(|layer| layer.norm.is_none()));
        assert_eq!(logits(&net, &device), logits(&folded, &device));
        assert!(net.export().unwrap() == folded.export().unwrap());
        let again = folded.with_tensors(&net.to_tensors(), "live", &device).unwrap();
        assert_eq!(again.to_tensors(), net.to_tensors());
    }

    #[test]
    fn training_follows_the_batch_and_evaluation_comes_to_agree_with_it() {
        let training = Device::flex().autodiff();
        // Statistics settle, then steps for them; far too coarse or fine ones would move the statistics again.
        let settle = |net: &QatNet| (0..100).for_each(|_| drop(logits(net, &training)));
        let distance = |net: &QatNet| -> f32 {
            let evaluated = logits(&net.clone().valid(), &Device::flex());
            let trained = logits(net, &training);
            trained.iter().zip(evaluated).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        };
        let mut net = live(&training);
        let before = distance(&net);
        for _ in 0..2 {
            settle(&net);
            net = net.with_best_steps(&training).unwrap();
        }
        settle(&net);
        let after = distance(&net);
        assert!(after < 0.05 * before, "{before} {after}");
    }

    #[test]
    fn every_parameter_of_a_live_normalization_gets_a_gradient() {
        let device = Device::flex().autodiff();
        let net = live(&device);
        let pixels = pixels::to_tensor(tiny_images(6).pixels(), [6, 6], &device);
        let grads = net.logits(pixels).powi_scalar(2).sum().backward();
        for layer in &net.layers {
            assert!(layer.weight.val().grad(&grads).is_some() && layer.bias.val().grad(&grads).is_some());
            assert!(layer.norm.as_ref().is_none_or(|norm| norm.gamma.val().grad(&grads).is_some()));
        }
        assert_eq!(net.layers.iter().filter(|layer| layer.norm.is_some()).count(), 5);
    }
}
