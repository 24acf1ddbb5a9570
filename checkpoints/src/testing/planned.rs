//! A float architecture under a bit plan, with random weights.

use super::network::{ConvSpec, Network};
use crate::arch::{Arch, ArchOp, Conv};
use crate::plan::{BitPlan, LayerPlan};

/// Node by node, so that node ids and names stay those of the architecture.
pub(super) fn grow(seed: u64, arch: &Arch, plan: &BitPlan) -> Network {
    let mut network = Network::new(seed, arch.shapes()[0]);
    for node in arch.nodes.iter().skip(1) {
        match &node.op {
            ArchOp::Conv(_) | ArchOp::Linear { .. } => {
                if let Some(conv) = node.op.as_conv() {
                    network.conv(&node.name, unit(&plan.layers[&node.name], &conv));
                }
            }
            ArchOp::GlobalAvgPool { input } => drop(network.sum_pool(&node.name, *input)),
            ArchOp::MaxPool { input, kernel, stride, padding } => {
                network.max_pool(&node.name, *input, [*kernel, *stride, *padding]);
            }
            ArchOp::Input { .. } => {}
        }
    }
    network
}

fn unit(layer: &LayerPlan, conv: &Conv) -> ConvSpec {
    ConvSpec {
        input: conv.input,
        algorithm: layer.algorithm,
        kernel: conv.kernel,
        stride: conv.stride,
        padding: conv.padding,
        out_channels: conv.out_channels,
        exponents: layer.weight_exponents(),
        offset: layer.weight_offset(),
        act_bits: conv.relu.then_some(layer.act_bits),
        shortcut: conv.shortcut.as_ref().map(|s| [s.input, s.stride, s.channel_offset]),
    }
}
