//! What a session cost, measured beside predicted, scope by scope.

use eqo_checkpoints::cost::Costs;
use eqo_checkpoints::graph::{CheckedGraph, Op};

use crate::transport::{Meter, Scope};

/// Traffic and time of a session, one row for each scope in protocol order.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Handshake, base OT, OT extension, every node of the graph, result.
    pub rows: Vec<Row>,
}

/// One scope. Bytes include frame headers. Everything is online until an offline phase exists.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The scope.
    pub scope: Scope,
    /// The node's name, or `handshake`, `base-ot`, `ot-extension`, `result`.
    pub name: String,
    /// `winograd`, `direct`, `linear`, `sum_pool` or `input` for nodes, else the same as the name.
    pub op: &'static str,
    /// The convolution's algorithm (`f2x2`, `direct`); empty for everything else.
    pub algorithm: &'static str,
    /// Bytes this party sent.
    pub bytes_sent: u64,
    /// Bytes this party received.
    pub bytes_received: u64,
    /// Frames in both directions.
    pub frames: u64,
    /// Growth of the longest chain of messages that wait for each other.
    pub rounds: u64,
    /// Wall time, waiting included.
    pub seconds: f64,
    /// What [`eqo_checkpoints::cost`] foretells for both directions together.
    pub predicted_bytes: u64,
    /// The rounds it foretells.
    pub predicted_rounds: u64,
}

impl Row {
    /// Bytes in both directions.
    pub fn bytes(&self) -> u64 {
        self.bytes_sent + self.bytes_received
    }
}

impl Report {
    pub(crate) fn new(
        graph: &CheckedGraph,
        costs: &Costs,
        meter: &Meter,
        seconds: impl Fn(Scope) -> f64,
    ) -> Self {
        let fixed = [Scope::Handshake, Scope::BaseOt, Scope::OtExtension];
        let nodes = (0..graph.nodes().len()).map(Scope::Node);
        let scopes = fixed.into_iter().chain(nodes).chain([Scope::Result]);
        let row = |scope| {
            let (name, op, algorithm) = describe(graph, scope);
            let (measured, predicted) = (meter.of(scope), costs.of(scope));
            Row {
                scope,
                name,
                op,
                algorithm,
                bytes_sent: measured.bytes_sent,
                bytes_received: measured.bytes_received,
                frames: measured.frames,
                rounds: measured.rounds,
                seconds: seconds(scope),
                predicted_bytes: predicted.bytes(),
                predicted_rounds: predicted.rounds,
            }
        };
        Self { rows: scopes.map(row).collect() }
    }

    /// Bytes in both directions of the whole session.
    pub fn bytes(&self) -> u64 {
        self.rows.iter().map(Row::bytes).sum()
    }

    /// Rounds of the whole session.
    pub fn rounds(&self) -> u64 {
        self.rows.iter().map(|row| row.rounds).sum()
    }

    /// Wall time of the whole session.
    pub fn seconds(&self) -> f64 {
        self.rows.iter().map(|row| row.seconds).sum()
    }
}

/// Name, operation and algorithm of a scope, as in [`Row`].
pub fn describe(graph: &CheckedGraph, scope: Scope) -> (String, &'static str, &'static str) {
    let fixed = |name: &'static str| (name.to_owned(), name, "");
    let id = match scope {
        Scope::Handshake => return fixed("handshake"),
        Scope::BaseOt => return fixed("base-ot"),
        Scope::OtExtension => return fixed("ot-extension"),
        Scope::Result => return fixed("result"),
        Scope::Node(id) => id,
    };
    let node = &graph.nodes()[id];
    let (op, algorithm) = match &node.op {
        Op::Input(_) => ("input", ""),
        Op::SumPool { .. } => ("sum_pool", ""),
        Op::Conv(conv) if conv.algorithm.transform().is_some() => ("winograd", conv.algorithm.name()),
        Op::Conv(conv) if conv.kernel == 1 && graph.shape(id)[1..] == [1, 1] => {
            ("linear", conv.algorithm.name())
        }
        Op::Conv(conv) => ("direct", conv.algorithm.name()),
    };
    (node.name.clone(), op, algorithm)
}
