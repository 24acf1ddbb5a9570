//! [`super::KernelOps::max_pool`] on flex.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};

use super::raw::{Numbers, tensor};
use crate::kernels::{Pooling, Window};

pub(super) fn forward(x: FlexTensor, window: Window) -> FlexTensor {
    let x = Numbers::of(x);
    let [channels, height, width, images] = x.dims();
    let pooling = Pooling { sides: [height, width], images, window };
    let [rows, columns] = pooling.output_size();
    tensor(pooling.forward(x.slice(), channels), [channels, rows, columns, images])
}

pub(super) fn tracked<C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<Flex, C>>,
    window: Window,
) -> FloatTensor<Autodiff<Flex, C>> {
    let node = x.node();
    let x = x.into_primitive();
    match MaxPool.prepare::<C>([node]).compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish((x.clone(), window), forward(x, window)),
        OpsKind::UnTracked(prep) => prep.finish(forward(x, window)),
    }
}

#[derive(Debug)]
struct MaxPool;

impl Backward<Flex, 1> for MaxPool {
    type State = (FlexTensor, Window);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let upstream = Numbers::of(grads.consume::<Flex>(&ops.node));
        let (x, window) = ops.state;
        let x = Numbers::of(x);
        let dims @ [channels, height, width, images] = x.dims();
        let pooling = Pooling { sides: [height, width], images, window };
        if let [Some(node)] = ops.parents {
            let gradient = pooling.backward(x.slice(), upstream.slice(), channels);
            grads.register::<Flex>(node.id, tensor(gradient, dims));
        }
    }
}
