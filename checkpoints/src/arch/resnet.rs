//! CIFAR ResNets (He et al. 2015, §4.2): 3x3 stem, three stages of 16, 32, 64 channels, global average, linear.

use super::{Arch, ArchNode, ArchOp, Conv, NodeId, Shortcut};

/// `blocks` basic blocks a stage; depth is `6·blocks + 2`. State-dict keys are those of akamaster/pytorch_resnet_cifar10.
pub(super) fn cifar_resnet(name: &str, blocks: usize, classes: usize, projection: bool) -> Arch {
    let mut builder = Builder { nodes: Vec::new() };
    let image = builder.push("input", ArchOp::Input { shape: [3, 32, 32] });
    let mut x = builder.conv("conv1", "bn1", conv3x3(image, 3, 16, 1));
    let mut channels = 16;
    for (stage, width) in [16, 32, 64].into_iter().enumerate() {
        for block in 0..blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let prefix = format!("layer{}.{block}", stage + 1);
            x = builder.basic_block(&prefix, x, [channels, width, stride], projection);
            channels = width;
        }
    }
    let pooled = builder.push("pool", ArchOp::GlobalAvgPool { input: x });
    builder.push("linear", ArchOp::Linear { input: pooled, in_features: 64, out_features: classes });
    Arch { name: name.to_owned(), nodes: builder.nodes }
}

struct Builder {
    nodes: Vec<ArchNode>,
}

impl Builder {
    fn push(&mut self, name: &str, op: ArchOp) -> NodeId {
        self.nodes.push(ArchNode { name: name.to_owned(), op });
        self.nodes.len() - 1
    }

    fn conv(&mut self, name: &str, batch_norm: &str, conv: Conv) -> NodeId {
        self.push(name, ArchOp::Conv(Conv { batch_norm: Some(batch_norm.to_owned()), ..conv }))
    }

    fn basic_block(
        &mut self,
        prefix: &str,
        x: NodeId,
        [from, to, stride]: [usize; 3],
        projection: bool,
    ) -> NodeId {
        let inner =
            self.conv(&format!("{prefix}.conv1"), &format!("{prefix}.bn1"), conv3x3(x, from, to, stride));
        let shortcut = if from == to {
            Shortcut { input: x, stride: 1, channel_offset: 0 }
        } else if projection {
            let spec = Conv { kernel: 1, padding: 0, relu: false, ..conv3x3(x, from, to, stride) };
            let projected = self.conv(&format!("{prefix}.shortcut.0"), &format!("{prefix}.shortcut.1"), spec);
            Shortcut { input: projected, stride: 1, channel_offset: 0 }
        } else {
            Shortcut { input: x, stride, channel_offset: (to - from) / 2 }
        };
        let outer = Conv { shortcut: Some(shortcut), ..conv3x3(inner, to, to, 1) };
        self.conv(&format!("{prefix}.conv2"), &format!("{prefix}.bn2"), outer)
    }
}

fn conv3x3(input: NodeId, in_channels: usize, out_channels: usize, stride: usize) -> Conv {
    Conv {
        input,
        in_channels,
        out_channels,
        kernel: 3,
        stride,
        padding: 1,
        batch_norm: None,
        shortcut: None,
        relu: true,
    }
}
