//! A row of the table: a protocol, a network of layers, a network of wires.

use eqo_checkpoints::cost;
use serde::{Deserialize, Serialize};

use super::contender::Contender;
use crate::args::NamedNetwork;
use crate::commands::bench::figures::{Figures, OperatorBytes};
use crate::evaluation::PrivateFigures;

/// One combination; its JSON is a contract with other tools. Bytes are of one image, both directions, set-up included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) model: String,
    pub(super) profile: String,
    pub(super) network: String,
    pub(super) bytes_offline: u64,
    pub(super) bytes_online: u64,
    pub(super) bytes_total: u64,
    pub(super) rounds_online: u64,
    /// Medians; none for a row that wasn't run.
    pub(super) seconds_online: Option<f64>,
    pub(super) seconds_total: Option<f64>,
    /// Both parties ran, every logit was compared with the clear and every operation's bytes with the cost model; else the cost
    /// model speaks.
    pub(super) executed: bool,
    /// How many times fewer bytes than `sirnn` for the same model.
    pub(super) ratio_to_sirnn: f64,
    /// Of a trained checkpoint on its test images, by the integer engine.
    pub(super) accuracy: Option<f64>,
    /// `random`, or the checkpoint.
    pub(super) weights: String,
    /// Runs whose logits differ from the clear; none for a row that wasn't run.
    pub(super) mismatches: Option<usize>,
    /// Most memory that the server's process held in any run, bytes.
    pub(super) peak_memory_server: Option<u64>,
    /// Of the client's process, the plain evaluation included.
    pub(super) peak_memory_client: Option<u64>,
    pub(super) operators: Vec<OperatorBytes>,
    /// Layers that were run in place of the whole, one of each shape.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) layers: Vec<LayerRun>,
}

/// A layer that was run on its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct LayerRun {
    pub(super) layer: String,
    /// Layers of this shape.
    pub(super) count: usize,
    /// Measured, and equal to what was predicted.
    pub(super) bytes: u64,
    pub(super) seconds: f64,
}

impl Row {
    /// A row from its runs, or from the cost model if there are none.
    pub(super) fn new(
        contender: &Contender,
        network: NamedNetwork,
        runs: &[PrivateFigures],
        layers: &[LayerRun],
    ) -> Self {
        let figures = runs.first().map_or_else(|| contender.predicted.clone(), Figures::measured);
        let seconds = |of: fn(&PrivateFigures) -> f64| median(runs.iter().map(of).collect());
        let most = |of: fn(&PrivateFigures) -> Option<u64>| runs.iter().filter_map(of).max();
        let total = figures.bytes_total();
        Self {
            model: contender.model.clone(),
            profile: contender.profile.name().to_owned(),
            network: network.name().to_owned(),
            bytes_offline: figures.bytes_offline,
            bytes_online: figures.bytes_online,
            bytes_total: total,
            rounds_online: figures.rounds_online,
            seconds_online: seconds(|run| run.seconds_online),
            seconds_total: seconds(|run| run.seconds_offline + run.seconds_online),
            executed: !runs.is_empty(),
            ratio_to_sirnn: cost::baseline(&contender.sirnn).total().bytes() as f64 / total as f64,
            accuracy: contender.accuracy,
            weights: contender.weights.clone(),
            mismatches: (!runs.is_empty()).then(|| runs.iter().map(|run| run.mismatches).sum()),
            peak_memory_server: most(|run| run.peak_memory_server),
            peak_memory_client: most(|run| run.peak_memory_client),
            operators: figures.operators,
            layers: layers.to_vec(),
        }
    }
}

/// The middle value, the mean of two.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (upper, count) = (*values.get(values.len() / 2)?, values.len());
    Some(if count % 2 == 0 { f64::midpoint(values[count / 2 - 1], upper) } else { upper })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_in_the_middle() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
    }
}
