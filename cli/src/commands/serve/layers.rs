//! Bytes of every layer, over all sessions of a model.

use std::sync::atomic::{AtomicU64, Ordering};

use eqo_checkpoints::graph::CheckedGraph;
use eqo_protocol::report::{describe, scopes};
use eqo_protocol::transport::Scope;
use serde::Serialize;

/// One row for each part of a session, in protocol order.
pub(super) struct LayerBytes(Vec<Layer>);

/// A part of a session: a node, or what comes before and after them.
pub(super) struct Layer {
    pub(super) name: String,
    op: &'static str,
    offline: AtomicU64,
    online: AtomicU64,
}

/// The same for the page.
#[derive(Serialize)]
pub(super) struct LayerRow<'a> {
    name: &'a str,
    op: &'static str,
    offline: u64,
    online: u64,
}

impl LayerBytes {
    pub(super) fn new(graph: &CheckedGraph) -> Self {
        let layer = |scope| {
            let (name, op, _) = describe(graph, scope);
            Layer { name, op, offline: AtomicU64::new(0), online: AtomicU64::new(0) }
        };
        Self(scopes(graph).map(layer).collect())
    }

    /// The row of a scope.
    pub(super) fn of(&self, scope: Scope) -> &Layer {
        // In the order of `scopes`.
        let place = match scope {
            Scope::Handshake => 0,
            Scope::BaseOt => 1,
            Scope::OtExtension => 2,
            Scope::Request => 3,
            Scope::Offline(node) | Scope::Node(node) => 4 + node,
            Scope::Result => self.0.len() - 1,
        };
        &self.0[place]
    }

    pub(super) fn rows(&self) -> Vec<LayerRow<'_>> {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.0
            .iter()
            .map(|layer| LayerRow {
                name: &layer.name,
                op: layer.op,
                offline: read(&layer.offline),
                online: read(&layer.online),
            })
            .collect()
    }
}

impl Layer {
    pub(super) fn add(&self, scope: Scope, bytes: u64) {
        let counter = if scope.is_online() { &self.online } else { &self.offline };
        counter.fetch_add(bytes, Ordering::Relaxed);
    }
}
