//! The graph on shares: every node's output as two additive shares, one at each party.
//!
//! Before an image is known ([`Server::prepare`], [`Client::prepare`]) the client draws a mask R for the image and every
//! activation, and both parties compute shares of everything that is linear in these masks: `W·R` of every convolution, by
//! oblivious transfer. The client's share of a tensor is its mask, or follows from masks, so that all its shares are known
//! then, and its choices in every comparison too. Afterwards ([`Server::infer`], [`Client::infer`]) the server multiplies
//! `x − R` in the clear, and only the requantizations need messages.
//!
//! The linear steps (tile transforms, tap shifts, bias, residual, pooling) are local, by the same functions of
//! [`eqo_checkpoints::layout`] that the plain engine uses.
//!
//! The offline part treats the graph window by window ([`eqo_checkpoints::cost::windows`]); in a window all messages of one
//! direction travel together, in three flights: the server's choices, the client's products and choices, the server's
//! corrections. At any time only one party sends, so neither can block the other.

mod client;
mod linear;
mod pooling;
mod server;

pub use client::{Client, ClientMaterial, ClientPreparation};
pub use server::{Server, ServerMaterial, ServerPreparation};

use eqo_checkpoints::cost::{self, Ots as OtCount};
use eqo_checkpoints::graph::{CheckedGraph, NodeId, Op};

use crate::Error;
use crate::gates::Party;
use crate::transport::{Scope, Traffic};
use zeroize::Zeroizing;

/// One party's shares of a node's output, wiped when dropped.
pub type Shares = Zeroizing<Vec<u64>>;

/// Books what follows under a scope, in the meter and with whoever keeps time.
pub type Enter<'e> = dyn FnMut(Entered) + 'e;

/// What errors call the nodes of an inference that isn't wholly prepared.
const NODES: &str = "prepared nodes";

/// A part of the protocol begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entered {
    /// Which part.
    pub scope: Scope,
    /// What this party has sent and received before, over the whole connection.
    pub before: Traffic,
}

pub(crate) fn enter(party: &mut Party, entered: &mut Enter, scope: Scope) {
    entered(Entered { scope, before: party.channel.meter().total() });
    party.channel.set_scope(scope);
}

/// The last message of a window is the server's: one of its own where the last flight is empty.
fn end_window(party: &mut Party, needed: bool) -> Result<(), Error> {
    match (needed, party.is_server()) {
        (false, _) => Ok(()),
        (true, true) => party.channel.send(vec![0; cost::WINDOW_END_BYTES]),
        (true, false) => party.channel.recv(cost::WINDOW_END_BYTES).map(drop),
    }
}

/// What these nodes consume.
fn ots_of(graph: &CheckedGraph, nodes: std::ops::Range<NodeId>, batch: usize) -> OtCount {
    let mut needed = OtCount::default();
    nodes.for_each(|node| needed += cost::ots(graph, node, batch));
    needed
}

/// Fills the stock of random OTs up to `needed`.
pub(crate) fn extend_stock(party: &mut Party, needed: OtCount) -> Result<(), Error> {
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

/// For each node the last one that reads it, after which a party forgets its shares; itself if none does.
pub(crate) fn last_uses(graph: &CheckedGraph) -> Vec<NodeId> {
    let nodes = graph.nodes();
    // The last node's shares are the result.
    let mut last: Vec<NodeId> =
        (0..nodes.len()).map(|id| if id + 1 == nodes.len() { nodes.len() } else { id }).collect();
    for (id, node) in nodes.iter().enumerate() {
        match &node.op {
            Op::Input(_) => {}
            Op::MaxPool(pool) => last[pool.input] = id,
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
