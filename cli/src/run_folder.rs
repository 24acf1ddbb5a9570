//! What the commands that follow a recipe share: where the run goes, its progress, its interruption.

use std::path::{Path, PathBuf};

use eqo_quant::pipeline::{Hooks, Pipeline, Progress};
use eqo_train::recipe::Recipe;

use crate::args::{RecipeArgs, RunArgs};
use crate::dashboard::{self, Dashboard};
use crate::exit::{Failure, Kind};
use crate::files::CHECKPOINT;
use crate::interrupt;
use crate::progress::Steps;

/// Where a recipe runs, and what may be there already.
pub(crate) struct Run {
    /// The folder.
    pub(crate) out: PathBuf,
    /// Continue an interrupted training.
    pub(crate) resume: bool,
    /// Replace a finished run of another recipe.
    pub(crate) force: bool,
    /// Bars and lines instead of the dashboard.
    pub(crate) plain: bool,
}

impl Run {
    /// A run in `out`, or in `runs/<recipe name>`.
    pub(crate) fn new(recipe: &Recipe, out: Option<&Path>) -> Self {
        let out = out.map_or_else(|| Path::new("runs").join(&recipe.name), Path::to_owned);
        Self { out, resume: false, force: false, plain: false }
    }

    /// As the command line says.
    pub(crate) fn of(recipe: &Recipe, args: &RunArgs) -> Self {
        let (resume, plain) = (args.resume, args.plain || args.json);
        Self { resume, plain, ..Self::new(recipe, args.out.as_deref()) }
    }
}

/// Reads a recipe and its overrides.
pub(crate) fn recipe(args: &RecipeArgs) -> Result<Recipe, Failure> {
    Ok(Recipe::read(&args.recipe, &args.set)?)
}

/// Opens the run's folder and hands its pipeline to `work`, which Ctrl-C stops at the next step.
pub(crate) fn with_pipeline<T>(
    recipe: &Recipe,
    run: &Run,
    work: impl FnOnce(&mut Pipeline, &Hooks<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let stop = interrupt::watch()?;
    if !run.force {
        refuse_other_run(recipe, &run.out)?;
    }
    let title = format!("{} in {}", recipe.name, run.out.display());
    let wanted = !run.plain && dashboard::is_possible();
    // A terminal that can't be taken still shows bars.
    let dashboard = if wanted { Dashboard::open(&title).ok() } else { None };
    let steps = Steps::default();
    let progress = |step: Progress<'_>| match &dashboard {
        Some(dashboard) => dashboard.board().report(&step),
        None => steps.set(step.stage, step.done, step.total, &step.note),
    };
    let hooks = Hooks { stop, progress: &progress };
    let mut pipeline = Pipeline::new(recipe.clone(), &run.out, run.resume, &hooks)?;
    work(&mut pipeline, &hooks)
}

/// A finished run of another recipe is kept.
fn refuse_other_run(recipe: &Recipe, out: &Path) -> Result<(), Failure> {
    let kept = std::fs::read_to_string(out.join("recipe.toml")).unwrap_or_default();
    if !out.join(CHECKPOINT).exists() || kept == recipe.to_toml() {
        return Ok(());
    }
    let (folder, next) = (out.display(), "choose another --out, or `eqo quantize --force` to replace it");
    Err(Failure::new(
        Kind::Usage,
        format!("{folder}: expected no finished run of another recipe, found one; {next}"),
    ))
}
