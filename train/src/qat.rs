//! The quantized network during training: folded float weights, fake-quantized to exactly what the integer engine does.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use eqo_checkpoints::arch::{Arch, ArchNode};
use eqo_checkpoints::plan::BitPlan;
use eqo_datasets::{Dataset, Normalization};
use ndarray::ArrayD;

use crate::classifier::Classifier;
use crate::interpret::{self, Nodes};
use crate::quantizer;
use crate::tensors::{NamedTensors, ParamMaker, to_host};
use crate::winograd;
use crate::{Result, pixels, state_dict};

mod calibrate;
mod export;
mod folded;
mod replan;
mod spec;
mod wiring;

#[cfg(test)]
pub(crate) mod tests;

pub use export::ExportedLayer;
pub use folded::{FoldedLayer, FoldedWeights};

use spec::LayerSpec;

/// A network of batch-normalization-free units whose weights, biases and activations are fake-quantized.
///
/// Trained: folded weights, biases, the logarithm of every activation's scale. Fixed at construction: the exponents of
/// the weight codes, one for each tap and output channel.
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
}

/// What is trained of one layer.
#[derive(Module, Debug)]
struct QatLayer {
    /// `[out, in, kernel, kernel]`, before the input's constant factors.
    weight: Param<Tensor<4>>,
    bias: Param<Tensor<1>>,
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
        let specs = spec::layer_specs(arch, plan, &normalization)?;
        let mut tensors = folded::to_tensors(arch, &specs, folded)?;
        let network = calibrate::FloatNetwork::new(arch, &specs, &tensors, device);
        for (name, exponent) in network.activation_exponents(calibration, &normalization) {
            tensors.insert(format!("{name}.log2_scale"), ArrayD::from_elem(vec![1], exponent as f32));
        }
        for spec in &specs {
            tensors.insert(format!("{}.weight_exponent", spec.name), spec.exponents_array());
        }
        let mut net = Self::from_tensors(arch, plan, normalization, &tensors, "folded weights", device)?;
        net.choose_weight_exponents();
        Ok(net)
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
        let mut specs = spec::layer_specs(arch, plan, &normalization)?;
        state_dict::check(&arch.name, &spec::tensor_shapes(&specs), tensors, origin)?;
        let mut params = ParamMaker::new(device);
        let layers = specs.iter_mut().map(|spec| {
            let tensor = |part: &str| &tensors[&format!("{}.{part}", spec.name)];
            let exponents = tensor("weight_exponent");
            let layer = QatLayer {
                weight: params.make(tensor("weight")),
                bias: params.make(tensor("bias")),
                log2_scale: spec.act_bits.map(|_| params.make(tensor("log2_scale"))),
            };
            spec.exponents =
                exponents.outer_iter().map(|row| row.iter().map(|&e| e as i32).collect()).collect();
            layer
        });
        let layers = layers.collect();
        Ok(Self { layers, specs, arch: arch.clone(), plan: plan.clone(), normalization })
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
        let pass = Pass { net: self, acc: self.wiring().acc };
        interpret::interpret(&self.arch, &pass, pixels::subtract_offsets(pixels, &self.normalization))
    }

    /// Exponent of each layer's activation; `None` where it ends in its accumulator.
    fn activation_exponents(&self) -> Vec<Option<i32>> {
        let scales = self.layers.iter().map(|layer| layer.log2_scale.as_ref());
        scales.map(|scale| scale.map(|scale| quantizer::exponent_of(&scale.val()))).collect()
    }

    /// Tap weights `[positions, out, in]` before quantization: the input's constant factors, then `(G⊗G)·w`.
    fn float_taps(&self, index: usize) -> Tensor<3> {
        let weight = self.layers[index].weight.val();
        self.specs[index].float_taps(weight)
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
            put("weight_exponent", spec.exponents_array());
            if let Some(scale) = &layer.log2_scale {
                put("log2_scale", to_host(&scale.val()));
            }
        }
        tensors
    }

    fn with_tensors(&self, tensors: &NamedTensors, origin: &str, device: &Device) -> Result<Self> {
        Self::from_tensors(&self.arch, &self.plan, self.normalization, tensors, origin, device)
    }
}

/// One forward pass with the exponents in force.
struct Pass<'a> {
    net: &'a QatNet,
    /// Accumulator exponents `[layer][out]`.
    acc: Vec<Vec<i32>>,
}

impl Nodes for Pass<'_> {
    fn weighted(
        &self,
        index: usize,
        _: &ArchNode,
        input: Tensor<4>,
        shortcut: Option<Tensor<4>>,
    ) -> Tensor<4> {
        let (layer, spec) = (&self.net.layers[index], &self.net.specs[index]);
        let device = input.device();
        let taps =
            quantizer::quantize_weight(self.net.float_taps(index), spec.steps(&device), spec.weight_bits);
        let bias = quantizer::quantize_bias(layer.bias.val(), powers_of_two(&self.acc[index], &device));
        let mut y = winograd::convolve(input, taps, bias, spec.geometry);
        if let Some(shortcut) = shortcut {
            y = y + shortcut;
        }
        match (&layer.log2_scale, spec.act_bits) {
            (Some(scale), Some(bits)) => {
                let exponent = quantizer::exponent_of(&scale.val());
                quantizer::quantize_activation(y, scale.val(), exponent, bits)
            }
            _ => y,
        }
    }

    /// The sum; its division by the area is in the next layer's weights.
    fn pool(&self, input: Tensor<4>) -> Tensor<4> {
        input.sum_dim(2).sum_dim(3)
    }
}

/// `2^e` for each exponent.
fn powers_of_two(exponents: &[i32], device: &Device) -> Tensor<1> {
    let values: Vec<f32> = exponents.iter().map(|&exponent| 2.0_f32.powi(exponent)).collect();
    Tensor::from_data(TensorData::new(values, [exponents.len()]), device)
}
