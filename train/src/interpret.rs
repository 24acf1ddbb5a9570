//! The one walk over an [`Arch`] that float networks, quantized networks and their derivatives share.
//!
//! Activations are `[channels, height, width, batch]`, see [`crate::kernels`].

use burn::tensor::{Tensor, s};
use eqo_checkpoints::arch::{Arch, ArchNode, ArchOp, Shortcut};

use crate::kernels::Window;

/// What differs between networks of the same architecture: how a weighted node and the poolings compute.
pub(crate) trait Nodes {
    /// What flows from node to node.
    type Value: Value;

    /// The `index`-th convolution or linear layer of the architecture. `input` is `[in, height, width, batch]`;
    /// `shortcut`, if any, already has the output's shape.
    fn weighted(
        &self,
        index: usize,
        node: &ArchNode,
        input: Self::Value,
        shortcut: Option<Self::Value>,
    ) -> Self::Value;

    /// Global pooling, `[channels, height, width, batch]` to `[channels, 1, 1, batch]`.
    fn pool(&self, input: Self::Value) -> Self::Value;

    /// The largest value of each window.
    fn max_pool(&self, input: Self::Value, window: Window) -> Self::Value;
}

/// An activation, or more than one.
pub(crate) trait Value: Clone {
    /// What is added to an output of `channels` channels.
    fn residual(self, shortcut: &Shortcut, channels: usize) -> Self;
}

impl Value for Tensor<4> {
    fn residual(self, shortcut: &Shortcut, channels: usize) -> Self {
        residual(self, shortcut, channels)
    }
}

/// Output of every node, in the order of [`Arch::nodes`]; `image` becomes the input node's.
pub(crate) fn interpret<N: Nodes>(arch: &Arch, nodes: &N, image: N::Value) -> Vec<N::Value> {
    let mut outputs: Vec<N::Value> = Vec::with_capacity(arch.nodes.len());
    let mut weighted = 0;
    for node in &arch.nodes {
        let output = match &node.op {
            ArchOp::Input { .. } => image.clone(),
            ArchOp::GlobalAvgPool { input } => nodes.pool(outputs[*input].clone()),
            &ArchOp::MaxPool { input, kernel, stride, padding } => {
                nodes.max_pool(outputs[input].clone(), Window { kernel, stride, padding })
            }
            ArchOp::Conv(conv) => {
                let shortcut = conv.shortcut.as_ref();
                let shortcut = shortcut.map(|s| outputs[s.input].clone().residual(s, conv.out_channels));
                weighted += 1;
                nodes.weighted(weighted - 1, node, outputs[conv.input].clone(), shortcut)
            }
            ArchOp::Linear { input, .. } => {
                weighted += 1;
                nodes.weighted(weighted - 1, node, outputs[*input].clone(), None)
            }
        };
        outputs.push(output);
    }
    outputs
}

/// The logits `[batch, classes]`: the last node's output, which is `[classes, 1, 1, batch]`.
pub(crate) fn logits(outputs: Vec<Tensor<4>>) -> Tensor<2> {
    by_image(outputs.into_iter().next_back().expect("an architecture has nodes"))
}

/// `[batch, classes]` of `[classes, 1, 1, batch]`.
pub(crate) fn by_image(logits: Tensor<4>) -> Tensor<2> {
    logits.flatten::<2>(0, 2).transpose()
}

/// Nodes with weights (convolutions and linear layers), in order.
pub(crate) fn weighted_nodes(arch: &Arch) -> impl Iterator<Item = &ArchNode> {
    arch.nodes.iter().filter(|node| has_weights(node))
}

/// True for convolutions and linear layers.
pub(crate) fn has_weights(node: &ArchNode) -> bool {
    matches!(node.op, ArchOp::Conv(_) | ArchOp::Linear { .. })
}

/// `[out, in, kernel, kernel]` of a weighted node; a linear layer's kernel covers the map that it reads.
pub(crate) fn weight_shape(node: &ArchNode) -> [usize; 4] {
    let conv = node.op.as_conv();
    conv.map_or([0; 4], |conv| [conv.out_channels, conv.in_channels, conv.kernel, conv.kernel])
}

/// Stride and padding of a weighted node.
pub(crate) fn geometry(node: &ArchNode) -> (usize, usize) {
    match &node.op {
        ArchOp::Conv(conv) => (conv.stride, conv.padding),
        _ => (1, 0),
    }
}

/// Every `stride`-th pixel, with zero channels around (option A of He et al. 2015, §3.3).
fn residual(x: Tensor<4>, shortcut: &Shortcut, channels: usize) -> Tensor<4> {
    let step = shortcut.stride as i32;
    let x = if step > 1 {
        let [_, height, width, _] = x.dims();
        x.slice(s![.., 0..height as i32;step, 0..width as i32;step, ..])
    } else {
        x
    };
    let [present, height, width, batch] = x.dims();
    if present == channels {
        return x;
    }
    let device = x.device();
    let zeros = |count: usize| Tensor::<4>::zeros([count, height, width, batch], &device);
    let before = shortcut.channel_offset;
    let parts = [(before > 0).then(|| zeros(before)), Some(x), {
        let after = channels - present - before;
        (after > 0).then(|| zeros(after))
    }];
    Tensor::cat(parts.into_iter().flatten().collect(), 0)
}
