//! What the architectures are put together from.

use super::{Arch, ArchNode, ArchOp, Conv, NodeId, Shortcut};

/// A network, node by node.
pub(super) struct Builder {
    nodes: Vec<ArchNode>,
}

impl Builder {
    /// An image `[3, side, side]`, node 0.
    pub(super) fn new(side: usize) -> Self {
        let mut builder = Self { nodes: Vec::new() };
        builder.push("input", ArchOp::Input { shape: [3, side, side] });
        builder
    }

    pub(super) fn finish(self, name: &str) -> Arch {
        Arch { name: name.to_owned(), nodes: self.nodes }
    }

    /// The node added last.
    pub(super) fn last(&self) -> NodeId {
        self.nodes.len() - 1
    }

    pub(super) fn push(&mut self, name: &str, op: ArchOp) -> NodeId {
        self.nodes.push(ArchNode { name: name.to_owned(), op });
        self.last()
    }

    /// A convolution as it is.
    pub(super) fn conv(&mut self, name: &str, conv: Conv) -> NodeId {
        self.push(name, ArchOp::Conv(conv))
    }

    /// A convolution without bias and its batch normalization.
    pub(super) fn normalized(&mut self, name: &str, batch_norm: &str, conv: Conv) -> NodeId {
        self.conv(name, Conv { bias: false, batch_norm: Some(batch_norm.to_owned()), ..conv })
    }

    /// The largest of every window of the last node.
    pub(super) fn max_pool(&mut self, name: &str, [kernel, stride, padding]: [usize; 3]) -> NodeId {
        let input = self.last();
        self.push(name, ArchOp::MaxPool { input, kernel, stride, padding })
    }

    /// A linear layer on the last node, a map `[in_features/kernel², kernel, kernel]`.
    pub(super) fn linear(&mut self, name: &str, [in_features, kernel, out_features]: [usize; 3], relu: bool) {
        let input = self.last();
        self.push(name, ArchOp::Linear { input, in_features, kernel, out_features, relu });
    }

    /// Global average of the last node and the linear layer of the logits.
    pub(super) fn classify(&mut self, linear: &str, features: usize, classes: usize) {
        let input = self.last();
        self.push("pool", ArchOp::GlobalAvgPool { input });
        self.linear(linear, [features, 1, classes], false);
    }

    /// Two 3x3 convolutions, the first of them strided, and a residual: `x` itself, or what `projection` names as its
    /// convolution and normalization.
    pub(super) fn basic_block(
        &mut self,
        prefix: &str,
        x: NodeId,
        [from, to, stride]: [usize; 3],
        residual: Residual<'_>,
    ) -> NodeId {
        let first = conv3x3(x, from, to, stride);
        let inner = self.normalized(&format!("{prefix}.conv1"), &format!("{prefix}.bn1"), first);
        let shortcut = self.residual(prefix, x, [from, to, stride], residual);
        let outer = Conv { shortcut: Some(shortcut), ..conv3x3(inner, to, to, 1) };
        self.normalized(&format!("{prefix}.conv2"), &format!("{prefix}.bn2"), outer)
    }

    /// What a block of `[from, to, stride]` adds to its last convolution.
    pub(super) fn residual(
        &mut self,
        prefix: &str,
        x: NodeId,
        [from, to, stride]: [usize; 3],
        residual: Residual<'_>,
    ) -> Shortcut {
        match residual {
            _ if from == to && stride == 1 => identity(x),
            Residual::Subsampled => Shortcut { input: x, stride, channel_offset: (to - from) / 2 },
            Residual::Projected(module) => {
                let conv = Conv { relu: false, ..conv1x1(x, from, to, stride) };
                let [name, batch_norm] = [0, 1].map(|part| format!("{prefix}.{module}.{part}"));
                identity(self.normalized(&name, &batch_norm, conv))
            }
        }
    }
}

/// How the input of a block that changes its shape reaches the block's end (He et al. 2015, §3.3).
#[derive(Clone, Copy)]
pub(super) enum Residual<'a> {
    /// Option A: every second pixel, zero channels around.
    Subsampled,
    /// Option B: a strided 1x1 convolution and its normalization, parts 0 and 1 of the module of this name.
    Projected(&'a str),
}

fn identity(input: NodeId) -> Shortcut {
    Shortcut { input, stride: 1, channel_offset: 0 }
}

/// With bias and ReLU.
pub(super) fn conv3x3(input: NodeId, in_channels: usize, out_channels: usize, stride: usize) -> Conv {
    Conv {
        input,
        in_channels,
        out_channels,
        kernel: 3,
        stride,
        padding: 1,
        bias: true,
        batch_norm: None,
        shortcut: None,
        relu: true,
    }
}

/// With bias and ReLU.
pub(super) fn conv1x1(input: NodeId, in_channels: usize, out_channels: usize, stride: usize) -> Conv {
    Conv { kernel: 1, padding: 0, ..conv3x3(input, in_channels, out_channels, stride) }
}
