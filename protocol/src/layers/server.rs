//! The server's part of a convolution: its weights choose, its biases are added to its own share.

use eqo_checkpoints::graph::{CheckedGraph, NodeId};
use eqo_checkpoints::weights::{LayerWeights, Weights};

use super::Side;
use crate::Error;
use crate::gates::Party;
use crate::gates::matmul::Products;

/// The weights by node, as the graph needs them.
pub struct ServerSide<'w> {
    layers: Vec<Option<&'w LayerWeights>>,
}

impl<'w> ServerSide<'w> {
    /// Looks up every node's weights, which must match the graph ([`eqo_checkpoints::range::prove`] checks that).
    pub fn new(graph: &CheckedGraph, weights: &'w Weights) -> Self {
        Self { layers: graph.nodes().iter().map(|node| weights.layers.get(&node.name)).collect() }
    }

    fn layer(&self, node: NodeId) -> &'w LayerWeights {
        self.layers[node].expect("proven weights have an entry for every convolution")
    }
}

impl Side for ServerSide<'_> {
    fn multiply(
        &self,
        party: &mut Party,
        node: NodeId,
        products: &Products,
        rows: &[u64],
    ) -> Result<Vec<u64>, Error> {
        products.server(party, &self.layer(node).codes, rows)
    }

    fn add_bias(&self, node: NodeId, pixels: usize, accumulators: &mut [u64]) {
        let bias = &self.layer(node).bias;
        for (plane, &bias) in accumulators.chunks_exact_mut(pixels).zip(bias.iter().cycle()) {
            plane.iter_mut().for_each(|sum| *sum = sum.wrapping_add(bias as u64));
        }
    }
}
