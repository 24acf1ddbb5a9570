//! `eqo eval`: accuracy of float weights, of the integer engine, or of both parties together.

use std::path::Path;
use std::time::Instant;

use eqo_checkpoints::format::Checkpoint;
use eqo_datasets::Dataset;
#[cfg(feature = "train")]
use eqo_datasets::Normalization;

use crate::args::EvalArgs;
use crate::evaluation::{Evaluation, count_correct, integer_logits};
use crate::exit::{Failure, Kind};
use crate::images::{self, Choice};
use crate::{private, progress};

pub(crate) fn run(args: &EvalArgs) -> Result<(), Failure> {
    if let Some(arch) = &args.arch {
        return run_float(args, arch);
    }
    let checkpoint = read(&args.checkpoint)?;
    let graph = checkpoint.graph();
    let [_, height, width] = graph.shape(0);
    let (dataset, skipped) = images::open(&Choice {
        classes: Some(graph.graph().classes.len()),
        ..choice(args, [height, width])
    })?;
    warn_about_classes(&graph.graph().classes, &dataset);
    let engine = checkpoint.engine();
    let mut evaluation = if args.private {
        let setting = private::Setting {
            checkpoint: &args.checkpoint,
            parameters: args.parameters,
            timeout: args.timeout,
            network: args.network,
        };
        private::evaluate(&engine, &dataset, &setting)?
    } else {
        let start = Instant::now();
        let correct = count_correct(&integer_logits(&engine, dataset.pixels())?, &dataset);
        Evaluation::plain(&graph.graph().name, "integer", dataset.len(), Some(correct), start)
    };
    evaluation.skipped = args.skip_corrupt.then_some(skipped);
    evaluation.print(args.json)?;
    private::verdict(&evaluation)
}

/// Reads a checkpoint, and says what to do about a file with float weights.
fn read(path: &Path) -> Result<Checkpoint, Failure> {
    Checkpoint::read(path).map_err(|error| {
        let next = "float weights need --arch, such as --arch cifar-resnet20";
        Failure::new(Kind::Data, format!("{error} ({next})"))
    })
}

fn choice(args: &EvalArgs, size: [usize; 2]) -> Choice<'_> {
    Choice {
        data: &args.data,
        images: args.images,
        skip_corrupt: args.skip_corrupt,
        seed: args.seed,
        classes: None,
        size,
    }
}

/// The number of classes is checked when reading; their names may be spelt differently on purpose.
fn warn_about_classes(expected: &[String], dataset: &Dataset) {
    if expected != dataset.classes() {
        let pair = expected.iter().zip(dataset.classes()).find(|(ours, theirs)| ours != theirs);
        let Some((ours, theirs)) = pair else { return };
        progress::line(&format!("note: the network's class {ours:?} is called {theirs:?} in the data"));
    }
}

#[cfg(not(feature = "train"))]
fn run_float(_: &EvalArgs, _: &str) -> Result<(), Failure> {
    Err(Failure::needs_train("eqo eval --arch"))
}

#[cfg(feature = "train")]
fn run_float(args: &EvalArgs, arch: &str) -> Result<(), Failure> {
    use eqo_train::import;
    use eqo_train::recipe::ModelSection;

    use crate::float::Network;

    let start = Instant::now();
    let model = ModelSection { arch: arch.to_owned(), weights: Some(args.checkpoint.clone()) };
    let known = model.architecture(None)?;
    let [_, height, width] = known.shapes()[0];
    let tensors = import::read_network(&args.checkpoint, &known)?;
    let (dataset, skipped) = images::open(&choice(args, [height, width]))?;
    let normalization = Normalization { mean: args.mean, std: args.std };
    let network = Network { model: &model, normalization, device: "flex" };
    let score = network.score(&tensors, &args.checkpoint.display().to_string(), &dataset)?;
    let mut evaluation = Evaluation::plain(arch, "float", score.total, Some(score.correct), start);
    evaluation.skipped = args.skip_corrupt.then_some(skipped);
    evaluation.print(args.json)
}
