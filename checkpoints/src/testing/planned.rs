//! A float architecture under a bit plan, with random weights.

use super::network::{ConvSpec, Network};
use crate::arch::{Arch, ArchOp};
use crate::graph::NodeId;
use crate::plan::{BitPlan, LayerPlan};

/// Node by node, so that node ids and names stay those of the architecture.
pub(super) fn grow(seed: u64, arch: &Arch, plan: &BitPlan) -> Network {
    let mut network = Network::new(seed, arch.shapes()[0]);
    for node in arch.nodes.iter().skip(1) {
        match &node.op {
            ArchOp::Conv(conv) => {
                let shortcut = conv.shortcut.as_ref();
                let layer = &plan.layers[&node.name];
                let mut spec = linear(layer, conv.input, conv.out_channels);
                spec.kernel = conv.kernel;
                spec.stride = conv.stride;
                spec.padding = conv.padding;
                spec.act_bits = conv.relu.then_some(layer.act_bits);
                spec.shortcut = shortcut.map(|s| [s.input, s.stride, s.channel_offset]);
                network.conv(&node.name, spec);
            }
            ArchOp::GlobalAvgPool { input } => drop(network.sum_pool(&node.name, *input)),
            ArchOp::Linear { input, out_features, .. } => {
                let spec = linear(&plan.layers[&node.name], *input, *out_features);
                network.conv(&node.name, spec);
            }
            ArchOp::Input { .. } => {}
        }
    }
    network
}

fn linear(layer: &LayerPlan, input: NodeId, out_channels: usize) -> ConvSpec {
    ConvSpec {
        input,
        algorithm: layer.algorithm,
        kernel: 1,
        stride: 1,
        padding: 0,
        out_channels,
        exponents: layer.weight_exponents(),
        offset: layer.weight_offset(),
        act_bits: None,
        shortcut: None,
    }
}
