//! `eqo inspect`: what a checkpoint's public graph says and costs, layer by layer.

use eqo_checkpoints::cost::{Answer, Costs, Flow, Forecast, OtKind, Profile, Scope};
use eqo_checkpoints::format::Checkpoint;
use eqo_checkpoints::graph::{CheckedGraph, Conv, Op, Output};
use eqo_protocol::report::{describe, scopes};
use serde::Serialize;

use crate::args::InspectArgs;
use crate::exit::Failure;
use crate::output::{self, megabytes};
use crate::party::hex;
#[cfg(feature = "train")]
use crate::report::LayerBytes;

/// What the command prints; its JSON is a contract with other tools.
#[derive(Serialize)]
pub(crate) struct Inspection {
    model: String,
    /// The hash that `eqo infer --expect-graph` takes.
    graph: String,
    classes: Vec<String>,
    batch: usize,
    predicted_bytes: u64,
    /// The part that waits for an image.
    predicted_bytes_online: u64,
    predicted_rounds: u64,
    /// The part that waits for an image.
    predicted_rounds_online: u64,
    layers: Vec<Layer>,
}

/// One node of the graph, or one part of a session that no node pays for; their bytes add up to the total.
#[derive(Serialize)]
struct Layer {
    node: String,
    op: &'static str,
    #[serde(flatten)]
    conv: ConvColumns,
    predicted_bytes: u64,
    /// The part that waits for an image.
    predicted_bytes_online: u64,
    predicted_rounds: u64,
}

/// What only convolutions (and linear layers) have.
#[derive(Default, Serialize)]
struct ConvColumns {
    algorithm: Option<&'static str>,
    /// The mean over taps, a fraction where they differ.
    weight_bits: Option<serde_json::Number>,
    exponents: Option<Exponents>,
    weight_offset: Option<u8>,
    /// Bits of the activation; none for accumulators.
    act_bits: Option<u8>,
    /// The widest of its output channels.
    ring_bits: Option<u8>,
}

/// Exponents of the weight bits.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Exponents {
    /// One list for the layer.
    Layer(Vec<u8>),
    /// One list a tap.
    Taps(Vec<Vec<u8>>),
}

pub(crate) fn run(args: &InspectArgs) -> Result<(), Failure> {
    let checkpoint = Checkpoint::read(&args.checkpoint)?;
    let inspection = Inspection::new(checkpoint.graph(), args.parameters.ot(), args.parameters.batch);
    if args.json { output::json(&inspection) } else { output::text(&inspection.table()) }
}

/// What a session sends that answers `images` images in batches of `batch`, each prepared and then asked.
pub(crate) fn session(graph: &CheckedGraph, ot: OtKind, images: usize, batch: usize) -> Costs {
    let mut forecast = Forecast::new(graph, &Profile { ot });
    let mut left = images;
    while left > 0 {
        let now = left.min(batch.max(1));
        forecast.prepare(now);
        forecast.infer(now, Answer::Logits);
        left -= now;
    }
    forecast.close();
    forecast.costs()
}

impl Inspection {
    /// The layers of `graph`, and what a session of one batch sends.
    pub(crate) fn new(graph: &CheckedGraph, ot: OtKind, batch: usize) -> Self {
        let costs = session(graph, ot, batch, batch);
        let total = costs.total();
        Self {
            model: graph.graph().name.clone(),
            graph: hex(&graph.graph_hash()),
            classes: graph.graph().classes.clone(),
            batch,
            predicted_bytes: total.bytes(),
            predicted_bytes_online: costs.online().bytes(),
            predicted_rounds: total.rounds,
            predicted_rounds_online: costs.online().rounds,
            layers: scopes(graph).map(|scope| layer(graph, &costs, scope)).collect(),
        }
    }

    /// The predicted traffic, for a report.
    #[cfg(feature = "train")]
    pub(crate) fn traffic(&self) -> Vec<LayerBytes> {
        let row = |layer: &Layer| {
            let (node, op) = (layer.node.clone(), layer.op.to_owned());
            LayerBytes { node, op, bytes: layer.predicted_bytes, rounds: layer.predicted_rounds }
        };
        self.layers.iter().map(row).collect()
    }

    fn table(&self) -> String {
        let header = [
            "node",
            "operation",
            "algorithm",
            "exponents",
            "w bits",
            "a bits",
            "ring",
            "MB",
            "online",
            "rounds",
        ];
        let table = output::table(&header, 4, self.layers.iter().map(Layer::row));
        let (bytes, rounds, batch) = (megabytes(self.predicted_bytes), self.predicted_rounds, self.batch);
        let (online, waits) = (megabytes(self.predicted_bytes_online), self.predicted_rounds_online);
        let (model, classes, graph) = (&self.model, self.classes.len(), &self.graph);
        format!(
            "{table}\n\n{model}, {classes} classes, graph {graph}\na private run of {batch}: {bytes} MB in {rounds} rounds, of which {online} MB in {waits} rounds wait for the image"
        )
    }
}

fn layer(graph: &CheckedGraph, costs: &Costs, scope: Scope) -> Layer {
    let (node, op, _) = describe(graph, scope);
    let (offline, online) = match scope {
        Scope::Node(id) => (costs.of(Scope::Offline(id)), costs.of(scope)),
        scope if scope.is_online() => (Flow::default(), costs.of(scope)),
        scope => (costs.of(scope), Flow::default()),
    };
    let flow = offline + online;
    let conv = match scope {
        Scope::Node(id) => match &graph.nodes()[id].op {
            Op::Conv(conv) => ConvColumns::new(conv),
            Op::MaxPool(_) => ConvColumns { act_bits: graph.activation_bits(id), ..ConvColumns::default() },
            Op::Input(_) | Op::SumPool { .. } => ConvColumns::default(),
        },
        _ => ConvColumns::default(),
    };
    Layer {
        node,
        op,
        conv,
        predicted_bytes: flow.bytes(),
        predicted_bytes_online: online.bytes(),
        predicted_rounds: flow.rounds,
    }
}

impl ConvColumns {
    fn new(conv: &Conv) -> Self {
        let exponents = match conv.weight_exponents.as_slice() {
            [list] => Exponents::Layer(list.clone()),
            lists => Exponents::Taps(lists.to_vec()),
        };
        Self {
            algorithm: Some(conv.algorithm.name()),
            weight_bits: whole_or_fraction(conv.mean_bits()),
            exponents: Some(exponents),
            weight_offset: Some(conv.weight_offset),
            act_bits: match &conv.output {
                Output::Activation { bits, .. } => Some(*bits),
                Output::Accumulator => None,
            },
            ring_bits: Some(conv.widest_ring()),
        }
    }
}

/// `4`, not `4.0`.
fn whole_or_fraction(mean: f64) -> Option<serde_json::Number> {
    if mean.fract() == 0.0 { Some((mean as u64).into()) } else { serde_json::Number::from_f64(mean) }
}

impl Layer {
    fn row(&self) -> Vec<String> {
        let number = |value: Option<usize>| value.map_or_else(String::new, |value| value.to_string());
        let conv = &self.conv;
        vec![
            self.node.clone(),
            self.op.to_owned(),
            conv.algorithm.unwrap_or_default().to_owned(),
            conv.exponents_text(),
            conv.weight_bits
                .as_ref()
                .and_then(serde_json::Number::as_f64)
                .map_or_else(String::new, output::bits),
            number(conv.act_bits.map(usize::from)),
            number(conv.ring_bits.map(usize::from)),
            megabytes(self.predicted_bytes),
            megabytes(self.predicted_bytes_online),
            self.predicted_rounds.to_string(),
        ]
    }
}

impl ConvColumns {
    /// `0-3` for consecutive exponents, the list otherwise, `by tap` for many; `+1` for mid-rise.
    fn exponents_text(&self) -> String {
        let text = match &self.exponents {
            Some(Exponents::Layer(list)) => match list.as_slice() {
                [first, .., last] if list.is_sorted_by(|a, b| a + 1 == *b) => format!("{first}-{last}"),
                _ => list.iter().map(u8::to_string).collect::<Vec<_>>().join(" "),
            },
            Some(Exponents::Taps(_)) => "by tap".to_owned(),
            None => return String::new(),
        };
        match self.weight_offset {
            Some(offset) if offset > 0 => format!("{text} +{offset}"),
            _ => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponents_are_short_where_they_are_consecutive() {
        let text = |exponents, offset| {
            let exponents = Some(exponents);
            ConvColumns { exponents, weight_offset: Some(offset), ..ConvColumns::default() }.exponents_text()
        };
        assert_eq!(text(Exponents::Layer(vec![0, 1, 2, 3]), 0), "0-3");
        assert_eq!(text(Exponents::Layer(vec![1, 2]), 1), "1-2 +1");
        assert_eq!(text(Exponents::Layer(vec![0, 2, 3]), 0), "0 2 3");
        assert_eq!(text(Exponents::Taps(vec![vec![0, 1]; 16]), 0), "by tap");
        assert_eq!(text(Exponents::Taps(vec![vec![1], vec![1, 2]]), 1), "by tap +1");
        assert_eq!(ConvColumns::default().exponents_text(), "");
    }
}
