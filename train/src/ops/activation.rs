//! [`super::KernelOps::quantize_activation`] on flex: the end of a unit whose normalization is live.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};

use super::raw::{Numbers, tensor};
use crate::kernels::{ActivationQuantizer, Finish};

/// What is fixed of a rounding.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ActivationSpec {
    pub(crate) quantizer: ActivationQuantizer,
    /// Whether the shortcut is added; any tensor stands for none.
    pub(crate) has_shortcut: bool,
}

impl ActivationSpec {
    pub(super) fn finish<'s>(&self, shortcut: &'s Numbers) -> Finish<'s> {
        Finish { residual: self.has_shortcut.then(|| shortcut.slice()), activation: self.quantizer }
    }

    /// The gradient of the scale's logarithm from its sum over all values, `dims` `[channels, height, width, images]` (Esser
    /// et al. 2020, §2.2, with the values of one image, so that the batch size doesn't matter).
    pub(super) fn damped(&self, slope: f32, dims: [usize; 4]) -> FlexTensor {
        let damping = ((dims[0] * dims[1] * dims[2]) as f32 * self.quantizer.largest).sqrt();
        tensor(vec![slope / damping], [1])
    }
}

pub(super) fn forward([x, shortcut, _]: [FlexTensor; 3], spec: ActivationSpec) -> FlexTensor {
    let (x, shortcut) = (Numbers::of(x), Numbers::of(shortcut));
    tensor(spec.finish(&shortcut).rounded(x.slice()), x.dims::<4>())
}

pub(super) fn tracked<C: CheckpointStrategy>(
    operands: [FloatTensor<Autodiff<Flex, C>>; 3],
    spec: ActivationSpec,
) -> FloatTensor<Autodiff<Flex, C>> {
    let nodes = operands.each_ref().map(|operand| operand.node());
    let operands = operands.map(|operand| operand.into_primitive());
    match QuantizeActivation.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let [x, shortcut, _] = operands.clone();
            prep.finish((x, shortcut, spec), forward(operands, spec))
        }
        OpsKind::UnTracked(prep) => prep.finish(forward(operands, spec)),
    }
}

#[derive(Debug)]
struct QuantizeActivation;

impl Backward<Flex, 3> for QuantizeActivation {
    type State = (FlexTensor, FlexTensor, ActivationSpec);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let upstream = Numbers::of(grads.consume::<Flex>(&ops.node));
        let [x_node, shortcut_node, scale_node] = ops.parents.map(|node| node.map(|node| node.id));
        let (x, shortcut, spec) = ops.state;
        let (x, shortcut) = (Numbers::of(x), Numbers::of(shortcut));
        let dims = upstream.dims::<4>();
        let mut gradient = upstream.into_vec();
        let sum = spec.finish(&shortcut).sum(x.slice());
        let (slope, _) = spec.quantizer.gradients(&sum, &mut gradient, dims[0]);
        if let Some(node) = scale_node {
            grads.register::<Flex>(node, spec.damped(slope, dims));
        }
        let gradient = tensor(gradient, dims);
        if let Some(node) = shortcut_node.filter(|_| spec.has_shortcut) {
            grads.register::<Flex>(node, gradient.clone());
        }
        if let Some(node) = x_node {
            grads.register::<Flex>(node, gradient);
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution, Tensor};

    use crate::kernels::ActivationQuantizer;
    use crate::tensors::to_host;
    use crate::{ops, quantizer};

    #[test]
    fn it_equals_the_generic_rounding_of_the_sum_in_values_and_gradients() {
        let device = Device::flex().autodiff();
        // More values than a thread finishes at a time.
        let shape = [3, 40, 9, 16];
        let random = || Tensor::<4>::random(shape, Distribution::Normal(0.5, 1.0), &device);
        let (x, shortcut, upstream) = (random(), random(), random());
        let activation = ActivationQuantizer { exponent: -3, largest: 15.0 };
        for with_shortcut in [false, true] {
            let found = [false, true].map(|generic| {
                let (x, shortcut) = (x.clone().require_grad(), shortcut.clone().require_grad());
                let scale = Tensor::<1>::from_floats([-3.2], &device).require_grad();
                let added = with_shortcut.then(|| shortcut.clone());
                let y = if generic {
                    let sum = added.map_or_else(|| x.clone(), |added| x.clone() + added);
                    quantizer::quantize_activation(sum, scale.clone(), activation)
                } else {
                    ops::quantize_activation(x.clone(), added, scale.clone(), activation)
                };
                let grads = (y.clone() * upstream.clone()).sum().backward();
                let of_shortcut = shortcut.grad(&grads).map(|gradient| to_host(&gradient));
                let gradients = (to_host(&x.grad(&grads).unwrap()), of_shortcut);
                (to_host(&y), gradients, to_host(&scale.grad(&grads).unwrap())[[0]])
            });
            assert!(found[0].0 == found[1].0 && found[0].1 == found[1].1);
            assert_eq!(found[0].1.1.is_some(), with_shortcut);
            assert!(
                (found[0].2 - found[1].2).abs() < 1e-3 * found[1].2.abs(),
                "{} {}",
                found[0].2,
                found[1].2
            );
        }
    }
}
