//! Nodes that send something.

use super::gates::ConvStep;
use super::ledger::{Ledger, Ots};
use super::pooling::PoolStep;
use crate::graph::{CheckedGraph, NodeId, Op};

/// One node's traffic for a batch: an offline part of three flights ([`Step::offer`], [`Step::choose`], [`Step::correct`]) and an
/// online part.
pub(super) enum Step<'g> {
    Conv(ConvStep<'g>),
    MaxPool(PoolStep),
}

impl<'g> Step<'g> {
    /// `None` for nodes that are local.
    pub(super) fn new(graph: &'g CheckedGraph, id: NodeId, batch: usize) -> Option<Self> {
        match &graph.nodes()[id].op {
            Op::Conv(conv) => Some(Self::Conv(ConvStep::new(graph, id, conv, batch))),
            Op::MaxPool(pool) => Some(Self::MaxPool(PoolStep::new(graph, id, pool, batch))),
            Op::Input(_) | Op::SumPool { .. } => None,
        }
    }

    /// The random OTs it takes, all in its offline part.
    pub(super) fn ots(&self) -> Ots {
        match self {
            Self::Conv(step) => step.ots(),
            Self::MaxPool(step) => step.ots(),
        }
    }

    /// Server to client.
    pub(super) fn offer(&self, ledger: &mut Ledger) {
        if let Self::Conv(step) = self {
            step.offer(ledger);
        }
    }

    /// Client to server.
    pub(super) fn choose(&self, ledger: &mut Ledger) {
        match self {
            Self::Conv(step) => step.choose(ledger),
            Self::MaxPool(step) => step.choose(ledger),
        }
    }

    /// Server to client.
    pub(super) fn correct(&self, ledger: &mut Ledger) {
        match self {
            Self::Conv(step) => step.correct(ledger),
            Self::MaxPool(step) => step.correct(ledger),
        }
    }

    /// Once there is an image.
    pub(super) fn online(&self, ledger: &mut Ledger) {
        match self {
            Self::Conv(step) => step.online(ledger),
            Self::MaxPool(step) => step.online(ledger),
        }
    }
}
