//! What a max pooling sends: matches level by level, then wider rings.

use super::comparison::Comparison;
use super::gates::{Widening, lanes};
use super::ledger::{Ledger, Ots, Sender};
use super::wire::packed_bytes;
use crate::graph::{CheckedGraph, MaxPool, NodeId};
use crate::layout;

/// One max pooling for a batch.
pub(super) struct PoolStep {
    /// The sign of a difference.
    tree: Comparison,
    /// Matches of each level.
    levels: Vec<u64>,
    output: Widening,
}

impl PoolStep {
    pub(super) fn new(graph: &CheckedGraph, id: NodeId, pool: &MaxPool, batch: usize) -> Self {
        let [channels, height, width] = graph.shape(id);
        // A checked graph pools activations only.
        let bits = graph.activation_bits(id).unwrap_or(1);
        let matches = layout::pooling_matches(pool, graph.shape(pool.input));
        let output = Widening {
            elements: lanes(channels * height * width, batch),
            narrow: u64::from(bits) + 1,
            wide: u64::from(graph.extension_bits(id)),
        };
        let levels = matches.into_iter().map(|count| lanes(channels * count, batch)).collect();
        Self { tree: Comparison::carry_only(bits), levels, output }
    }

    /// The random OTs it takes, all in its offline part.
    pub(super) fn ots(&self) -> Ots {
        let (leaves, shared) = (self.tree.leaf_ots() as u64, self.tree.joints.len() as u64 + 1);
        let matches = self.levels.iter().fold(0_u64, |sum, &level| sum.saturating_add(level));
        let server_sends = matches.saturating_mul(leaves + shared).saturating_add(self.output.widened());
        Ots { server_sends, client_sends: matches.saturating_mul(shared) }
    }

    /// Offline, client to server: its choices, and its part of the multiplexers.
    pub(super) fn choose(&self, ledger: &mut Ledger) {
        for &matches in &self.levels {
            ledger.send(Sender::Client, packed_bytes(matches.saturating_mul(self.tree.leaf_ots() as u64)));
            ledger.send(Sender::Client, packed_bytes(matches.saturating_mul(self.output.narrow)));
        }
    }

    /// Offline, server to client: what the wraps need.
    pub(super) fn correct(&self, ledger: &mut Ledger) {
        self.output.correct(ledger);
    }

    /// Online, from masked activations to masked activations.
    pub(super) fn online(&self, ledger: &mut Ledger) {
        for (level, &matches) in self.levels.iter().enumerate() {
            let packed = |bits: u64| packed_bytes(matches.saturating_mul(bits));
            ledger.send(Sender::Server, packed(self.output.narrow));
            ledger.send(Sender::Server, packed(self.tree.leaf_message_bits() as u64));
            for merges in 0..self.tree.levels() {
                ledger.exchange(packed(self.tree.opened_at(merges) as u64));
            }
            ledger.exchange(packed(1));
            if level + 1 < self.levels.len() {
                ledger.send(Sender::Client, packed(self.output.narrow));
            }
        }
        self.output.online(ledger);
    }
}
