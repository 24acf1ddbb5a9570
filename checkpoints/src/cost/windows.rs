//! Windows: neighbouring nodes whose offline parts share their flights.

use std::ops::Range;

use super::ledger::{Ledger, Ots, Scope};
use super::step::Step;
use crate::graph::{CheckedGraph, NodeId};

/// Random OTs of a window, at most, unless a single node takes more: what bounds the memory of the offline phase. More
/// nodes in a window mean fewer rounds.
pub const WINDOW_OTS: u64 = 1 << 22;

/// The random OTs that a node consumes for `batch` images.
pub fn ots(graph: &CheckedGraph, node: NodeId, batch: usize) -> Ots {
    Step::new(graph, node, batch).map_or_else(Ots::default, |step| step.ots())
}

/// Cuts the graph into windows, in order; every node is in one.
pub fn windows(graph: &CheckedGraph, batch: usize) -> Vec<Range<NodeId>> {
    let mut windows = Vec::new();
    let (mut start, mut filled) = (0, 0_u64);
    for node in 0..graph.nodes().len() {
        let ots = ots(graph, node, batch);
        let more = ots.server_sends.saturating_add(ots.client_sends);
        if filled > 0 && filled.saturating_add(more) > WINDOW_OTS {
            windows.push(start..node);
            (start, filled) = (node, 0);
        }
        filled = filled.saturating_add(more);
    }
    windows.push(start..graph.nodes().len());
    windows
}

/// Whether the last flight of a window is empty, so that its last message would be the client's: then the server sends
/// [`WINDOW_END_BYTES`](super::WINDOW_END_BYTES). The party that hears last is never ahead, which is what a broken connection is resumed by.
pub fn needs_end(graph: &CheckedGraph, window: Range<NodeId>, batch: usize) -> bool {
    let mut last_flight = Ledger::new();
    last_flight.set_scope(Scope::Offline(0));
    window.filter_map(|node| Step::new(graph, node, batch)).for_each(|step| step.correct(&mut last_flight));
    last_flight.row(Scope::Offline(0)).bytes() == 0
}
