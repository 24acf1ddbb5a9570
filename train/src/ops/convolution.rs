//! [`KernelOps::convolve`] on flex: tap weights, their rounding and the convolution as one node of the graph.
//!
//! Kept for the backward pass are the operands only: tap weights and transformed tiles are computed again.

use std::sync::Arc;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};
use eqo_checkpoints::winograd::Algorithm;

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

pub(super) fn forward(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, spec: &ConvSpec) -> FlexTensor {
    let [x, weight, bias] = [x, weight, bias].map(Numbers::of);
    let shape = spec.shape(&x, &weight);
    let taps = spec.taps.taps(weight.slice());
    let mut bias = bias.into_vec();
    let taps = match &spec.rounding {
        None => taps,
        Some(rounding) => {
            for (bias, &exponent) in bias.iter_mut().zip(&rounding.bias_exponents) {
                *bias = bias_code(*bias, exponent) * 2.0_f32.powi(exponent);
            }
            rounding.taps.quantize(&taps, [shape.outputs, shape.inputs])
        }
    };
    let y = kernels::forward(spec.geometry.algorithm, shape, (x.slice(), &taps, &bias));
    let [height, width] = shape.output_size();
    tensor(y, [shape.outputs, height, width, shape.images])
}

pub(super) fn tracked<C: CheckpointStrategy>(
    operands: [FloatTensor<Autodiff<Flex, C>>; 4],
    spec: ConvSpec,
) -> FloatTensor<Autodiff<Flex, C>> {
    let nodes = operands.each_ref().map(|operand| operand.node());
    let [x, weight, bias, _] = operands.map(|operand| operand.into_primitive());
    match Convolve.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let y = forward(x.clone(), weight.clone(), bias, &spec);
            prep.finish((x, weight, spec), y)
        }
        OpsKind::UnTracked(prep) => prep.finish(forward(x, weight, bias, &spec)),
    }
}

#[derive(Debug)]
struct Convolve;

impl Backward<Flex, 4> for Convolve {
    type State = (FlexTensor, FlexTensor, ConvSpec);

    fn backward(self, ops: Ops<Self::State, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
        let upstream = Numbers::of(grads.consume::<Flex>(&ops.node));
        let [x_node, weight_node, bias_node, step_node] = ops.parents;
        let (x, weight, spec) = ops.state;
        let [x, weight] = [x, weight].map(Numbers::of);
        let shape = spec.shape(&x, &weight);
        let channels = [shape.outputs, shape.inputs];
        let float_taps = spec.taps.taps(weight.slice());
        let quantizer = spec.rounding.as_ref().map(|rounding| &rounding.taps);
        let rounded = quantizer.map(|quantizer| quantizer.quantize(&float_taps, channels));
        let taps = rounded.as_deref().unwrap_or(&float_taps);
        let operands = (x.slice(), taps, upstream.slice());
        let found = kernels::backward(spec.geometry.algorithm, shape, operands, x_node.is_some());
        let taps = match quantizer {
            None => found.taps,
            Some(quantizer) => {
                let gradients = quantizer.gradients(&float_taps, channels, found.taps);
                let rows = quantizer.exponents.len();
                if let Some(node) = step_node {
                    let groups = gradients.log2_step.len() / rows;
                    grads.register::<Flex>(node.id, tensor(gradients.log2_step, [rows, groups]));
                }
                gradients.taps
            }
        };
        if let Some(node) = weight_node {
            grads.register::<Flex>(node.id, tensor(spec.taps.adjoint(&taps), weight.dims::<4>()));
        }
        if let Some(node) = bias_node {
            grads.register::<Flex>(node.id, tensor(found.bias, [shape.outputs]));
        }
        if let Some(node) = x_node {
            grads.register::<Flex>(node.id, tensor(found.input, x.dims::<4>()));
        }
    }
}

impl ConvSpec {
    fn shape(&self, x: &Numbers, weight: &Numbers) -> ConvShape {
        let [inputs, height, width, images] = x.dims();
        let [outputs, ..] = weight.dims::<4>();
        let Geometry { kernel, stride, padding, algorithm } = self.geometry;
        debug_assert!(stride == 1 || algorithm == Algorithm::Direct);
        ConvShape { inputs, outputs, height, width, images, kernel, stride, padding }
    }
}
