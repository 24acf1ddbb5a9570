//! The graph on shares: every node's output as two additive shares, one at each party.
//!
//! Both parties walk the same public graph; only the products of a convolution differ between them, which is what
//! [`Side`] is for. The linear steps (tile transforms, tap shifts, bias, residual, pooling) are local, by the same
//! functions of [`eqo_checkpoints::layout`] that the plain engine uses.

mod client;
mod conv;
mod server;

pub use client::ClientSide;
pub use server::ServerSide;

use eqo_checkpoints::cost;
use eqo_checkpoints::graph::{CheckedGraph, NodeId, Op};
use eqo_checkpoints::layout::sum_pool;

use crate::Error;
use crate::gates::Party;
use crate::gates::matmul::Products;
use crate::transport::Scope;
use zeroize::Zeroizing;

/// One party's shares of a node's output, wiped when dropped.
pub type Shares = Zeroizing<Vec<u64>>;

/// What the two parties do differently in a convolution.
pub trait Side {
    /// This party's share of the convolution's products; `rows` is its share of the gathered input.
    ///
    /// # Errors
    /// Those of [`Products`].
    fn multiply(
        &self,
        party: &mut Party,
        node: NodeId,
        products: &Products,
        rows: &[u64],
    ) -> Result<Vec<u64>, Error>;

    /// Adds this party's share of the biases to accumulators `[batch][out][pixels]`.
    fn add_bias(&self, node: NodeId, pixels: usize, accumulators: &mut [u64]);
}

/// A walk over the graph with `batch` images.
pub struct Walk<'w, S> {
    /// The public graph.
    pub graph: &'w CheckedGraph,
    /// This party's part of the convolutions.
    pub side: &'w S,
    /// Images.
    pub batch: usize,
}

impl<S: Side> Walk<'_, S> {
    /// Evaluates all nodes on this party's share of the image `[batch][channels][height][width]` and returns its share
    /// of the logits, `[batch][classes]` and one pixel. `entered` is told each scope that begins.
    ///
    /// # Errors
    /// Those of the channel and the OTs.
    pub fn run(
        &self,
        party: &mut Party,
        image: Vec<u64>,
        mut entered: impl FnMut(Scope),
    ) -> Result<Shares, Error> {
        let last_use = last_uses(self.graph);
        let mut shares: Vec<Shares> = Vec::with_capacity(last_use.len());
        let mut image = Some(image);
        for (id, node) in self.graph.nodes().iter().enumerate() {
            entered(Scope::OtExtension);
            self.prepare(party, id)?;
            entered(Scope::Node(id));
            party.channel.set_scope(Scope::Node(id));
            let output = match &node.op {
                Op::Input(_) => image.take().unwrap_or_default(),
                Op::Conv(conv) => self.conv(party, id, conv, &shares)?,
                Op::SumPool { input } => {
                    let [_, height, width] = self.graph.shape(*input);
                    sum_pool(height * width, &shares[*input])
                }
            };
            shares.push(Zeroizing::new(output));
            for (earlier, _) in last_use.iter().enumerate().filter(|(_, last)| **last == id) {
                shares[earlier] = Shares::default();
            }
        }
        Ok(shares.pop().unwrap_or_default())
    }

    /// Fills the stock of random OTs up to what node `id` consumes.
    fn prepare(&self, party: &mut Party, id: NodeId) -> Result<(), Error> {
        let needed = cost::ots(self.graph, id, self.batch);
        let (send, receive) = if party.is_server() {
            (needed.server_sends, needed.client_sends)
        } else {
            (needed.client_sends, needed.server_sends)
        };
        let missing = |needed: u64, left: usize| (needed as usize).saturating_sub(left);
        let send = missing(send, party.ots.left_as_sender());
        let receive = missing(receive, party.ots.left_as_receiver());
        party.ots.prepare(party.channel, send, receive)
    }
}

/// For each node the last one that reads it, after which a party forgets its shares; itself if none does.
pub(crate) fn last_uses(graph: &CheckedGraph) -> Vec<NodeId> {
    let nodes = graph.nodes();
    // The last node's shares are the result.
    let mut last: Vec<NodeId> =
        (0..nodes.len()).map(|id| if id + 1 == nodes.len() { nodes.len() } else { id }).collect();
    for (id, node) in nodes.iter().enumerate() {
        match &node.op {
            Op::Input(_) => {}
            Op::SumPool { input } => last[*input] = id,
            Op::Conv(conv) => {
                last[conv.input] = id;
                conv.shortcut.iter().for_each(|shortcut| last[shortcut.input] = id);
            }
        }
    }
    last
}

/// The ring of element `element` of the logits `[batch][classes]`.
pub fn logit_ring(graph: &CheckedGraph, element: usize) -> u8 {
    match graph.nodes().last().map(|node| &node.op) {
        Some(Op::Conv(conv)) => {
            let id = graph.nodes().len() - 1;
            let [channels, height, width] = graph.shape(id);
            conv.ring_bits[element / (height * width) % channels]
        }
        // A checked graph ends in a convolution.
        _ => 1,
    }
}
