//! Activations with their derivatives in one direction, through any architecture.

use std::cell::RefCell;

use burn::tensor::{Tensor, activation};
use eqo_checkpoints::arch::{ArchNode, Shortcut};

use super::{FloatTaps, TapLayer};
use crate::interpret::{Nodes, Value};
use crate::kernels::Window;
use crate::ops::{self, Weights};
use crate::pooling::Largest;
use crate::winograd;

/// An activation and its derivative; `None` is zero.
#[derive(Clone)]
pub(super) struct Dual {
    pub(super) value: Tensor<4>,
    pub(super) tangent: Option<Tensor<4>>,
}

/// In which direction derivatives are taken.
pub(super) enum Direction<'a> {
    /// Nowhere: values only.
    None,
    /// By the taps of the layers that have a tensor.
    Taps(&'a [Option<Tensor<4>>]),
    /// Nowhere, but a zero is added to every activation behind a ReLU, to take gradients by.
    Watched,
}

/// A zero that was added to an activation, and 1 where that is above zero.
pub(super) type Watched = (Tensor<4>, Tensor<4>);

/// One pass over a network.
pub(super) struct Duals<'a> {
    net: &'a FloatTaps,
    taps: &'a [Tensor<4>],
    direction: Direction<'a>,
    watched: RefCell<Vec<Option<Watched>>>,
}

impl<'a> Duals<'a> {
    pub(super) fn new(net: &'a FloatTaps, taps: &'a [Tensor<4>], direction: Direction<'a>) -> Self {
        Self { net, taps, direction, watched: RefCell::default() }
    }

    /// By layer, what was watched.
    pub(super) fn watched(self) -> Vec<Option<Watched>> {
        self.watched.into_inner()
    }
}

impl Nodes for Duals<'_> {
    type Value = Dual;

    fn weighted(&self, index: usize, _: &ArchNode, input: Dual, shortcut: Option<Dual>) -> Dual {
        let (layer, taps) = (&self.net.layers[index], &self.taps[index]);
        let bias = layer.bias.clone();
        let mut value = layer.convolve(input.value.clone(), taps.clone(), bias.clone());
        let zero = bias.zeros_like();
        let mut tangent = input.tangent.map(|t| layer.convolve(t, taps.clone(), zero.clone()));
        if let Direction::Taps(direction) = &self.direction
            && let Some(direction) = &direction[index]
        {
            tangent = add(tangent, Some(layer.convolve(input.value, direction.clone(), zero)));
        }
        if let Some(shortcut) = shortcut {
            value = value + shortcut.value;
            tangent = add(tangent, shortcut.tangent);
        }
        if !layer.relu {
            self.watched.borrow_mut().push(None);
            return Dual { value, tangent };
        }
        let above = value.clone().detach().greater_elem(0.0).float();
        let mut value = activation::relu(value);
        tangent = tangent.map(|tangent| tangent * above.clone());
        if let Direction::Watched = self.direction {
            let zero = value.zeros_like().detach().require_grad();
            value = value + zero.clone();
            self.watched.borrow_mut().push(Some((zero, above)));
        }
        Dual { value, tangent }
    }

    /// The sum; its division by the area is in the next layer's taps.
    fn pool(&self, input: Dual) -> Dual {
        input.map(|x| x.sum_dim(1).sum_dim(2))
    }

    /// Linear where the largest values stay where they are, as ReLUs are.
    fn max_pool(&self, input: Dual, window: Window) -> Dual {
        let largest = Largest::of(&input.value, window);
        input.map(|x| largest.select(x))
    }
}

impl Dual {
    pub(super) fn constant(value: Tensor<4>) -> Self {
        Self { value, tangent: None }
    }

    /// The same linear function of both.
    fn map(self, linear: impl Fn(Tensor<4>) -> Tensor<4>) -> Self {
        Self { value: linear(self.value), tangent: self.tangent.map(&linear) }
    }
}

impl Value for Dual {
    fn residual(self, shortcut: &Shortcut, channels: usize) -> Self {
        self.map(|x| x.residual(shortcut, channels))
    }
}

fn add(a: Option<Tensor<4>>, b: Option<Tensor<4>>) -> Option<Tensor<4>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    }
}

impl TapLayer {
    /// `[out, h', w', images]`.
    fn convolve(&self, x: Tensor<4>, taps: Tensor<4>, bias: Tensor<1>) -> Tensor<4> {
        if ops::runs_here(&x.device()) {
            let log2_step = Tensor::zeros([1, 1], &x.device());
            return ops::convolve(x, Weights { weight: taps, bias, log2_step }, self.conv.clone());
        }
        let [out, inputs, height, width] = taps.dims();
        let positions = taps.permute([2, 3, 0, 1]).reshape([height * width, out, inputs]);
        winograd::convolve(x, positions, bias, self.conv.geometry)
    }
}
