//! [`KernelOps::convolve`] on flex: tap weights, their rounding and the convolution as one node of the graph.
//!
//! Kept for the backward pass are the operands only: tap weights and transformed tiles are computed again.

use std::sync::Arc;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};

use super::raw::{Numbers, tensor};
use crate::kernels::{self, ConvShape, TapMap, TapQuantizer};
use crate::quantizer::bias_code;
use crate::winograd::Geometry;

/// What is fixed of one convolution while a network runs forward and backward once.
#[derive(Clone, Debug)]
pub(crate) struct ConvSpec {
    pub(crate) geometry: Geometry,
    pub(crate) taps: Arc<TapMap>,
    /// `None` for a float convolution.
    pub(crate) rounding: Option<Arc<Rounding>>,
}

/// How weights and biases are rounded.
#[derive(Clone, Debug)]
pub(crate) struct Rounding {
    pub(crate) taps: TapQuantizer,
    /// Exponent of each output channel's accumulator, at which its bias is rounded.
    pub(crate) bias_exponents: Vec<i32>,
}

/// A convolution at work: its operands on the host and its sizes.
pub(super) struct Convolution<'a> {
    pub(super) x: Numbers,
    weight: Numbers,
    pub(super) shape: ConvShape,
    spec: &'a ConvSpec,
}

pub(super) fn forward([x, weight, bias, _]: [FlexTensor; 4], spec: &ConvSpec) -> FlexTensor {
    let conv = Convolution::new([x, weight], spec);
    let (taps, bias) = (conv.rounded_taps(), conv.rounded_bias(bias));
    let y = kernels::forward(spec.geometry.algorithm, conv.shape, (conv.x.slice(), &taps, &bias));
    tensor(y, conv.output_dims())
}

pub(super) fn tracked<C: CheckpointStrategy>(
    operands: [FloatTensor<Autodiff<Flex, C>>; 4],
    spec: ConvSpec,
) -> FloatTensor<Autodiff<Flex, C>> {
    let nodes = operands.each_ref().map(|operand| operand.node());
    let operands = operands.map(|operand| operand.into_primitive());
    match Convolve.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let [x, weight, ..] = operands.clone();
            let y = forward(operands, &spec);
            prep.finish((x, weight, spec), y)
        }
        OpsKind::UnTracked(prep) => prep.finish(forward(operands, &spec)),
    }
}

#[derive(Debug)]
struct Convolve;

impl Backward<Flex, 4> for Convolve {
    type State = (FlexTensor, FlexTensor, ConvSpec);

    fn backward(self, ops: Ops<Self::State, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
        let upstream = grads.consume::<Flex>(&ops.node);
        let (x, weight, spec) = ops.state;
        let [x_node, weight_node, bias_node, step_node] = ops.parents.map(|node| node.map(|node| node.id));
        let conv = Convolution::new([x, weight], &spec);
        if let Some(node) = bias_node {
            let upstream = Numbers::of(upstream.clone());
            let bias = kernels::sum_images(upstream.slice(), conv.shape.outputs);
            grads.register::<Flex>(node, tensor(bias, [conv.shape.outputs]));
        }
        register(&conv, upstream, [x_node, weight_node, step_node], grads);
    }
}

/// Registers the gradients of input, weight and steps for the output's gradient `upstream`.
pub(super) fn register(
    conv: &Convolution<'_>,
    upstream: FlexTensor,
    [x_node, weight_node, step_node]: [Option<NodeId>; 3],
    grads: &mut Gradients,
) {
    let upstream = Numbers::of(upstream);
    let float_taps = conv.float_taps();
    let quantizer = conv.spec.rounding.as_ref().map(|rounding| &rounding.taps);
    let rounded = quantizer.map(|quantizer| quantizer.quantize(&float_taps, conv.channels()));
    let operands = (conv.x.slice(), rounded.as_deref().unwrap_or(&float_taps), upstream.slice());
    let found = kernels::backward(conv.spec.geometry.algorithm, conv.shape, operands, x_node.is_some());
    let taps = match quantizer {
        None => found.taps,
        Some(quantizer) => {
            let gradients = quantizer.gradients(&float_taps, conv.channels(), found.taps);
            let rows = quantizer.exponents.len();
            if let Some(node) = step_node {
                let groups = gradients.log2_step.len() / rows;
                grads.register::<Flex>(node, tensor(gradients.log2_step, [rows, groups]));
            }
            gradients.taps
        }
    };
    if let Some(node) = weight_node {
        grads.register::<Flex>(node, tensor(conv.spec.taps.adjoint(&taps), conv.weight.dims::<4>()));
    }
    if let Some(node) = x_node {
        grads.register::<Flex>(node, tensor(found.input, conv.x.dims::<4>()));
    }
}

impl<'a> Convolution<'a> {
    pub(super) fn new(operands: [FlexTensor; 2], spec: &'a ConvSpec) -> Self {
        let [x, weight] = operands.map(Numbers::of);
        let [inputs, height, width, images] = x.dims();
        let [outputs, ..] = weight.dims::<4>();
        let Geometry { kernel, stride, padding, .. } = spec.geometry;
        let shape = ConvShape { inputs, outputs, height, width, images, kernel, stride, padding };
        Self { x, weight, shape, spec }
    }

    /// `[positions, out, in]` before rounding.
    fn float_taps(&self) -> Vec<f32> {
        self.spec.taps.taps(self.weight.slice())
    }

    /// What the forward pass multiplies by.
    pub(super) fn rounded_taps(&self) -> Vec<f32> {
        let taps = self.float_taps();
        match &self.spec.rounding {
            None => taps,
            Some(rounding) => rounding.taps.quantize(&taps, self.channels()),
        }
    }

    /// What the forward pass adds.
    pub(super) fn rounded_bias(&self, bias: FlexTensor) -> Vec<f32> {
        let mut bias = Numbers::of(bias).into_vec();
        let exponents = self.spec.rounding.iter().flat_map(|rounding| &rounding.bias_exponents);
        for (bias, &exponent) in bias.iter_mut().zip(exponents) {
            *bias = bias_code(*bias, exponent) * 2.0_f32.powi(exponent);
        }
        bias
    }

    pub(super) fn output_dims(&self) -> [usize; 4] {
        let [height, width] = self.shape.output_size();
        [self.shape.outputs, height, width, self.shape.images]
    }

    fn channels(&self) -> [usize; 2] {
        [self.shape.outputs, self.shape.inputs]
    }
}
