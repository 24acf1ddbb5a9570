//! What a session cost, measured beside predicted, scope by scope.

use eqo_checkpoints::cost::{Costs, Flow};
use eqo_checkpoints::graph::{CheckedGraph, Conv, Op};

use crate::transport::{Meter, Scope};

/// Traffic and time of a session, one row for each part in protocol order.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Handshake, base OT, OT extension, requests, every node of the graph, result.
    pub rows: Vec<Row>,
}

/// One part of a session: what it did before an image was known, and afterwards. Only nodes do both.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The node's name, or `handshake`, `base-ot`, `ot-extension`, `request`, `result`.
    pub name: String,
    /// `winograd`, `direct`, `linear`, `max_pool`, `sum_pool` or `input` for nodes, else the same as the name.
    pub op: &'static str,
    /// The convolution's algorithm (`f2x2`, `direct`); empty for everything else.
    pub algorithm: &'static str,
    /// What needs no image.
    pub offline: Phase,
    /// What waits for an image.
    pub online: Phase,
}

/// Traffic and time of a row in one phase. Bytes include frame headers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Phase {
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
    /// What [`eqo_checkpoints::cost`] foretells.
    pub predicted: Flow,
}

impl Phase {
    /// Bytes in both directions.
    pub fn bytes(&self) -> u64 {
        self.bytes_sent + self.bytes_received
    }

    fn add(&mut self, other: &Self) {
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
        self.frames += other.frames;
        self.rounds += other.rounds;
        self.seconds += other.seconds;
        self.predicted += other.predicted;
    }
}

impl Row {
    /// Bytes of both phases in both directions.
    pub fn bytes(&self) -> u64 {
        self.offline.bytes() + self.online.bytes()
    }

    /// Rounds of both phases.
    pub fn rounds(&self) -> u64 {
        self.offline.rounds + self.online.rounds
    }

    /// Predicted bytes of both phases.
    pub fn predicted_bytes(&self) -> u64 {
        self.offline.predicted.bytes() + self.online.predicted.bytes()
    }
}

impl Report {
    pub(crate) fn new(
        graph: &CheckedGraph,
        costs: &Costs,
        meter: &Meter,
        seconds: impl Fn(Scope) -> f64,
    ) -> Self {
        let phase = |scope| {
            let measured = meter.of(scope);
            Phase {
                bytes_sent: measured.bytes_sent,
                bytes_received: measured.bytes_received,
                frames: measured.frames,
                rounds: measured.rounds,
                seconds: seconds(scope),
                predicted: costs.of(scope),
            }
        };
        let row = |scope| {
            let (name, op, algorithm) = describe(graph, scope);
            let (offline, online) = match scope {
                Scope::Node(id) => (phase(Scope::Offline(id)), phase(scope)),
                scope if scope.is_online() => (Phase::default(), phase(scope)),
                scope => (phase(scope), Phase::default()),
            };
            Row { name, op, algorithm, offline, online }
        };
        Self { rows: scopes(graph).map(row).collect() }
    }

    /// The sum of all rows' offline phases.
    pub fn offline(&self) -> Phase {
        self.sum(|row| &row.offline)
    }

    /// The sum of all rows' online phases.
    pub fn online(&self) -> Phase {
        self.sum(|row| &row.online)
    }

    /// Bytes in both directions of the whole session.
    pub fn bytes(&self) -> u64 {
        self.rows.iter().map(Row::bytes).sum()
    }

    /// Rounds of the whole session.
    pub fn rounds(&self) -> u64 {
        self.rows.iter().map(Row::rounds).sum()
    }

    /// Wall time of the whole session.
    pub fn seconds(&self) -> f64 {
        self.offline().seconds + self.online().seconds
    }

    fn sum(&self, part: impl Fn(&Row) -> &Phase) -> Phase {
        let mut sum = Phase::default();
        self.rows.iter().for_each(|row| sum.add(part(row)));
        sum
    }
}

/// The parts of a session that have a row, in protocol order; [`Scope::Node`] stands for both phases of a node.
pub fn scopes(graph: &CheckedGraph) -> impl Iterator<Item = Scope> {
    let fixed = [Scope::Handshake, Scope::BaseOt, Scope::OtExtension, Scope::Request];
    fixed.into_iter().chain((0..graph.nodes().len()).map(Scope::Node)).chain([Scope::Result])
}

/// Name, operation and algorithm of a scope, as in [`Row`].
pub fn describe(graph: &CheckedGraph, scope: Scope) -> (String, &'static str, &'static str) {
    let fixed = |name: &'static str| (name.to_owned(), name, "");
    let id = match scope {
        Scope::Handshake => return fixed("handshake"),
        Scope::BaseOt => return fixed("base-ot"),
        Scope::OtExtension => return fixed("ot-extension"),
        Scope::Request => return fixed("request"),
        Scope::Result => return fixed("result"),
        Scope::Offline(id) | Scope::Node(id) => id,
    };
    let node = &graph.nodes()[id];
    let (op, algorithm) = match &node.op {
        Op::Input(_) => ("input", ""),
        Op::MaxPool(_) => ("max_pool", ""),
        Op::SumPool { .. } => ("sum_pool", ""),
        Op::Conv(conv) if conv.algorithm.transform().is_some() => ("winograd", conv.algorithm.name()),
        Op::Conv(conv) if covers_its_input(graph, conv) => ("linear", conv.algorithm.name()),
        Op::Conv(conv) => ("direct", conv.algorithm.name()),
    };
    (node.name.clone(), op, algorithm)
}

/// Whether a convolution is a linear layer: one output pixel of all input pixels.
fn covers_its_input(graph: &CheckedGraph, conv: &Conv) -> bool {
    graph.shape(conv.input)[1..] == [conv.kernel; 2] && conv.padding == 0
}
