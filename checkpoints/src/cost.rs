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
pub use gates::{MASK_BITS, OPENED_BITS};
pub use groups::{Group, groups};
pub use handshake::{CONFIRMATION_BYTES, HELLO_BYTES, REQUEST_BYTES, WELCOME_BYTES};
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
pub use windows::{WINDOW_OTS, ots, windows};
pub use wire::{FRAME_HEADER, MAX_FRAME, frame_count, packed_bytes, wire_bytes};

use crate::graph::{CheckedGraph, NodeId};
use gates::{ConvStep, lanes, unmask};
use ledger::Ledger;
use step::Step;

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
    /// Base OTs, once a session.
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

/// Foretells a session message by message; what inferences leave over in the stock of random OTs carries over.
pub struct Forecast<'g> {
    graph: &'g CheckedGraph,
    ledger: Ledger,
    stock: Ots,
    server_sends: Extension,
    client_sends: Extension,
    spent: Vec<Ots>,
    /// Batch sizes of the inferences that are prepared.
    prepared: Vec<usize>,
}

impl<'g> Forecast<'g> {
    /// A session up to the point where the client may ask for inferences.
    pub fn new(graph: &'g CheckedGraph, profile: &Profile) -> Self {
        let mut ledger = Ledger::new();
        ledger.send(Sender::Client, HELLO_BYTES as u64);
        let json = graph.graph().to_json().len() as u64;
        ledger.flight(Sender::Server, [WELCOME_BYTES as u64, 4 + json]);
        ledger.send(Sender::Client, CONFIRMATION_BYTES as u64);
        ledger.set_scope(Scope::BaseOt);
        for payload in setup_payloads(profile.ot) {
            ledger.exchange(payload);
        }
        let spent = vec![Ots::default(); graph.nodes().len()];
        let extension = Extension::new(profile.ot);
        let (server_sends, client_sends) = (extension, extension);
        Self { graph, ledger, stock: Ots::default(), server_sends, client_sends, spent, prepared: Vec::new() }
    }

    /// Adds the preparation of an inference of `batch` images.
    pub fn prepare(&mut self, batch: usize) {
        self.request();
        self.offline(batch);
        self.prepared.push(batch);
    }

    /// Adds an inference of `batch` images, which draws on the oldest preparation for that many, or prepares itself.
    pub fn infer(&mut self, batch: usize, answer: Answer) {
        self.request();
        match self.prepared.iter().position(|&prepared| prepared == batch) {
            Some(at) => drop(self.prepared.remove(at)),
            None => self.offline(batch),
        }
        self.online(batch, answer);
    }

    /// Adds the message that ends the session.
    pub fn close(&mut self) {
        self.request();
    }

    /// Everything so far.
    pub fn costs(&self) -> Costs {
        let row = |scope| self.ledger.row(scope);
        let node = |(node, &ots)| NodeCost {
            node,
            offline: row(Scope::Offline(node)),
            online: row(Scope::Node(node)),
            ots,
        };
        Costs {
            handshake: row(Scope::Handshake),
            base_ot: row(Scope::BaseOt),
            ot_extension: row(Scope::OtExtension),
            request: row(Scope::Request),
            nodes: self.spent.iter().enumerate().map(node).collect(),
            result: row(Scope::Result),
        }
    }

    fn request(&mut self) {
        self.ledger.set_scope(Scope::Request);
        self.ledger.send(Sender::Client, REQUEST_BYTES as u64);
    }

    fn offline(&mut self, batch: usize) {
        for window in windows(self.graph, batch) {
            let mut needed = Ots::default();
            for node in window.clone() {
                let ots = ots(self.graph, node, batch);
                self.spent[node] += ots;
                needed += ots;
            }
            self.extend(needed);
            for part in [Step::offer, Step::choose, Step::correct] {
                for node in window.clone() {
                    self.ledger.set_scope(Scope::Offline(node));
                    if let Some(step) = Step::new(self.graph, node, batch) {
                        part(&step, &mut self.ledger);
                    }
                }
            }
        }
    }

    fn online(&mut self, batch: usize, answer: Answer) {
        self.ledger.set_scope(Scope::Node(0));
        let pixels = lanes(self.graph.shape(0).iter().product(), batch);
        unmask(&mut self.ledger, pixels, u64::from(self.graph.extension_bits(0)));
        let steps = (0..self.graph.nodes().len()).map(|node| (node, Step::new(self.graph, node, batch)));
        for (node, step) in steps.filter_map(|(node, step)| Some((node, step?))) {
            self.ledger.set_scope(Scope::Node(node));
            step.online(&mut self.ledger);
            // The last node of a checked graph is a convolution.
            if let (Step::Conv(step), true) = (&step, node + 1 == self.graph.nodes().len()) {
                self.reveal(step, answer);
            }
        }
    }

    fn reveal(&mut self, step: &ConvStep, answer: Answer) {
        match answer {
            Answer::Logits => {
                self.ledger.set_scope(Scope::Result);
                step.open(&mut self.ledger);
            }
            Answer::Top1 => {
                let (gate, opened) = step.top1();
                self.extend(gate.ots());
                self.ledger.set_scope(Scope::Result);
                gate.book(&mut self.ledger);
                self.ledger.send(Sender::Server, opened);
            }
        }
    }

    /// Fills the stock of random OTs up to `needed` and takes them out.
    fn extend(&mut self, needed: Ots) {
        self.ledger.set_scope(Scope::OtExtension);
        let server = self.server_sends.plan(needed.server_sends.saturating_sub(self.stock.server_sends));
        let client = self.client_sends.plan(needed.client_sends.saturating_sub(self.stock.client_sends));
        self.ledger.cross(client.from_receiver(), server.from_receiver());
        self.ledger.cross(server.from_sender(), client.from_sender());
        self.stock += Ots { server_sends: server.made, client_sends: client.made };
        // Saturated counts leave nothing over.
        self.stock.server_sends = self.stock.server_sends.saturating_sub(needed.server_sends);
        self.stock.client_sends = self.stock.client_sends.saturating_sub(needed.client_sends);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Spec, random_checkpoint};

    #[test]
    fn batches_beyond_all_counting_saturate_at_once() {
        let checkpoint = random_checkpoint(1, &Spec::every_kind());
        for ot in OtKind::ALL {
            let mut forecast = Forecast::new(checkpoint.graph(), &Profile { ot });
            let setup = forecast.costs().total().bytes();
            [usize::MAX, usize::MAX / 2, 1 << 40, 1]
                .into_iter()
                .for_each(|batch| forecast.infer(batch, Answer::Logits));
            let total = forecast.costs().total();
            assert!(setup < 1 << 20 && total.bytes() == u64::MAX && total.rounds < 10_000, "{ot:?}");
        }
    }

    #[test]
    fn softspoken_is_made_with_the_four_k_that_divide_128_evenly() {
        let made: Vec<u32> = (0..=300).filter_map(OtKind::soft_spoken).map(OtKind::k).collect();
        assert_eq!(made, [1, 2, 4, 8]);
    }
}
