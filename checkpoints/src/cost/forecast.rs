//! A session's messages in the order in which they're sent.

use super::gates::{ConvStep, lanes, unmask};
use super::handshake::{
    CONFIRMATION_BYTES, HELLO_BYTES, REQUEST_BYTES, WELCOME_BYTES, WINDOW_END_BYTES, holdings_bytes,
    kept_bytes,
};
use super::ledger::{Ledger, Ots, Scope, Sender};
use super::ot::{Extension, setup_payloads};
use super::step::Step;
use super::windows::{needs_end, ots, windows};
use super::{Answer, Costs, NodeCost, Profile};
use crate::graph::CheckedGraph;

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
    /// The preparation that a broken connection interrupted.
    interrupted: Option<Interrupted>,
}

/// What a client that comes back to a broken session brings, and what of it the server has, too.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Kept {
    /// Prepared inferences that the client names.
    pub offered: usize,
    /// Batch sizes of those that both have, oldest first.
    pub prepared: Vec<usize>,
    /// What both have of the preparation that was interrupted.
    pub interrupted: Option<Interrupted>,
}

/// A preparation that isn't whole. The next one goes on with it if it's for as many images, and drops it otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interrupted {
    /// Images.
    pub batch: usize,
    /// Windows that both parties have.
    pub windows: usize,
}

impl<'g> Forecast<'g> {
    /// A session up to the point where the client may ask for inferences.
    pub fn new(graph: &'g CheckedGraph, profile: &Profile) -> Self {
        let mut ledger = Ledger::new();
        ledger.send(Sender::Client, HELLO_BYTES as u64);
        let json = graph.graph().to_json().len() as u64;
        ledger.flight(Sender::Server, [WELCOME_BYTES as u64, 4 + json]);
        ledger.send(Sender::Client, CONFIRMATION_BYTES as u64);
        Self::after(ledger, graph, profile)
    }

    /// The same on a new connection to a session whose last one broke.
    pub fn resumed(graph: &'g CheckedGraph, profile: &Profile, kept: &Kept) -> Self {
        let mut ledger = Ledger::new();
        ledger.send(Sender::Client, HELLO_BYTES as u64);
        ledger.send(Sender::Server, WELCOME_BYTES as u64);
        let holdings = 4 + holdings_bytes(kept.offered) as u64;
        ledger.flight(Sender::Client, [CONFIRMATION_BYTES as u64, holdings]);
        ledger.send(Sender::Server, kept_bytes(kept.offered) as u64);
        let mut forecast = Self::after(ledger, graph, profile);
        forecast.prepared.clone_from(&kept.prepared);
        forecast.interrupted = kept.interrupted;
        forecast
    }

    /// Adds the base OTs, which every connection runs anew.
    fn after(mut ledger: Ledger, graph: &'g CheckedGraph, profile: &Profile) -> Self {
        ledger.set_scope(Scope::BaseOt);
        for payload in setup_payloads(profile.ot) {
            ledger.exchange(payload);
        }
        let extension = Extension::new(profile.ot);
        Self {
            graph,
            ledger,
            stock: Ots::default(),
            server_sends: extension,
            client_sends: extension,
            spent: vec![Ots::default(); graph.nodes().len()],
            prepared: Vec::new(),
            interrupted: None,
        }
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
        let interrupted = self.interrupted.take().filter(|interrupted| interrupted.batch == batch);
        let done = interrupted.map_or(0, |interrupted| interrupted.windows);
        for window in windows(self.graph, batch).into_iter().skip(done) {
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
            if needs_end(self.graph, window, batch) {
                self.ledger.send(Sender::Server, WINDOW_END_BYTES as u64);
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
    use crate::cost::OtKind;
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
}
