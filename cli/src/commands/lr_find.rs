//! `eqo train --lr-find`: which learning rate to try.

use std::path::PathBuf;

use eqo_train::fit::{Curve, Suggestion};
use eqo_train::recipe::Recipe;
use serde::Serialize;

use crate::args::{Stage, TrainArgs};
use crate::exit::Failure;
use crate::interrupt;
use crate::output;
use crate::report::{curve, write_whole};
use crate::run_folder::{Run, with_pipeline};

/// What a sweep found.
#[derive(Serialize)]
struct Found {
    stage: &'static str,
    /// Steps until the loss diverged, or all of them.
    steps: usize,
    /// Learning rate where the smoothed loss falls fastest; none if it never falls.
    steepest_descent: Option<f64>,
    /// A tenth of the learning rate with the lowest smoothed loss.
    tenth_of_minimum: Option<f64>,
    /// The smaller of the two.
    suggested: Option<f64>,
    csv: PathBuf,
    svg: PathBuf,
}

pub(crate) fn run(args: &TrainArgs, recipe: &Recipe) -> Result<(), Failure> {
    let run = Run::of(recipe, &args.run);
    let stage = args.stage;
    let curve = with_pipeline(recipe, &run, |pipeline, hooks| match stage {
        Stage::Float => Ok(pipeline.lr_find_float(hooks)?),
        Stage::Qat => Ok(pipeline.lr_find_qat(hooks)?),
    })?;
    let [csv, svg] = ["lr_find.csv", "lr_find.svg"].map(|name| run.out.join(name));
    write_whole(&svg, curve::loss_by_rate(&curve)?.as_bytes())?;
    interrupt::check("the sweep so far is in lr_find.csv; run it again for all of it")?;
    let found = Found::new(stage, &curve, [csv, svg]);
    if args.run.json { output::json(&found) } else { output::text(&found.text()) }
}

impl Found {
    fn new(stage: Stage, curve: &Curve, [csv, svg]: [PathBuf; 2]) -> Self {
        let suggestion = curve.suggestion();
        Self {
            stage: if stage == Stage::Float { "float" } else { "qat" },
            steps: curve.points.len(),
            steepest_descent: suggestion.map(|Suggestion { steepest, .. }| steepest),
            tenth_of_minimum: suggestion.map(|suggestion| suggestion.tenth_of_minimum),
            suggested: suggestion.map(|suggestion| suggestion.cautious()),
            csv,
            svg,
        }
    }

    fn text(&self) -> String {
        let (csv, svg) = (self.csv.display(), self.svg.display());
        let files = format!("{csv}\n{svg}");
        let (Some(steepest), Some(tenth), Some(suggested)) =
            (self.steepest_descent, self.tenth_of_minimum, self.suggested)
        else {
            return format!("The loss falls nowhere over {} steps: no suggestion.\n\n{files}", self.steps);
        };
        let facts = [
            ("steepest descent", format!("{steepest:.1e}")),
            ("minimum / 10", format!("{tenth:.1e}")),
            ("suggested", format!("--set {}.learning_rate={suggested:.1e} (the smaller)", self.stage)),
            ("steps", self.steps.to_string()),
        ];
        format!("{}\n\n{files}", output::facts(&facts))
    }
}
