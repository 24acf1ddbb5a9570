//! What people type. The doc comment of each option is its reference.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

mod bench;
mod compare;
mod credentials;
mod parties;
#[cfg(feature = "train")]
mod recipes;
mod serve;
mod table;
mod values;

pub(crate) use bench::{BenchCommand, BenchModelArgs, BenchPrimitivesArgs, Tile};
pub(crate) use compare::CompareArgs;
pub(crate) use credentials::{AllowArgs, CertArgs, CredentialArgs};
pub(crate) use parties::{EvalArgs, InferArgs, InspectArgs, Ot, PrivateArgs, Profile};
#[cfg(feature = "train")]
pub(crate) use recipes::{DemoArgs, PlanArgs, QuantizeArgs, RecipeArgs, RunArgs, Stage, TrainArgs};
pub(crate) use serve::ServeArgs;
pub(crate) use table::{Given, MeasurementArgs, NamedNetwork, PartyArgs, StudyArgs, TableArgs, TableProfile};

/// Train, quantize and privately evaluate CNNs between two parties.
///
/// Results go to stdout (a table, or one JSON object with --json), progress and logs (RUST_LOG) to stderr.
/// Exit codes: 0 done, 1 a check failed, 2 usage or recipe, 3 data or checkpoint, 4 peer or network, 130 stopped.
#[derive(Debug, Parser)]
#[command(name = "eqo", version, propagate_version = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The whole pipeline in a few minutes, on the built-in images: train, quantize, verify, run both parties.
    #[cfg(feature = "train")]
    Demo(DemoArgs),
    /// Float (fine-)tuning or quantization-aware training of a recipe.
    #[cfg(feature = "train")]
    Train(TrainArgs),
    /// Choose bits by the Hessian within a budget of communication: OUT/plan.toml, sensitivity.csv, plan.html.
    #[cfg(feature = "train")]
    Plan(PlanArgs),
    /// Everything from a recipe to a verified integer checkpoint: OUT/model.safetensors.
    #[cfg(feature = "train")]
    Quantize(QuantizeArgs),
    /// Print a recipe with every key in force.
    #[cfg(feature = "train")]
    Recipe(RecipeArgs),
    #[cfg(not(feature = "train"))]
    #[command(hide = true)]
    Demo(Absent),
    #[cfg(not(feature = "train"))]
    #[command(hide = true)]
    Train(Absent),
    #[cfg(not(feature = "train"))]
    #[command(hide = true)]
    Plan(Absent),
    #[cfg(not(feature = "train"))]
    #[command(hide = true)]
    Quantize(Absent),
    #[cfg(not(feature = "train"))]
    #[command(hide = true)]
    Recipe(Absent),
    /// Layer table of a checkpoint: bits, exponents, rings, predicted bytes and rounds.
    Inspect(InspectArgs),
    /// Accuracy on labelled images: float, plain integers, or both parties as two processes (--private).
    Eval(EvalArgs),
    /// Accuracy against bytes of several runs: one table, one plot, measured where asked for (--private).
    Compare(CompareArgs),
    /// The party with the weights: answers clients until stopped.
    Serve(ServeArgs),
    /// The party with the images: asks a server for their classes.
    Infer(InferArgs),
    /// An authority and certificates, by which server and clients know each other.
    Cert(CertArgs),
    /// What private inference costs on this machine.
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Datasets with checksums.
    #[command(subcommand)]
    Data(DataCommand),
}

/// Accepts whatever follows a command that this build lacks.
#[cfg(not(feature = "train"))]
#[derive(Debug, Args)]
pub(crate) struct Absent {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DataCommand {
    /// Download, check and unpack a dataset; continues an interrupted download.
    Fetch(DataArgs),
    /// Check every file of a dataset against its checksum.
    Verify(DataArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DataArgs {
    /// cifar10 or cifar100.
    pub(crate) name: String,
    /// Folder that holds the datasets.
    #[arg(long, default_value = "datasets/data")]
    pub(crate) dir: PathBuf,
    /// Manifest (TOML) of a dataset that isn't built in; NAME must be the one it states.
    #[arg(long)]
    pub(crate) manifest: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
