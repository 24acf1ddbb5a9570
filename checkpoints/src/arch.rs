//! The float architecture: one description that the trainer interprets and the lowering walks.
//!
//! A [`Conv`] is a fused unit `ReLU?(BN?(conv(x) + bias?) + shortcut?)`, because that is what becomes one integer
//! node with one requantization (DESIGN §2, "Residual").

use serde::{Deserialize, Serialize};

use crate::Error;

mod builder;
mod imagenet;
mod keys;
mod plain;
mod resnet;
#[cfg(test)]
mod tests;

pub use keys::Keys;

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
    /// The largest value of each window; padding never wins. Windows must lie within the padded input as those of a
    /// [`Conv`] do.
    MaxPool {
        /// The node it reads.
        input: NodeId,
        /// Height and width of a window.
        kernel: usize,
        /// Stride in both directions.
        stride: usize,
        /// Padding on every side, less than `kernel`.
        padding: usize,
    },
    /// `ReLU?(W·x + b)` of a square map `[channels, kernel, kernel]`, flattened in that order: a convolution whose kernel
    /// covers the map.
    Linear {
        /// The node it reads.
        input: NodeId,
        /// Input features: `channels·kernel²`.
        in_features: usize,
        /// Height and width of the map that it flattens; 1 behind a global pooling.
        kernel: usize,
        /// Output features.
        out_features: usize,
        /// Whether a ReLU ends the layer.
        relu: bool,
    },
}

/// `ReLU?(BN?(conv(x) + bias?) + shortcut?)`, square kernel, zero padding.
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
    /// Whether the convolution adds a bias. One without batch normalization always does; torchvision's VGG has both.
    pub bias: bool,
    /// State-dict prefix of the batch normalization.
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

impl ArchOp {
    /// The node as a convolution, if it has weights: a linear layer's kernel covers the map that it reads.
    pub fn as_conv(&self) -> Option<Conv> {
        match *self {
            Self::Conv(ref conv) => Some(conv.clone()),
            Self::Linear { input, in_features, kernel, out_features, relu } => Some(Conv {
                input,
                in_channels: in_features / (kernel * kernel),
                out_channels: out_features,
                kernel,
                stride: 1,
                padding: 0,
                bias: true,
                batch_norm: None,
                shortcut: None,
                relu,
            }),
            Self::Input { .. } | Self::MaxPool { .. } | Self::GlobalAvgPool { .. } => None,
        }
    }
}

impl Arch {
    /// The names [`Arch::by_name`] knows.
    pub const NAMES: [&'static str; 18] = [
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
        "cifar-resnet18",
        "tiny-resnet18",
        "minionn",
        "cifar-vgg16-bn",
        "resnet18",
        "resnet34",
        "resnet50",
        "vgg16-bn",
    ];

    /// Builds a known architecture; the suffix `-b` chooses projection shortcuts (option B).
    ///
    /// | name | image | from |
    /// |---|---|---|
    /// | `cifar-resnet8` to `56` | 32x32 | He et al. 2015, §4.2; keys of akamaster/pytorch_resnet_cifar10 |
    /// | `cifar-resnet18`, `tiny-resnet18` | 32x32, 64x64 | kuangliu/pytorch-cifar's ResNet-18, with a global average at either size |
    /// | `minionn` | 32x32 | MiniONN's CIFAR-10 network with COINN's (BC1) max pooling |
    /// | `cifar-vgg16-bn` | 32x32 | VGG-16 with batch normalization, one linear layer (kuangliu/pytorch-cifar) |
    /// | `resnet18`, `34`, `50`, `vgg16-bn` | 224x224 | torchvision |
    ///
    /// # Errors
    /// [`Error::UnknownArch`] lists the known names.
    pub fn by_name(name: &str, classes: usize) -> Result<Self, Error> {
        Ok(match name {
            "cifar-resnet18" => resnet::resnet18(name, 32, classes),
            "tiny-resnet18" => resnet::resnet18(name, 64, classes),
            "minionn" => plain::minionn(name, classes),
            "cifar-vgg16-bn" => plain::cifar_vgg16(name, classes),
            "vgg16-bn" => plain::vgg16(name, classes),
            "resnet18" => imagenet::basic(name, [2, 2, 2, 2], classes),
            "resnet34" => imagenet::basic(name, [3, 4, 6, 3], classes),
            "resnet50" => imagenet::bottleneck(name, [3, 4, 6, 3], classes),
            _ if Self::NAMES.contains(&name) => {
                let (body, projection) = match name.strip_suffix("-b") {
                    Some(body) => (body, true),
                    None => (name, false),
                };
                let depth: usize = body.trim_start_matches("cifar-resnet").parse().unwrap_or(20);
                resnet::cifar_resnet(name, (depth - 2) / 6, classes, projection)
            }
            _ => {
                return Err(Error::UnknownArch { found: name.to_owned(), expected: Self::NAMES.join(", ") });
            }
        })
    }

    /// Classes of the images that a network of this name is made for: 1000 of ImageNet, 200 of Tiny-ImageNet, 10 of
    /// CIFAR-10.
    pub fn usual_classes(name: &str) -> usize {
        match name {
            "resnet18" | "resnet34" | "resnet50" | "vgg16-bn" => 1000,
            "tiny-resnet18" => 200,
            _ => 10,
        }
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
                    let size = [conv.kernel, conv.stride, conv.padding];
                    windows(shapes[conv.input], conv.out_channels, size)
                }
                ArchOp::MaxPool { input, kernel, stride, padding } => {
                    windows(shapes[*input], shapes[*input][0], [*kernel, *stride, *padding])
                }
                ArchOp::GlobalAvgPool { input } => [shapes[*input][0], 1, 1],
                ArchOp::Linear { out_features, .. } => [*out_features, 1, 1],
            });
        }
        shapes
    }
}

/// A map of `channels` with a value for each window of `[kernel, stride, padding]`.
fn windows(
    [_, height, width]: [usize; 3],
    channels: usize,
    [kernel, stride, padding]: [usize; 3],
) -> [usize; 3] {
    let out = |size: usize| (size + 2 * padding - kernel) / stride + 1;
    [channels, out(height), out(width)]
}
