//! Arguments of the commands that train.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::parties::PrivateArgs;
use super::values::at_least_one;

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Folder for model.safetensors, report.html and images/.
    #[arg(long, default_value = "runs/demo")]
    pub(crate) out: PathBuf,
    /// Images of the private evaluation.
    #[arg(long, default_value_t = 10, value_parser = at_least_one)]
    pub(crate) images: usize,
    #[command(flatten)]
    pub(crate) parameters: PrivateArgs,
    /// Override a key of the built-in recipe (configs/demo.toml).
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Progress as a bar, or as lines where stderr is no terminal, instead of the dashboard.
    #[arg(long)]
    pub(crate) plain: bool,
    /// End with one JSON object, that of the private evaluation, instead of tables.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RecipeArgs {
    /// Recipe (TOML).
    pub(crate) recipe: PathBuf,
    /// Override a key of the recipe.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

/// What the commands share that follow a recipe into a folder.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) recipe: RecipeArgs,
    /// Folder for the outputs; runs/NAME (of the recipe) if absent.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    /// Continue the training that stopped in that folder, exactly.
    #[arg(long)]
    pub(crate) resume: bool,
    /// Progress as a bar, or as lines where stderr is no terminal, instead of the dashboard.
    #[arg(long)]
    pub(crate) plain: bool,
    /// One JSON object on stdout; no dashboard.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// What to train.
    #[arg(long, value_enum, default_value_t = Stage::Float)]
    pub(crate) stage: Stage,
    /// Sweep the stage's learning rate instead of training: lr_find.csv, lr_find.svg and a suggestion. The QAT sweep
    /// trains the float network first if it isn't there.
    #[arg(long, conflicts_with = "resume")]
    pub(crate) lr_find: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stage {
    /// Float (fine-)tuning only.
    Float,
    /// Float, then Winograd-domain quantization-aware training.
    Qat,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Use the folder of a finished run of another recipe.
    #[arg(long, conflicts_with = "resume")]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct QuantizeArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Plan of `eqo plan` (or by hand), as --set bits.plan=PLAN.
    #[arg(long)]
    pub(crate) plan: Option<PathBuf>,
    /// Replace a finished run.
    #[arg(long, conflicts_with = "resume")]
    pub(crate) force: bool,
}
