//! What a run of the pipeline found, as a table's rows or JSON.

use std::collections::BTreeMap;
use std::path::PathBuf;

use eqo_checkpoints::plan::{BitPlan, LayerPlan};
use eqo_train::evaluate::Score;
use serde::Serialize;

use crate::verify::Verified;

/// Images labelled correctly.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Accuracy {
    /// Correctly labelled images.
    pub correct: usize,
    /// All images.
    pub images: usize,
    /// Correct over all, 0 to 1.
    pub accuracy: f64,
}

impl From<Score> for Accuracy {
    fn from(score: Score) -> Self {
        Self { correct: score.correct, images: score.total, accuracy: score.accuracy() }
    }
}

/// The result of `eqo quantize`.
#[derive(Clone, Debug, Serialize)]
pub struct QuantizeReport {
    /// The recipe's name.
    pub name: String,
    /// The architecture's name.
    pub arch: String,
    /// Bits of weights and activations that the recipe asks for where the plan says nothing else.
    pub bits: [u8; 2],
    /// Bits and algorithm of every layer.
    pub plan: BitPlan,
    /// The imported float weights on the test images; absent when training started from random weights.
    pub float_imported: Option<Accuracy>,
    /// The float network after its fine-tune: what the quantized one is compared with.
    pub float: Accuracy,
    /// The integer engine on the test images.
    pub integer: Accuracy,
    /// What was compared, bit for bit, before exporting.
    pub verified: Verified,
    /// Wall seconds of each stage that ran; a cached stage is absent.
    pub seconds: BTreeMap<String, f64>,
    /// The checkpoint.
    pub checkpoint: PathBuf,
    /// blake3 of the checkpoint's graph: what a client can pin.
    pub graph_hash: String,
}

impl QuantizeReport {
    /// The plan in a line: `weights 8 (2), 4 (7); activations 6; f2x2 (5), direct (4)`, in brackets the layers.
    pub fn plan_in_words(&self) -> String {
        let count = |of: &dyn Fn(&LayerPlan) -> String| {
            let mut counts = BTreeMap::<String, usize>::new();
            self.plan.layers.values().for_each(|layer| *counts.entry(of(layer)).or_default() += 1);
            let only_one = counts.len() == 1;
            let part = |(value, layers): (String, usize)| match only_one {
                true => value,
                false => format!("{value} ({layers})"),
            };
            counts.into_iter().rev().map(part).collect::<Vec<_>>().join(", ")
        };
        let weights = count(&|layer| ((layer.mean_bits() * 100.0).round() / 100.0).to_string());
        let activations = count(&|layer| layer.act_bits.to_string());
        let algorithms = count(&|layer| layer.algorithm.name().to_owned());
        format!("weights {weights}; activations {activations}; {algorithms}")
    }
}
