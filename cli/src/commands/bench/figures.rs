//! What an inference sends, by phase and by operator: as predicted or as measured.

use eqo_checkpoints::baseline::Program;
use eqo_checkpoints::cost::{self, Flow, OtKind, Scope};
use eqo_checkpoints::graph::CheckedGraph;
use eqo_protocol::report::{describe, scopes};
use serde::{Deserialize, Serialize};

use crate::commands::inspect::session;
use crate::evaluation::PrivateFigures;

/// One image, both directions, set-up included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) bytes_offline: u64,
    pub(super) bytes_online: u64,
    pub(super) rounds_online: u64,
    /// Those that send anything.
    pub(super) operators: Vec<OperatorBytes>,
}

/// What an operator sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct OperatorBytes {
    pub(super) operator: String,
    pub(super) bytes_offline: u64,
    pub(super) bytes_online: u64,
}

impl Figures {
    /// As the cost model foretells a program.
    pub(super) fn of_program(program: &Program) -> Self {
        let costs = cost::baseline(program);
        let mut figures = Self::none();
        figures.add("handshake", [costs.handshake, Flow::default()]);
        figures.add("base-ot", [costs.base_ot, Flow::default()]);
        for (op, flow) in program.ops.iter().zip(&costs.ops) {
            figures.add(op.operator(), [Flow::default(), *flow]);
        }
        figures.add("result", [Flow::default(), costs.result]);
        figures
    }

    /// As the cost model foretells our own protocol.
    pub(super) fn of_graph(graph: &CheckedGraph, ot: OtKind) -> Self {
        let costs = session(graph, ot, 1, 1);
        let mut figures = Self::none();
        for scope in scopes(graph) {
            let flows = match scope {
                Scope::Node(id) => [costs.of(Scope::Offline(id)), costs.of(scope)],
                scope if scope.is_online() => [Flow::default(), costs.of(scope)],
                scope => [costs.of(scope), Flow::default()],
            };
            figures.add(describe(graph, scope).1, flows);
        }
        figures
    }

    /// As both parties measured.
    pub(super) fn measured(measured: &PrivateFigures) -> Self {
        let mut figures = Self::none();
        for layer in &measured.layers {
            figures.add_bytes(&layer.op, [layer.bytes_offline, layer.bytes_online]);
        }
        figures.rounds_online = measured.rounds_online;
        figures
    }

    /// Both phases.
    pub(super) fn bytes_total(&self) -> u64 {
        self.bytes_offline + self.bytes_online
    }

    fn none() -> Self {
        Self { bytes_offline: 0, bytes_online: 0, rounds_online: 0, operators: Vec::new() }
    }

    fn add(&mut self, op: &str, [offline, online]: [Flow; 2]) {
        self.add_bytes(op, [offline.bytes(), online.bytes()]);
        self.rounds_online += online.rounds;
    }

    fn add_bytes(&mut self, op: &str, [offline, online]: [u64; 2]) {
        self.bytes_offline += offline;
        self.bytes_online += online;
        let [of_offline, of_online] = operators(op);
        self.add_to(of_offline, [offline, 0]);
        self.add_to(of_online, [0, online]);
    }

    fn add_to(&mut self, operator: &str, [offline, online]: [u64; 2]) {
        if offline + online == 0 {
            return;
        }
        match self.operators.iter_mut().find(|row| row.operator == operator) {
            Some(row) => {
                row.bytes_offline += offline;
                row.bytes_online += online;
            }
            None => self.operators.push(OperatorBytes {
                operator: operator.to_owned(),
                bytes_offline: offline,
                bytes_online: online,
            }),
        }
    }
}

/// The operators that an operation's offline and online part belong to. Ours prepares products offline; online it opens the
/// masked operand, extends it and requantizes the sums.
fn operators(op: &str) -> [&str; 2] {
    match op {
        "winograd" | "direct" => ["convolution", "activation"],
        "handshake" | "base-ot" => ["set-up"; 2],
        "ot-extension" => ["OT extension"; 2],
        "sum_pool" => ["pooling"; 2],
        "request" | "result" => ["result"; 2],
        other => [other; 2],
    }
}

#[cfg(test)]
mod tests {
    use eqo_checkpoints::arch::Arch;
    use eqo_checkpoints::plan::BitPlan;
    use eqo_checkpoints::random;

    use super::*;
    use crate::commands::bench::program::{Protocol, program};

    fn sum(figures: &Figures) -> [u64; 2] {
        figures
            .operators
            .iter()
            .fold([0; 2], |[offline, online], row| [offline + row.bytes_offline, online + row.bytes_online])
    }

    #[test]
    fn operators_add_up_to_the_whole() {
        let arch = Arch::by_name("cifar-resnet8", 10).unwrap();
        for protocol in [Protocol::Sirnn, Protocol::Cryptflow2, Protocol::Copriv, Protocol::Coinn] {
            let program = program(protocol, &arch).unwrap();
            let figures = Figures::of_program(&program);
            assert_eq!(sum(&figures), [figures.bytes_offline, figures.bytes_online]);
            assert_eq!(figures.bytes_total(), cost::baseline(&program).total().bytes());
        }
        let checkpoint = random::checkpoint(&arch, &BitPlan::uniform(&arch, 2, 6), 1, &|_, _| ()).unwrap();
        let figures = Figures::of_graph(checkpoint.graph(), OtKind::Ferret);
        assert_eq!(sum(&figures), [figures.bytes_offline, figures.bytes_online]);
        let costs = session(checkpoint.graph(), OtKind::Ferret, 1, 1);
        let totals = (figures.bytes_total(), figures.rounds_online);
        assert_eq!(totals, (costs.total().bytes(), costs.online().rounds));
    }
}
