//! What a checkpoint's network is, in a few words.

use eqo_checkpoints::graph::{CheckedGraph, Conv, Op, Output};
use serde::Serialize;

use crate::party::hex;

/// Columns of a comparison that need no run.
#[derive(Serialize)]
pub(super) struct Network {
    pub(super) arch: String,
    graph: String,
    /// The mean over all weights.
    pub(super) weight_bits: Option<f64>,
    /// The mean over all activations.
    pub(super) act_bits: Option<f64>,
}

impl Network {
    pub(super) fn of(graph: &CheckedGraph) -> Self {
        Self {
            arch: graph.graph().name.clone(),
            graph: hex(&graph.graph_hash()),
            weight_bits: weight_bits(graph),
            act_bits: act_bits(graph),
        }
    }
}

fn weight_bits(graph: &CheckedGraph) -> Option<f64> {
    let pairs = |conv: &Conv| conv.in_channels as f64 * conv.out_channels as f64;
    mean(convolutions(graph).map(|(_, conv)| (conv.mean_bits(), pairs(conv) * conv.positions() as f64)))
}

fn act_bits(graph: &CheckedGraph) -> Option<f64> {
    let bits = |(id, conv): (usize, &Conv)| match conv.output {
        Output::Activation { bits, .. } => {
            Some((f64::from(bits), graph.shape(id).iter().product::<usize>() as f64))
        }
        Output::Accumulator => None,
    };
    mean(convolutions(graph).filter_map(bits))
}

fn convolutions(graph: &CheckedGraph) -> impl Iterator<Item = (usize, &Conv)> {
    graph.nodes().iter().enumerate().filter_map(|(id, node)| match &node.op {
        Op::Conv(conv) => Some((id, conv)),
        Op::Input(_) | Op::MaxPool(_) | Op::SumPool { .. } => None,
    })
}

/// The weighted mean of values; none if nothing weighs.
fn mean(values: impl Iterator<Item = (f64, f64)>) -> Option<f64> {
    let (sum, weight) =
        values.fold((0.0, 0.0), |(sum, all), (value, weight)| (sum + value * weight, all + weight));
    (weight > 0.0).then(|| sum / weight)
}
