//! What private inference sends: bytes, frames, rounds and oblivious transfers, exactly, from the public graph alone.
//!
//! The private protocol asks this module how to cut and what to prepare, `eqo inspect` prints it, and the bit allocator
//! optimises it; a test of `eqo-protocol` requires the prediction to equal the meter to the byte. A formula is written
//! once: here. A count that doesn't fit a `u64`, as absurd graphs and batches give, becomes the largest one.
//!
//! ```
//! # fn show(graph: &eqo_checkpoints::graph::CheckedGraph) {
//! use eqo_checkpoints::cost::{self, OtKind, Profile};
//! let costs = cost::inference(graph, &Profile { ot: OtKind::SoftSpoken4 }, 1);
//! println!("{} bytes in {} rounds", costs.total().bytes(), costs.total().rounds);
//! # }
//! ```

mod baseline;
mod comparison;
mod forecast;
mod gates;
mod groups;
mod handshake;
mod kkot;
mod ledger;
mod network;
mod ot;
mod pooling;
mod shared;
mod step;
mod windows;
mod wire;

pub use baseline::{
    BASELINE_HELLO, BASELINE_OT, BaselineCosts, DIGIT_BITS, PRODUCT_OTS, activation_chunk, baseline,
    comparison_levels, weight_chunk,
};
pub use comparison::{Comparison, Digit, Joint, Leaf, Term};
pub use forecast::{Forecast, Interrupted, Kept};
pub use gates::{MASK_BITS, OPENED_BITS};
pub use groups::{Group, groups};
pub use handshake::{
    CONFIRMATION_BYTES, HELLO_BYTES, REQUEST_BYTES, TICKET_BYTES, WELCOME_BYTES, WINDOW_END_BYTES,
    holdings_bytes, kept_bytes,
};
pub use kkot::{
    KKOT_COLUMNS, KKOT_HELLO, KKOT_REPLIES, kkot_from_receiver, kkot_from_sender, kkot_request_bytes,
};
pub use ledger::{Flow, Ots, Scope, Sender};
pub use network::{LAN, Network, WAN};
pub use ot::{
    BASE_HELLO, BASE_POINT, EXTENSION_CHUNK, Extension, Iteration, LpnSet, OtKind, Plan, extension_bytes,
    prepared, setup_payloads,
};
pub use shared::{Gate, place_bits, top1};
pub use windows::{WINDOW_OTS, needs_end, ots, windows};
pub use wire::{FRAME_HEADER, MAX_FRAME, frame_count, packed_bytes, wire_bytes};

use crate::graph::{CheckedGraph, NodeId};

/// The choices of a private run that change its traffic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Profile {
    /// How random OTs are made.
    pub ot: OtKind,
}

/// What the client learns of an inference.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Answer {
    /// All logits.
    #[default]
    Logits,
    /// The class of the largest logit, the first of several.
    Top1,
}

/// One node's traffic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeCost {
    /// The node.
    pub node: NodeId,
    /// Its messages before an image is known.
    pub offline: Flow,
    /// Its messages afterwards.
    pub online: Flow,
    /// The random OTs it consumes, all of them offline.
    pub ots: Ots,
}

/// Traffic of a session so far, by scope.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Costs {
    /// Parameters and graph.
    pub handshake: Flow,
    /// Base OTs, once a connection.
    pub base_ot: Flow,
    /// Random OTs.
    pub ot_extension: Flow,
    /// What the client asks for.
    pub request: Flow,
    /// Every node of the graph, in its order.
    pub nodes: Vec<NodeCost>,
    /// Opening the logits.
    pub result: Flow,
}

impl Costs {
    /// The sum of all scopes.
    pub fn total(&self) -> Flow {
        self.offline() + self.online()
    }

    /// What needs no image: set-up, random OTs, and the nodes' offline parts.
    pub fn offline(&self) -> Flow {
        let fixed = self.handshake + self.base_ot + self.ot_extension;
        self.nodes.iter().fold(fixed, |sum, node| sum + node.offline)
    }

    /// What waits for an image.
    pub fn online(&self) -> Flow {
        self.nodes.iter().fold(self.request + self.result, |sum, node| sum + node.online)
    }

    /// The traffic of one scope.
    pub fn of(&self, scope: Scope) -> Flow {
        let node = |node: NodeId, part: fn(&NodeCost) -> Flow| self.nodes.get(node).map(part);
        match scope {
            Scope::Handshake => self.handshake,
            Scope::BaseOt => self.base_ot,
            Scope::OtExtension => self.ot_extension,
            Scope::Request => self.request,
            Scope::Offline(id) => node(id, |cost| cost.offline).unwrap_or_default(),
            Scope::Node(id) => node(id, |cost| cost.online).unwrap_or_default(),
            Scope::Result => self.result,
        }
    }
}

/// A session of one inference of `batch` images, without its closing message.
pub fn inference(graph: &CheckedGraph, profile: &Profile, batch: usize) -> Costs {
    let mut forecast = Forecast::new(graph, profile);
    forecast.infer(batch, Answer::Logits);
    forecast.costs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softspoken_is_made_with_the_four_k_that_divide_128_evenly() {
        let made: Vec<u32> = (0..=300).filter_map(OtKind::soft_spoken).map(OtKind::k).collect();
        assert_eq!(made, [1, 2, 4, 8]);
    }
}
