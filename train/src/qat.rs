//! The quantized network during training: folded float weights, fake-quantized to exactly what the integer engine does.

use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use eqo_checkpoints::arch::{Arch, ArchNode};
use eqo_checkpoints::plan::BitPlan;
use eqo_datasets::{Dataset, Normalization};
use ndarray::ArrayD;

use crate::classifier::Classifier;
use crate::interpret::{self, Nodes};
use crate::kernels::{ActivationQuantizer, TapQuantizer, Window};
use crate::ops::{self, ConvSpec, Rounding, Weights};
use crate::pooling::Largest;
use crate::quantizer;
use crate::tensors::{NamedTensors, ParamMaker, to_device, to_host};
use crate::winograd;
use crate::{Result, pixels, state_dict};

mod calibrate;
mod domain;
mod export;
mod float;
mod folded;
mod live;
mod narrow;
mod outliers;
mod replan;
mod spec;
mod wiring;

#[cfg(test)]
pub(crate) mod tests;

pub use calibrate::RoundedActivation;
pub use domain::Domain;
pub use export::ExportedLayer;
pub use folded::{FoldedLayer, FoldedWeights};
pub use live::BatchNorm;
pub use narrow::Narrowing;
pub use outliers::Spread;

use calibrate::FloatNetwork;
use live::LiveNorm;
use spec::LayerSpec;
use wiring::Wiring;

/// A network of batch-normalization-free units whose weights, biases and activations are fake-quantized.
///
/// Trained: folded weights, biases, the logarithms of every activation's scale and of every weight step (one for each
/// tap and output channel). In force are the rounded logarithms, so every scale is a power of two at any time.
#[derive(Module, Debug)]
pub struct QatNet {
    layers: Vec<QatLayer>,
    #[module(skip)]
    specs: Vec<LayerSpec>,
    #[module(skip)]
    arch: Arch,
    #[module(skip)]
    plan: BitPlan,
    #[module(skip)]
    normalization: Normalization,
    /// Tensor operations that every device has, also where there are kernels.
    #[module(skip)]
    generic: bool,
}

/// What is trained of one layer.
#[derive(Module, Debug)]
struct QatLayer {
    /// `[out, in, side, side]`, the kernel or, in the Winograd [`Domain`], the taps; before the input's constant factors
    /// and a live normalization.
    weight: Param<Tensor<4>>,
    /// Of the convolution, or of its live normalization.
    bias: Param<Tensor<1>>,
    /// Folded in every step instead of once before the training.
    norm: Option<LiveNorm>,
    /// Of the weight codes, see [`LayerSpec::step_shape`].
    log2_step: Param<Tensor<2>>,
    /// Of the activation the layer ends in; `None` where it ends in its accumulator.
    log2_scale: Option<Param<Tensor<1>>>,
}

impl QatNet {
    /// Starts quantization-aware training from a folded float network.
    ///
    /// Weight exponents and activation scales are those of least squared error, the latter on the float network's
    /// activations for the `calibration` images.
    ///
    /// # Errors
    /// [`crate::Error::Plan`] for a plan this quantizer can't follow, [`crate::Error::StateDict`] for folded weights that don't fit
    /// `arch`, [`crate::Error::Data`] for images of another size.
    pub fn from_folded(
        arch: &Arch,
        plan: &BitPlan,
        folded: &FoldedWeights,
        normalization: Normalization,
        calibration: &Dataset,
        device: &Device,
    ) -> Result<Self> {
        normalization.validate()?;
        pixels::check_size(calibration, arch.shapes()[0])?;
        let specs = spec::layer_specs(arch, plan, &normalization, Domain::Spatial)?;
        let mut tensors = folded::to_tensors(arch, &specs, folded)?;
        let layer = |spec: &LayerSpec| {
            let tensor = |part: &str| &tensors[&format!("{}.{part}", spec.name)];
            (to_device(tensor("weight"), device), to_device(tensor("bias"), device))
        };
        let network = FloatNetwork { arch, specs: &specs, layers: specs.iter().map(layer).collect() };
        let mut scales = NamedTensors::new();
        network.activations(calibration, &normalization, |index, values| {
            let LayerSpec { name, act_bits, .. } = &specs[index];
            // A dead activation keeps scale 1: it is zero at any.
            let best = act_bits.and_then(|bits| quantizer::best_activation_exponent(values, bits));
            let exponent = best.unwrap_or(0) as f32;
            scales.insert(format!("{name}.log2_scale"), ArrayD::from_elem(vec![1], exponent));
        });
        tensors.append(&mut scales);
        for spec in &specs {
            let zeros = ArrayD::zeros(spec.step_shape().as_slice());
            tensors.insert(format!("{}.log2_step", spec.name), zeros);
        }
        let net = Self::from_tensors(arch, plan, normalization, &tensors, "folded weights", device)?;
        net.with_best_steps(device)
    }

    /// Rebuilds the network from [`Classifier::to_tensors`].
    ///
    /// # Errors
    /// [`crate::Error::Plan`] or [`crate::Error::StateDict`].
    pub fn from_tensors(
        arch: &Arch,
        plan: &BitPlan,
        normalization: Normalization,
        tensors: &NamedTensors,
        origin: &str,
        device: &Device,
    ) -> Result<Self> {
        let domain = Domain::of(arch, plan, tensors);
        let specs = spec::layer_specs(arch, plan, &normalization, domain)?;
        let mut shapes = spec::tensor_shapes(&specs);
        specs.iter().for_each(|spec| LiveNorm::add_shapes(spec, tensors, &mut shapes));
        state_dict::check(&arch.name, &shapes, tensors, origin)?;
        let mut params = ParamMaker::new(device);
        let layers = specs.iter().map(|spec| {
            let tensor = |part: &str| &tensors[&format!("{}.{part}", spec.name)];
            QatLayer {
                weight: params.make(tensor("weight")),
                bias: params.make(tensor("bias")),
                norm: LiveNorm::from_tensors(&spec.name, tensors, &mut params),
                log2_step: params.make(tensor("log2_step")),
                log2_scale: spec.act_bits.map(|_| params.make(tensor("log2_scale"))),
            }
        });
        let layers = layers.collect();
        Ok(Self { layers, specs, arch: arch.clone(), plan: plan.clone(), normalization, generic: false })
    }

    /// The same network, computed by generic tensor operations on every device: the oracle of the kernels, and what
    /// they are measured against.
    #[must_use]
    pub fn with_generic_operations(self) -> Self {
        Self { generic: true, ..self }
    }

    /// The architecture it interprets.
    pub fn arch(&self) -> &Arch {
        &self.arch
    }

    /// The bits it quantizes to.
    pub fn plan(&self) -> &BitPlan {
        &self.plan
    }

    /// What turns pixels into its integer input.
    pub fn normalization(&self) -> Normalization {
        self.normalization
    }

    /// Real value of every node, each an exact multiple of its scale.
    pub(crate) fn outputs(&self, pixels: Tensor<4>) -> Vec<Tensor<4>> {
        let pass = Pass { net: self, wiring: self.wiring() };
        interpret::interpret(&self.arch, &pass, pixels::subtract_offsets(pixels, &self.normalization))
    }

    /// Exponent of each layer's activation; `None` where it ends in its accumulator.
    fn activation_exponents(&self) -> Vec<Option<i32>> {
        let scales = self.layers.iter().map(|layer| layer.log2_scale.as_ref());
        scales.map(|scale| scale.map(|scale| quantizer::exponent_of(&scale.val()))).collect()
    }

    fn device(&self) -> Device {
        self.layers.first().map(|layer| layer.weight.val().device()).unwrap_or_default()
    }

    fn has_kernels(&self, device: &Device) -> bool {
        !self.generic && ops::runs_here(device)
    }
}

impl Classifier for QatNet {
    fn logits(&self, pixels: Tensor<4>) -> Tensor<2> {
        interpret::logits(self.outputs(pixels))
    }

    fn image_shape(&self) -> [usize; 3] {
        self.arch.shapes()[0]
    }

    fn to_tensors(&self) -> NamedTensors {
        let mut tensors = NamedTensors::new();
        for (layer, spec) in self.layers.iter().zip(&self.specs) {
            let mut put = |part: &str, value| tensors.insert(format!("{}.{part}", spec.name), value);
            put("weight", to_host(&layer.weight.val()));
            put("bias", to_host(&layer.bias.val()));
            put("log2_step", to_host(&layer.log2_step.val()));
            if let Some(norm) = &layer.norm {
                norm.save(&mut put);
            }
            if let Some(scale) = &layer.log2_scale {
                put("log2_scale", to_host(&scale.val()));
            }
        }
        tensors
    }

    fn with_tensors(&self, tensors: &NamedTensors, origin: &str, device: &Device) -> Result<Self> {
        let net = Self::from_tensors(&self.arch, &self.plan, self.normalization, tensors, origin, device)?;
        Ok(Self { generic: self.generic, ..net })
    }
}

/// One forward pass with the exponents in force.
struct Pass<'a> {
    net: &'a QatNet,
    wiring: Wiring,
}

impl Nodes for Pass<'_> {
    type Value = Tensor<4>;

    fn weighted(
        &self,
        index: usize,
        _: &ArchNode,
        input: Tensor<4>,
        shortcut: Option<Tensor<4>>,
    ) -> Tensor<4> {
        let (layer, spec) = (&self.net.layers[index], &self.net.specs[index]);
        let activation = layer.log2_scale.as_ref().zip(spec.act_bits);
        let activation = activation.map(|(scale, bits)| {
            let exponent = quantizer::exponent_of(&scale.val());
            (scale.val(), ActivationQuantizer { exponent, largest: quantizer::largest_level(bits) })
        });
        let kernels = self.net.has_kernels(&input.device());
        let live = layer.norm.as_ref().filter(|_| input.device().is_autodiff());
        let operands = layer.operands(live.is_some());
        if kernels
            && live.is_none()
            && let Some((scale, quantizer)) = activation
        {
            let (weights, conv) = self.kernel_operands(index, operands);
            return ops::quantized_unit(input, weights, shortcut, scale, (conv, quantizer));
        }
        let mut y = self.convolve(index, input, operands, kernels);
        if let Some(norm) = live {
            y = norm.normalize(y, layer.bias.val(), kernels);
        }
        match activation {
            Some((scale, quantizer)) if kernels => ops::quantize_activation(y, shortcut, scale, quantizer),
            Some((scale, quantizer)) => quantizer::quantize_activation(sum(y, shortcut), scale, quantizer),
            None => sum(y, shortcut),
        }
    }

    /// The sum; its division by the area is in the next layer's weights.
    fn pool(&self, input: Tensor<4>) -> Tensor<4> {
        input.sum_dim(1).sum_dim(2)
    }

    fn max_pool(&self, input: Tensor<4>, window: Window) -> Tensor<4> {
        if self.net.has_kernels(&input.device()) {
            return ops::max_pool(input, window);
        }
        Largest::of(&input, window).select(input)
    }
}

impl Pass<'_> {
    /// What the kernels convolve by.
    fn kernel_operands(&self, index: usize, (weight, bias): (Tensor<4>, Tensor<1>)) -> (Weights, ConvSpec) {
        let (layer, spec) = (&self.net.layers[index], &self.net.specs[index]);
        let rounding = Rounding { taps: self.taps(index), bias_exponents: self.wiring.acc[index].clone() };
        let (taps, rounding) = (spec.tap_map.clone(), Some(Arc::new(rounding)));
        let weights = Weights { weight, bias, log2_step: layer.log2_step.val() };
        (weights, ConvSpec { geometry: spec.geometry, taps, rounding })
    }

    fn convolve(
        &self,
        index: usize,
        input: Tensor<4>,
        operands: (Tensor<4>, Tensor<1>),
        kernels: bool,
    ) -> Tensor<4> {
        if kernels {
            let (weights, conv) = self.kernel_operands(index, operands);
            return ops::convolve(input, weights, conv);
        }
        let (layer, spec) = (&self.net.layers[index], &self.net.specs[index]);
        let (weight, bias) = operands;
        let taps =
            quantizer::quantize_taps(spec.generic_taps(weight), layer.log2_step.val(), &self.taps(index));
        let steps = powers_of_two(&self.wiring.acc[index], &input.device());
        winograd::convolve(input, taps, quantizer::quantize_bias(bias, steps), spec.geometry)
    }

    fn taps(&self, index: usize) -> TapQuantizer {
        self.net.specs[index].quantizer(&self.wiring.steps[index])
    }
}

fn sum(y: Tensor<4>, shortcut: Option<Tensor<4>>) -> Tensor<4> {
    match shortcut {
        Some(shortcut) => y + shortcut,
        None => y,
    }
}

/// `2^e` for each exponent.
fn powers_of_two(exponents: &[i32], device: &Device) -> Tensor<1> {
    let values: Vec<f32> = exponents.iter().map(|&exponent| 2.0_f32.powi(exponent)).collect();
    Tensor::from_data(TensorData::new(values, [exponents.len()]), device)
}
