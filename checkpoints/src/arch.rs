//! The float architecture: one description that the trainer interprets and the lowering walks.
//!
//! A [`Conv`] is a fused unit `ReLU?(BN?(conv(x)) + shortcut?)`, because that is what becomes one integer
//! node with one requantization (DESIGN §2, "Residual").

use serde::{Deserialize, Serialize};

use crate::Error;

mod resnet;

/// Index of a node in [`Arch::nodes`]; inputs always have a smaller index.
pub type NodeId = usize;

/// A convolutional network for classification. Tensors are `[batch, channels, height, width]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arch {
    /// The name people type, such as `cifar-resnet20`.
    pub name: String,
    /// Nodes in topological order; the first is [`ArchOp::Input`], the last one's output is the logits.
    pub nodes: Vec<ArchNode>,
}

/// One step of an [`Arch`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchNode {
    /// Unique name; for convolutions and linear layers also the state-dict prefix of `weight` and `bias`.
    pub name: String,
    /// What it computes.
    pub op: ArchOp,
}

/// What an [`ArchNode`] computes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ArchOp {
    /// The normalized image `[channels, height, width]`.
    Input {
        /// Channels, height and width.
        shape: [usize; 3],
    },
    /// A fused convolution unit.
    Conv(Conv),
    /// Mean over height and width; output `[channels, 1, 1]`.
    GlobalAvgPool {
        /// The node it averages.
        input: NodeId,
    },
    /// Fully connected layer with bias on a `[features, 1, 1]` input.
    Linear {
        /// The node it reads.
        input: NodeId,
        /// Input features.
        in_features: usize,
        /// Output features.
        out_features: usize,
    },
}

/// `ReLU?(BN?(conv(x)) + shortcut?)`, square kernel, zero padding, no convolution bias when BN follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conv {
    /// The node it reads.
    pub input: NodeId,
    /// Input channels.
    pub in_channels: usize,
    /// Output channels.
    pub out_channels: usize,
    /// Kernel height and width.
    pub kernel: usize,
    /// Stride in both directions.
    pub stride: usize,
    /// Zero padding on every side.
    pub padding: usize,
    /// State-dict prefix of the batch normalization; `None` means a convolution bias instead.
    pub batch_norm: Option<String>,
    /// What is added before the activation.
    pub shortcut: Option<Shortcut>,
    /// Whether a ReLU ends the unit.
    pub relu: bool,
}

/// A residual input: the output of `input`, every `stride`-th pixel, with `channels` zero-padded on both sides
/// (option A of He et al. 2015, §3.3). Stride 1 and no padding is the identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortcut {
    /// The node whose output is added.
    pub input: NodeId,
    /// Subsampling step in both directions.
    pub stride: usize,
    /// Zero channels put before (and as many as needed after) the input's channels.
    pub channel_offset: usize,
}

impl Arch {
    /// The names [`Arch::by_name`] knows.
    pub const NAMES: [&'static str; 10] = [
        "cifar-resnet8",
        "cifar-resnet20",
        "cifar-resnet32",
        "cifar-resnet44",
        "cifar-resnet56",
        "cifar-resnet8-b",
        "cifar-resnet20-b",
        "cifar-resnet32-b",
        "cifar-resnet44-b",
        "cifar-resnet56-b",
    ];

    /// Builds a known architecture; the suffix `-b` chooses projection shortcuts (option B).
    ///
    /// # Errors
    /// [`Error::UnknownArch`] lists the known names.
    pub fn by_name(name: &str, classes: usize) -> Result<Self, Error> {
        if !Self::NAMES.contains(&name) {
            return Err(Error::UnknownArch { found: name.to_owned(), expected: Self::NAMES.join(", ") });
        }
        let (body, projection) = match name.strip_suffix("-b") {
            Some(body) => (body, true),
            None => (name, false),
        };
        let depth: usize = body.trim_start_matches("cifar-resnet").parse().unwrap_or(20);
        Ok(resnet::cifar_resnet(name, (depth - 2) / 6, classes, projection))
    }

    /// The node that an id refers to.
    pub fn node(&self, id: NodeId) -> &ArchNode {
        &self.nodes[id]
    }

    /// The output shape `[channels, height, width]` of every node.
    pub fn shapes(&self) -> Vec<[usize; 3]> {
        let mut shapes: Vec<[usize; 3]> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            shapes.push(match &node.op {
                ArchOp::Input { shape } => *shape,
                ArchOp::Conv(conv) => {
                    let [_, height, width] = shapes[conv.input];
                    let out = |size: usize| (size + 2 * conv.padding - conv.kernel) / conv.stride + 1;
                    [conv.out_channels, out(height), out(width)]
                }
                ArchOp::GlobalAvgPool { input } => [shapes[*input][0], 1, 1],
                ArchOp::Linear { out_features, .. } => [*out_features, 1, 1],
            });
        }
        shapes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_builds_with_topological_inputs_and_ten_logits() {
        for name in Arch::NAMES {
            let arch = Arch::by_name(name, 10).unwrap();
            assert_eq!(arch.shapes().last(), Some(&[10, 1, 1]), "{name}");
            for (id, node) in arch.nodes.iter().enumerate() {
                if let ArchOp::Conv(conv) = &node.op {
                    assert!(conv.input < id);
                    assert!(conv.shortcut.as_ref().is_none_or(|s| s.input < id));
                }
            }
        }
    }

    #[test]
    fn resnet20_has_nineteen_convolutions_and_pytorch_keys() {
        let arch = Arch::by_name("cifar-resnet20", 10).unwrap();
        let convs = arch.nodes.iter().filter(|n| matches!(n.op, ArchOp::Conv(_))).count();
        assert_eq!(convs, 19);
        assert!(arch.nodes.iter().any(|n| n.name == "layer2.0.conv1"));
    }

    #[test]
    fn unknown_names_are_refused_with_the_known_ones() {
        let error = Arch::by_name("resnet21", 10).unwrap_err().to_string();
        assert!(error.contains("resnet21") && error.contains("cifar-resnet20"));
    }
}
