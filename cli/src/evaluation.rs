//! What `eqo eval` reports, and the accuracy of the plain integer engine.

use std::time::Instant;

use eqo_checkpoints::engine::{Engine, class_of};
use eqo_datasets::Dataset;
use serde::Serialize;

use crate::exit::Failure;
use crate::output::{self, megabytes, percent};
use crate::progress::Progress;

/// One evaluation; its JSON is a contract with other tools.
#[derive(Debug, Serialize)]
pub(crate) struct Evaluation {
    /// Name of the network.
    pub(crate) model: String,
    /// `float`, `integer` or `private`.
    pub(crate) mode: &'static str,
    /// Images evaluated.
    pub(crate) images: usize,
    /// Images classified correctly; none where images have no labels or the network was never trained.
    pub(crate) correct: Option<usize>,
    /// `correct / images`, likewise.
    pub(crate) accuracy: Option<f64>,
    /// Wall time.
    pub(crate) seconds: f64,
    /// Undecodable images left out, where that was allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) skipped: Option<usize>,
    /// What only a private run has.
    #[serde(flatten)]
    pub(crate) private: Option<PrivateFigures>,
}

/// Cost and correctness of a private evaluation: totals over all images, both directions.
#[derive(Debug, Serialize)]
pub(crate) struct PrivateFigures {
    /// Images whose private logits differ from the integer engine's in any bit.
    pub(crate) mismatches: usize,
    /// Protocol.
    pub(crate) profile: &'static str,
    /// What made the random OTs.
    pub(crate) ot: &'static str,
    /// Images answered at once.
    pub(crate) batch: usize,
    /// The network that both parties imitated; absent on the machine's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) network: Option<String>,
    /// Bytes before the image is known.
    pub(crate) bytes_offline: u64,
    /// Bytes after.
    pub(crate) bytes_online: u64,
    /// Both.
    pub(crate) bytes_total: u64,
    /// Rounds before the image is known.
    pub(crate) rounds_offline: u64,
    /// Rounds after.
    pub(crate) rounds_online: u64,
    /// Wall time before the image is known.
    pub(crate) seconds_offline: f64,
    /// Wall time after.
    pub(crate) seconds_online: f64,
    /// Most bytes that the client's process held during the run, where the system tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peak_memory_client: Option<u64>,
    /// The same of the server's process since its start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peak_memory_server: Option<u64>,
    /// One row a node.
    pub(crate) layers: Vec<LayerFigures>,
}

/// One row of a private evaluation.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LayerFigures {
    /// The node's name.
    pub(crate) node: String,
    /// What it computes.
    pub(crate) op: String,
    /// Bytes before the image is known.
    pub(crate) bytes_offline: u64,
    /// Bytes after.
    pub(crate) bytes_online: u64,
    /// Rounds after the image is known.
    pub(crate) rounds_online: u64,
    /// Bytes the cost model expects, offline and online.
    pub(crate) predicted_bytes: u64,
}

impl Evaluation {
    /// An evaluation of `images` images that began at `start` and has no private part.
    pub(crate) fn plain(
        model: &str,
        mode: &'static str,
        images: usize,
        correct: Option<usize>,
        start: Instant,
    ) -> Self {
        Self {
            model: model.to_owned(),
            mode,
            images,
            correct,
            accuracy: correct.map(|correct| accuracy(correct, images)),
            seconds: start.elapsed().as_secs_f64(),
            skipped: None,
            private: None,
        }
    }

    /// The result on stdout.
    pub(crate) fn print(&self, json: bool) -> Result<(), Failure> {
        if json { output::json(self) } else { output::text(&self.table()) }
    }

    /// The same for people.
    pub(crate) fn table(&self) -> String {
        let header = ["model", "mode", "images", "correct", "accuracy", "seconds"];
        let (images, seconds) = (self.images.to_string(), format!("{:.1}", self.seconds));
        let correct = self.correct.map_or_else(none, |correct| correct.to_string());
        let accuracy = self.accuracy.map_or_else(none, percent);
        let row = vec![self.model.clone(), self.mode.to_owned(), images, correct, accuracy, seconds];
        let mut text = output::table(&header, 2, [row]);
        if let Some(private) = &self.private {
            text = format!(
                "{}\n\n{text}\n\n{}",
                private.layer_table(),
                output::facts(&private.facts(self.images))
            );
        }
        if let Some(skipped) = self.skipped {
            text += &format!("\nskipped {skipped} undecodable images");
        }
        text
    }
}

impl PrivateFigures {
    /// The first row that didn't cost what was predicted.
    pub(crate) fn unequal(&self) -> Option<&LayerFigures> {
        self.layers.iter().find(|layer| layer.bytes_offline + layer.bytes_online != layer.predicted_bytes)
    }

    /// Traffic by layer.
    pub(crate) fn layer_table(&self) -> String {
        let header = ["node", "operation", "MB offline", "MB online", "MB predicted", "rounds"];
        let rows = self.layers.iter().map(|layer| {
            let bytes = [layer.bytes_offline, layer.bytes_online, layer.predicted_bytes].map(megabytes);
            let words = [layer.node.clone(), layer.op.clone()];
            words.into_iter().chain(bytes).chain([layer.rounds_online.to_string()]).collect()
        });
        output::table(&header, 2, rows)
    }

    /// Totals and the comparison.
    pub(crate) fn facts(&self, images: usize) -> Vec<(&'static str, String)> {
        let each = images.max(1) as f64;
        let [offline, online, total] =
            [self.bytes_offline, self.bytes_online, self.bytes_total].map(megabytes);
        let seconds = self.seconds_offline + self.seconds_online;
        vec![
            (
                "mismatches",
                format!(
                    "{} of {images} images (every logit compared with the integer engine)",
                    self.mismatches
                ),
            ),
            ("traffic", format!("{offline} MB offline, {online} MB online, {total} MB in total")),
            ("an image", format!("{:.3} MB, {:.2} s", self.bytes_total as f64 / each / 1e6, seconds / each)),
            ("time", format!("{:.2} s offline, {:.2} s online", self.seconds_offline, self.seconds_online)),
            ("rounds", format!("{} offline, {} online", self.rounds_offline, self.rounds_online)),
            ("protocol", format!("profile {}, {}, batch {}", self.profile, self.ot, self.batch)),
            ("network", self.network.clone().unwrap_or_else(|| "this machine's own".to_owned())),
        ]
    }
}

/// What a table shows where nothing was measured.
fn none() -> String {
    "-".to_owned()
}

/// Logits of every image by the plain integer engine, `[images][classes]`, on all cores.
pub(crate) fn integer_logits(engine: &Engine, pixels: &[u8]) -> Result<Vec<Vec<i64>>, Failure> {
    let bar = Progress::new("integer engine");
    Ok(engine.run_all(pixels, &|done, total| bar.set(done, total))?)
}

/// How many images have their label's logit on top.
pub(crate) fn count_correct(logits: &[Vec<i64>], dataset: &Dataset) -> usize {
    logits
        .iter()
        .zip(dataset.labels())
        .filter(|(logits, label)| class_of(logits) == usize::from(**label))
        .count()
}

/// `correct / images`, 0 for no images.
pub(crate) fn accuracy(correct: usize, images: usize) -> f64 {
    correct as f64 / images.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_evaluation_has_the_six_keys_of_the_contract_and_no_other() {
        let json =
            serde_json::to_value(Evaluation::plain("net", "integer", 4, Some(3), Instant::now())).unwrap();
        let keys: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["accuracy", "correct", "images", "mode", "model", "seconds"]);
        assert_eq!(json["accuracy"], 0.75);
    }

    #[test]
    fn what_was_not_measured_is_null_and_never_zero() {
        let evaluation = Evaluation::plain("net", "private", 4, None, Instant::now());
        let json = serde_json::to_value(&evaluation).unwrap();
        assert!(json["correct"].is_null() && json["accuracy"].is_null());
        assert!(evaluation.table().contains('-') && !evaluation.table().contains('%'));
    }
}
