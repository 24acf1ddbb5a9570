//! [`super::KernelOps::quantized_unit`] on flex: convolution, residual and rounding as one node of the graph.
//!
//! Kept for the backward pass are the convolution's operands and the sum before rounding.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};

use super::activation::ActivationSpec;
use super::convolution::{self, ConvSpec, Convolution};
use super::raw::{Numbers, tensor};
use crate::kernels;

/// What is fixed of a unit while a network runs forward and backward once.
#[derive(Clone, Debug)]
pub(crate) struct UnitSpec {
    pub(crate) conv: ConvSpec,
    pub(crate) end: ActivationSpec,
}

/// Operands of a unit, in the order of [`super::KernelOps::quantized_unit`].
const OPERANDS: usize = 6;

pub(super) fn forward(operands: [FlexTensor; OPERANDS], spec: &UnitSpec) -> FlexTensor {
    let [_, rounded] = both(operands, spec);
    rounded
}

/// The sum before rounding, and the rounded.
fn both([x, weight, bias, _, shortcut, _]: [FlexTensor; OPERANDS], spec: &UnitSpec) -> [FlexTensor; 2] {
    let conv = Convolution::new([x, weight], &spec.conv);
    let (taps, bias) = (conv.rounded_taps(), conv.rounded_bias(bias));
    let shortcut = Numbers::of(shortcut);
    let finish = spec.end.finish(&shortcut);
    let operands = (conv.x.slice(), taps.as_slice(), bias.as_slice());
    let found = kernels::forward_unit(spec.conv.geometry.algorithm, conv.shape, operands, &finish);
    found.map(|numbers| tensor(numbers, conv.output_dims()))
}

pub(super) fn tracked<C: CheckpointStrategy>(
    operands: [FloatTensor<Autodiff<Flex, C>>; OPERANDS],
    spec: UnitSpec,
) -> FloatTensor<Autodiff<Flex, C>> {
    let nodes = operands.each_ref().map(|operand| operand.node());
    let operands = operands.map(|operand| operand.into_primitive());
    match QuantizedUnit.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let [x, weight, ..] = operands.clone();
            let [sum, rounded] = both(operands, &spec);
            prep.finish((x, weight, sum, spec), rounded)
        }
        OpsKind::UnTracked(prep) => prep.finish(forward(operands, &spec)),
    }
}

#[derive(Debug)]
struct QuantizedUnit;

impl Backward<Flex, OPERANDS> for QuantizedUnit {
    type State = (FlexTensor, FlexTensor, FlexTensor, UnitSpec);

    fn backward(self, ops: Ops<Self::State, OPERANDS>, grads: &mut Gradients, _: &mut Checkpointer) {
        let upstream = Numbers::of(grads.consume::<Flex>(&ops.node));
        let nodes = ops.parents.map(|node| node.map(|node| node.id));
        let [x_node, weight_node, bias_node, step_node, shortcut_node, scale_node] = nodes;
        let (x, weight, sum, spec) = ops.state;
        let dims = upstream.dims::<4>();
        let mut gradient = upstream.into_vec();
        let (slope, bias) = spec.end.quantizer.gradients(Numbers::of(sum).slice(), &mut gradient, dims[0]);
        if let Some(node) = scale_node {
            grads.register::<Flex>(node, spec.end.damped(slope, dims));
        }
        let gradient = tensor(gradient, dims);
        if let Some(node) = shortcut_node.filter(|_| spec.end.has_shortcut) {
            grads.register::<Flex>(node, gradient.clone());
        }
        if let Some(node) = bias_node {
            grads.register::<Flex>(node, tensor(bias, [dims[0]]));
        }
        let conv = Convolution::new([x, weight], &spec.conv);
        convolution::register(&conv, gradient, [x_node, weight_node, step_node], grads);
    }
}
