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

mod comparison;
mod gates;
mod groups;
mod handshake;
mod ledger;
mod ot;
mod wire;

pub use comparison::{Comparison, Digit, Leaf, Merge};
pub use groups::{Group, groups};
pub use handshake::{CONFIRMATION_BYTES, HELLO_BYTES, REQUEST_BYTES, WELCOME_BYTES};
pub use ledger::{Flow, Ots, Scope, Sender};
pub use ot::{
    BASE_HELLO, BASE_POINT, EXTENSION_CHUNK, Extension, Iteration, LpnSet, OtKind, Plan, extension_bytes,
    prepared, setup_payloads,
};
pub use wire::{FRAME_HEADER, MAX_FRAME, frame_count, packed_bytes, wire_bytes};

use crate::graph::{CheckedGraph, Conv, NodeId, Op, Output};
use crate::layout::ConvLayout;
use ledger::Ledger;

/// The choices of a private run that change its traffic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Profile {
    /// How random OTs are made.
    pub ot: OtKind,
}

/// One node's online traffic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeCost {
    /// The node.
    pub node: NodeId,
    /// Its messages.
    pub flow: Flow,
    /// The random OTs it consumes.
    pub ots: Ots,
}

/// Traffic of a session so far, by scope.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Costs {
    /// Parameters, graph, and batch sizes.
    pub handshake: Flow,
    /// Base OTs, once a session.
    pub base_ot: Flow,
    /// Random OTs.
    pub ot_extension: Flow,
    /// Every node of the graph, in its order.
    pub nodes: Vec<NodeCost>,
    /// Opening the logits.
    pub result: Flow,
}

impl Costs {
    /// The sum of all scopes.
    pub fn total(&self) -> Flow {
        let fixed = self.handshake + self.base_ot + self.ot_extension + self.result;
        self.nodes.iter().fold(fixed, |sum, node| sum + node.flow)
    }

    /// The traffic of one scope.
    pub fn of(&self, scope: Scope) -> Flow {
        match scope {
            Scope::Handshake => self.handshake,
            Scope::BaseOt => self.base_ot,
            Scope::OtExtension => self.ot_extension,
            Scope::Node(node) => self.nodes.get(node).map_or_else(Flow::default, |cost| cost.flow),
            Scope::Result => self.result,
        }
    }
}

/// A session of one inference of `batch` images, without its closing message.
pub fn inference(graph: &CheckedGraph, profile: &Profile, batch: usize) -> Costs {
    let mut forecast = Forecast::new(graph, profile);
    forecast.infer(batch);
    forecast.costs()
}

/// The random OTs that a node consumes for `batch` images.
pub fn ots(graph: &CheckedGraph, node: NodeId, batch: usize) -> Ots {
    let mut ledger = Ledger::new();
    run_node(&mut ledger, graph, node, batch);
    ledger.take_ots()
}

/// Foretells a session message by message; what inferences leave over in the stock of random OTs carries over.
pub struct Forecast<'g> {
    graph: &'g CheckedGraph,
    ledger: Ledger,
    stock: Ots,
    server_sends: Extension,
    client_sends: Extension,
    spent: Vec<Ots>,
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
        Self { graph, ledger, stock: Ots::default(), server_sends, client_sends, spent }
    }

    /// Adds an inference of `batch` images.
    pub fn infer(&mut self, batch: usize) {
        self.ledger.set_scope(Scope::Handshake);
        self.ledger.send(Sender::Client, REQUEST_BYTES as u64);
        for node in 0..self.graph.nodes().len() {
            let needed = ots(self.graph, node, batch);
            self.prepare(needed);
            self.ledger.set_scope(Scope::Node(node));
            run_node(&mut self.ledger, self.graph, node, batch);
            self.spent[node] += self.ledger.take_ots();
        }
        self.ledger.set_scope(Scope::Result);
        if let Some((node, conv)) = self.logits() {
            let [_, height, width] = self.graph.shape(node);
            gates::open(&mut self.ledger, conv, lanes(height * width, batch));
        }
    }

    /// Adds the message that ends the session.
    pub fn close(&mut self) {
        self.ledger.set_scope(Scope::Handshake);
        self.ledger.send(Sender::Client, REQUEST_BYTES as u64);
    }

    /// Everything so far.
    pub fn costs(&self) -> Costs {
        let node = |(node, &ots)| NodeCost { node, flow: self.ledger.row(Scope::Node(node)), ots };
        Costs {
            handshake: self.ledger.row(Scope::Handshake),
            base_ot: self.ledger.row(Scope::BaseOt),
            ot_extension: self.ledger.row(Scope::OtExtension),
            nodes: self.spent.iter().enumerate().map(node).collect(),
            result: self.ledger.row(Scope::Result),
        }
    }

    /// Fills the stock up to `needed` and takes it out again.
    fn prepare(&mut self, needed: Ots) {
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

    fn logits(&self) -> Option<(NodeId, &'g Conv)> {
        let node = self.graph.nodes().len() - 1;
        match &self.graph.nodes()[node].op {
            Op::Conv(conv) => Some((node, conv)),
            Op::Input(_) | Op::SumPool { .. } => None,
        }
    }
}

fn run_node(ledger: &mut Ledger, graph: &CheckedGraph, id: NodeId, batch: usize) {
    let Op::Conv(conv) = &graph.nodes()[id].op else { return };
    let shape = graph.shape(id);
    let columns = ConvLayout::new(conv, graph.shape(conv.input), shape).columns();
    gates::matmul(ledger, conv, lanes(columns, batch));
    if let Output::Activation { bits, .. } = conv.output {
        gates::requantize(ledger, &groups(conv), bits, lanes(shape[1] * shape[2], batch));
        let elements = lanes(shape.iter().product(), batch);
        gates::extend(ledger, elements, bits, graph.extension_bits(id));
    }
}

fn lanes(each: usize, batch: usize) -> u64 {
    (each as u64).saturating_mul(batch as u64)
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
            [usize::MAX, usize::MAX / 2, 1 << 40, 1].into_iter().for_each(|batch| forecast.infer(batch));
            let total = forecast.costs().total();
            assert!(setup < 1 << 20 && total.bytes() == u64::MAX && total.rounds < 10_000, "{ot:?}");
        }
    }

    #[test]
    fn only_the_four_kinds_of_ot_can_be_made() {
        let made: Vec<u32> = (0..=300).filter_map(OtKind::soft_spoken).map(OtKind::k).collect();
        assert_eq!(made, [1, 2, 4, 8]);
    }
}
