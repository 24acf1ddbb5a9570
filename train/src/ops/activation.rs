//! [`KernelOps::quantize_activation`] on flex, with learned step sizes.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};

use super::raw::{Numbers, tensor};
use crate::kernels::ActivationQuantizer;

pub(super) fn forward(x: FlexTensor, quantizer: ActivationQuantizer) -> FlexTensor {
    let x = Numbers::of(x);
    tensor(quantizer.quantize(x.slice()), x.dims::<4>())
}

pub(super) fn tracked<C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<Flex, C>>,
    log2_scale: FloatTensor<Autodiff<Flex, C>>,
    quantizer: ActivationQuantizer,
) -> FloatTensor<Autodiff<Flex, C>> {
    let nodes = [x.node(), log2_scale.node()];
    let x = x.into_primitive();
    match QuantizeActivation.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish((x.clone(), quantizer), forward(x, quantizer)),
        OpsKind::UnTracked(prep) => prep.finish(forward(x, quantizer)),
    }
}

#[derive(Debug)]
struct QuantizeActivation;

impl Backward<Flex, 2> for QuantizeActivation {
    type State = (FlexTensor, ActivationQuantizer);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let upstream = Numbers::of(grads.consume::<Flex>(&ops.node));
        let [x_node, scale_node] = ops.parents;
        let (x, quantizer) = ops.state;
        let x = Numbers::of(x);
        let shape = x.dims::<4>();
        let mut gradient = upstream.into_vec();
        let slope = quantizer.gradients(x.slice(), &mut gradient);
        // Esser et al. 2020, §2.2, with the values of one image, so that the batch size doesn't matter.
        let damping = ((shape[0] * shape[1] * shape[2]) as f32 * quantizer.largest).sqrt();
        if let Some(node) = scale_node {
            grads.register::<Flex>(node.id, tensor(vec![slope / damping], [1]));
        }
        if let Some(node) = x_node {
            grads.register::<Flex>(node.id, tensor(gradient, shape));
        }
    }
}
