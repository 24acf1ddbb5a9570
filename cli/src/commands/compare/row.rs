//! What is found out about each run: accuracy, predicted and measured bytes.

use eqo_datasets::Dataset;
use serde::Serialize;

use super::candidate::{Candidate, Counted};
use super::images::{SEED, TestImages};
use super::network::Network;
use super::traffic::{Bytes, Traffic};
use crate::args::CompareArgs;
use crate::commands::inspect::session;
use crate::evaluation::{accuracy, count_correct, integer_logits};
use crate::exit::Failure;
use crate::{images, private, progress};

/// One run; its JSON is a contract with other tools.
#[derive(Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) series: String,
    /// The checkpoint.
    path: String,
    #[serde(flatten)]
    pub(super) network: Network,
    /// Test images, by the plain integer engine.
    #[serde(flatten)]
    pub(super) counted: Counted,
    pub(super) accuracy: f64,
    accuracy_from: Source,
    #[serde(flatten)]
    pub(super) traffic: Traffic,
    /// No other run is better.
    pub(super) pareto: bool,
    /// What went wrong in the private run.
    #[serde(skip)]
    pub(super) failure: Option<Failure>,
}

/// Where an accuracy comes from.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Source {
    /// The run's report.
    Report,
    /// The integer engine, just now.
    Engine,
}

/// Evaluates `candidate` where its report doesn't do, and runs both parties where asked for.
pub(super) fn measure(
    candidate: &Candidate,
    images: &mut TestImages<'_>,
    args: &CompareArgs,
) -> Result<Row, Failure> {
    let graph = candidate.checkpoint.graph();
    let dataset = images.fitting(graph)?;
    let (counted, accuracy_from) = count(candidate, dataset)?;
    let sample = args.private.zip(dataset).map(|(count, dataset)| images::sample(dataset, count, SEED));
    let batch = args.parameters.batch;
    let session_images = sample.as_ref().map_or(batch, Dataset::len);
    let predicted = Bytes::from(&session(graph, args.parameters.ot(), session_images, batch));
    let mut row = Row {
        name: candidate.name.clone(),
        series: candidate.series.clone(),
        path: candidate.path.display().to_string(),
        network: Network::of(graph),
        accuracy: accuracy(counted.correct, counted.images),
        counted,
        accuracy_from,
        traffic: Traffic::predicted(session_images, predicted),
        pareto: false,
        failure: None,
    };
    if let Some(sample) = sample {
        row.run_both_parties(candidate, &sample, args)?;
    }
    Ok(row)
}

/// Accuracy on all test images: the report's, unless there are other images to evaluate than those it counted.
fn count(candidate: &Candidate, dataset: Option<&Dataset>) -> Result<(Counted, Source), Failure> {
    let Some(dataset) = dataset else { return Ok((candidate.known_accuracy()?, Source::Report)) };
    let images = dataset.len();
    let reason = match &candidate.reported {
        Ok(counted) if counted.images == images => return Ok((*counted, Source::Report)),
        Ok(counted) => format!("its report is of {} images", counted.images),
        Err(reason) => reason.clone(),
    };
    progress::line(&format!("{}: evaluating {images} images, because {reason}", candidate.name));
    let logits = integer_logits(&candidate.checkpoint.engine(), dataset.pixels())?;
    Ok((Counted { correct: count_correct(&logits, dataset), images }, Source::Engine))
}

impl Row {
    fn run_both_parties(
        &mut self,
        candidate: &Candidate,
        sample: &Dataset,
        args: &CompareArgs,
    ) -> Result<(), Failure> {
        let setting = private::Setting {
            checkpoint: &candidate.path,
            parameters: args.parameters,
            timeout: private::TIMEOUT,
            network: None,
        };
        let evaluation = private::evaluate(&candidate.checkpoint.engine(), sample, &setting)?;
        if let Some(figures) = &evaluation.private {
            self.traffic.take(figures);
        }
        self.failure = private::verdict(&evaluation).and_then(|()| self.traffic.verdict()).err();
        Ok(())
    }
}
