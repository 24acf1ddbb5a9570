//! The float network: any [`Arch`] as a Burn module.

use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, activation};
use eqo_checkpoints::arch::{Arch, ArchNode, Keys};
use eqo_checkpoints::winograd::Algorithm;
use eqo_datasets::Normalization;
use ndarray::ArrayD;

use crate::batch_norm::Running;
use crate::classifier::Classifier;
use crate::interpret::{self, Nodes};
use crate::kernels::{TapMap, Window};
use crate::ops::{self, ConvSpec, Weights};
use crate::state_dict;
use crate::tensors::{NamedTensors, ParamMaker, to_host};
use crate::winograd::Geometry;
use crate::{Result, pixels, pooling};

/// A float network. Batch normalization uses batch statistics on an autodiff device (training) and running
/// statistics otherwise.
#[derive(Module, Debug)]
pub struct Net {
    units: Vec<Unit>,
    #[module(skip)]
    arch: Arch,
    #[module(skip)]
    normalization: Normalization,
}

/// Weights of one convolution unit or linear layer.
#[derive(Module, Debug)]
struct Unit {
    /// `[out, in, kernel, kernel]`.
    weight: Param<Tensor<4>>,
    bias: Option<Param<Tensor<1>>>,
    norm: Option<Norm>,
    /// How the kernels convolve: Winograd where a tile fits.
    #[module(skip)]
    conv: ConvSpec,
}

/// Batch normalization behind a convolution.
#[derive(Module, Debug)]
struct Norm {
    gamma: Param<Tensor<1>>,
    beta: Param<Tensor<1>>,
    running: Running,
}

impl Net {
    /// Builds the network from a state dict in PyTorch's names and shapes.
    ///
    /// # Errors
    /// [`crate::Error::StateDict`] lists every missing, unexpected or wrongly shaped tensor; `origin` names their source.
    pub fn from_tensors(
        arch: &Arch,
        normalization: Normalization,
        tensors: &NamedTensors,
        origin: &str,
        device: &Device,
    ) -> Result<Self> {
        normalization.validate()?;
        state_dict::check(&arch.name, &arch.state_dict(), tensors, origin)?;
        let mut params = ParamMaker::new(device);
        let units =
            interpret::weighted_nodes(arch).map(|node| Unit::new(node, tensors, &mut params)).collect();
        Ok(Self { units, arch: arch.clone(), normalization })
    }

    /// A network with random weights: He initialization for convolutions (fan out), PyTorch's for the linear layer.
    pub fn random(arch: &Arch, normalization: Normalization, seed: u64, device: &Device) -> Result<Self> {
        Self::from_tensors(arch, normalization, &state_dict::random(arch, seed), "random weights", device)
    }

    /// The architecture it interprets.
    pub fn arch(&self) -> &Arch {
        &self.arch
    }

    /// What turns pixels into its input.
    pub fn normalization(&self) -> Normalization {
        self.normalization
    }

    /// Output of every node for raw pixels `[3, height, width, batch]` in 0..=255, in the order of [`Arch::nodes`];
    /// the first is the normalized image.
    pub fn trace(&self, pixels: Tensor<4>) -> Vec<Tensor<4>> {
        let image = pixels::normalize(pixels, &self.normalization);
        interpret::interpret(&self.arch, self, image)
    }
}

impl Classifier for Net {
    fn logits(&self, pixels: Tensor<4>) -> Tensor<2> {
        interpret::logits(self.trace(pixels))
    }

    fn image_shape(&self) -> [usize; 3] {
        self.arch.shapes()[0]
    }

    fn to_tensors(&self) -> NamedTensors {
        let mut tensors = NamedTensors::new();
        for (unit, node) in self.units.iter().zip(interpret::weighted_nodes(&self.arch)) {
            unit.save(node, &mut tensors);
        }
        tensors
    }

    fn with_tensors(&self, tensors: &NamedTensors, origin: &str, device: &Device) -> Result<Self> {
        Self::from_tensors(&self.arch, self.normalization, tensors, origin, device)
    }
}

impl Nodes for Net {
    type Value = Tensor<4>;

    fn weighted(
        &self,
        index: usize,
        node: &ArchNode,
        input: Tensor<4>,
        shortcut: Option<Tensor<4>>,
    ) -> Tensor<4> {
        let unit = &self.units[index];
        let relu = node.op.as_conv().is_some_and(|conv| conv.relu);
        let fused = ops::runs_here(&input.device());
        let y = if fused { unit.convolve(input) } else { unit.convolve_generic(node, input) };
        let relu_in_norm = relu && shortcut.is_none() && unit.norm.is_some();
        let y = match &unit.norm {
            Some(norm) => norm.running.normalize(y, [norm.gamma.val(), norm.beta.val()], relu_in_norm),
            None => y,
        };
        let y = match shortcut {
            Some(shortcut) => y + shortcut,
            None => y,
        };
        if relu && !relu_in_norm { activation::relu(y) } else { y }
    }

    fn pool(&self, input: Tensor<4>) -> Tensor<4> {
        input.mean_dim(1).mean_dim(2)
    }

    fn max_pool(&self, input: Tensor<4>, window: Window) -> Tensor<4> {
        pooling::max_pool(input, window)
    }
}

fn conv_spec(node: &ArchNode) -> ConvSpec {
    let (stride, padding) = interpret::geometry(node);
    let shape @ [_, inputs, kernel, _] = interpret::weight_shape(node);
    let algorithm = Algorithm::F2x2.beside(kernel, stride);
    let taps = TapMap::new(shape, algorithm.transform().as_ref(), &vec![1.0; inputs]);
    let geometry = Geometry { algorithm, kernel, stride, padding };
    ConvSpec { geometry, taps: Arc::new(taps), rounding: None }
}

impl Unit {
    fn convolve(&self, input: Tensor<4>) -> Tensor<4> {
        let device = input.device();
        let weight = self.weight.val();
        let bias = self.bias.as_ref().map_or_else(|| Tensor::zeros([weight.dims()[0]], &device), Param::val);
        let log2_step = Tensor::zeros([1, 1], &device);
        ops::convolve(input, Weights { weight, bias, log2_step }, self.conv.clone())
    }

    fn convolve_generic(&self, node: &ArchNode, input: Tensor<4>) -> Tensor<4> {
        let (stride, padding) = interpret::geometry(node);
        let options = ConvOptions::new([stride; 2], [padding; 2], [1; 2], 1);
        let bias = self.bias.as_ref().map(Param::val);
        conv2d(input.permute([3, 0, 1, 2]), self.weight.val(), bias, options).permute([1, 2, 3, 0])
    }

    /// Takes the node's tensors, which [`state_dict::check`] has found complete.
    fn new(node: &ArchNode, tensors: &NamedTensors, params: &mut ParamMaker<'_>) -> Self {
        let shape = interpret::weight_shape(node);
        let keys = Keys::of(node).expect("a node with weights");
        let take = |name: &String| tensors[name].clone();
        let weight = take(&keys.weight).into_shape_with_order(shape.as_slice()).expect("shapes were checked");
        let weight = params.make(&weight);
        let bias = keys.bias.as_ref().map(|name| params.make(&take(name)));
        let norm = keys.norm.as_ref().map(|[gamma, beta, mean, variance]| {
            let running = Running::from_tensors(tensors, [mean, variance], params.device());
            Norm { gamma: params.make(&take(gamma)), beta: params.make(&take(beta)), running }
        });
        Self { weight, bias, norm, conv: conv_spec(node) }
    }

    fn save(&self, node: &ArchNode, tensors: &mut NamedTensors) {
        let keys = Keys::of(node).expect("a node with weights");
        let weight = to_host(&self.weight.val());
        let weight = weight.into_shape_with_order(keys.weight_shape.as_slice()).expect("same count");
        tensors.insert(keys.weight, weight);
        if let (Some(name), Some(bias)) = (keys.bias, &self.bias) {
            tensors.insert(name, to_host(&bias.val()));
        }
        if let (Some([gamma, beta, mean, variance]), Some(norm)) = (keys.norm, &self.norm) {
            let mut put = |name: String, value: ArrayD<f32>| tensors.insert(name, value);
            put(gamma, to_host(&norm.gamma.val()));
            put(beta, to_host(&norm.beta.val()));
            let [mean_found, variance_found] = norm.running.to_host();
            put(mean, mean_found);
            put(variance, variance_found);
        }
    }
}

#[cfg(test)]
mod tests;
