//! `eqo train`: the float or the quantization-aware stage of a recipe.

use std::path::PathBuf;

use eqo_train::device::device_by_name;
use eqo_train::evaluate::{Score, evaluate};
use eqo_train::fit::record_test_accuracy;
use serde::Serialize;

use crate::args::{Stage, TrainArgs};
use crate::commands::lr_find;
use crate::exit::Failure;
use crate::float::Network;
use crate::output::{self, percent};
use crate::progress::Progress;
use crate::run_folder::{self, Run, with_pipeline};

/// What a training ended with.
#[derive(Serialize)]
struct Trained {
    stage: &'static str,
    weights: PathBuf,
    images: usize,
    correct: usize,
    accuracy: f64,
}

pub(crate) fn run(args: &TrainArgs) -> Result<(), Failure> {
    let recipe = run_folder::recipe(&args.run.recipe)?;
    if args.lr_find {
        return lr_find::run(args, &recipe);
    }
    let run = Run::of(&recipe, &args.run);
    let trained = with_pipeline(&recipe, &run, |pipeline, hooks| {
        let (stage, score) = match args.stage {
            Stage::Float => {
                let tensors = pipeline.train_float(hooks)?;
                (
                    "float",
                    Network::of(&recipe).score(&tensors, "the trained weights", &pipeline.images().test)?,
                )
            }
            Stage::Qat => {
                let net = pipeline.train_qat(hooks)?;
                let device = device_by_name(&recipe.device)?;
                let bar = Progress::new("evaluate");
                let mut progress = |done, total| bar.set(done, total);
                ("qat", evaluate(&net, &pipeline.images().test, &device, &mut progress)?)
            }
        };
        let curves = run.out.join(stage);
        let steps = if stage == "qat" { recipe.qat.fit.steps } else { recipe.float.steps };
        if steps > 0 && curves.is_dir() {
            record_test_accuracy(&curves, stage, steps, score.accuracy())?;
        }
        Ok(Trained::new(stage, run.out.join(format!("{stage}.safetensors")), score))
    })?;
    if args.run.json { output::json(&trained) } else { output::text(&trained.table()) }
}

impl Trained {
    fn new(stage: &'static str, weights: PathBuf, score: Score) -> Self {
        Self { stage, weights, images: score.total, correct: score.correct, accuracy: score.accuracy() }
    }

    fn table(&self) -> String {
        let header = ["stage", "weights", "images", "correct", "accuracy"];
        let weights = self.weights.display().to_string();
        let (images, correct) = (self.images.to_string(), self.correct.to_string());
        output::table(
            &header,
            2,
            [vec![self.stage.to_owned(), weights, images, correct, percent(self.accuracy)]],
        )
    }
}
