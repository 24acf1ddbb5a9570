//! [`super::KernelOps::normalize`] on flex.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};

use super::raw::{Numbers, tensor};
use crate::kernels::{self, Normalizer};

/// `[2, channels]`.
pub(super) fn moments(x: FlexTensor) -> FlexTensor {
    let x = Numbers::of(x);
    let [channels, ..] = x.dims::<4>();
    let (mean, variance) = kernels::moments(x.slice(), channels);
    tensor([mean, variance].concat(), [2, channels])
}

pub(super) fn forward(operands: [FlexTensor; 3], normalizer: &Normalizer) -> FlexTensor {
    let [x, gamma, beta] = operands.map(Numbers::of);
    tensor(normalizer.normalize(x.slice(), gamma.slice(), beta.slice()), x.dims::<4>())
}

pub(super) fn tracked<C: CheckpointStrategy>(
    operands: [FloatTensor<Autodiff<Flex, C>>; 3],
    normalizer: Normalizer,
) -> FloatTensor<Autodiff<Flex, C>> {
    let nodes = operands.each_ref().map(|operand| operand.node());
    let operands = operands.map(|operand| operand.into_primitive());
    match Normalize.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let y = forward(operands.clone(), &normalizer);
            prep.finish((operands, normalizer), y)
        }
        OpsKind::UnTracked(prep) => prep.finish(forward(operands, &normalizer)),
    }
}

#[derive(Debug)]
struct Normalize;

impl Backward<Flex, 3> for Normalize {
    type State = ([FlexTensor; 3], Normalizer);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let upstream = Numbers::of(grads.consume::<Flex>(&ops.node));
        let (operands, normalizer) = ops.state;
        let [x, gamma, beta] = operands.map(Numbers::of);
        let (shape, channels) = (x.dims::<4>(), gamma.dims::<1>());
        let found = normalizer.gradients(x.slice(), gamma.slice(), beta.slice(), upstream.into_vec());
        let [x_node, gamma_node, beta_node] = ops.parents;
        if let Some(node) = x_node {
            grads.register::<Flex>(node.id, tensor(found.input, shape));
        }
        if let Some(node) = gamma_node {
            grads.register::<Flex>(node.id, tensor(found.gamma, channels));
        }
        if let Some(node) = beta_node {
            grads.register::<Flex>(node.id, tensor(found.beta, channels));
        }
    }
}
