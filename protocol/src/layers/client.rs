//! The client's part of a convolution: its share of the input against the server's choices.

use eqo_checkpoints::graph::NodeId;

use super::Side;
use crate::Error;
use crate::gates::Party;
use crate::gates::matmul::Products;

/// Knows nothing but the public graph.
pub struct ClientSide;

impl Side for ClientSide {
    fn multiply(
        &self,
        party: &mut Party,
        _node: NodeId,
        products: &Products,
        rows: &[u64],
    ) -> Result<Vec<u64>, Error> {
        products.client(party, rows)
    }

    fn add_bias(&self, _node: NodeId, _pixels: usize, _accumulators: &mut [u64]) {}
}
