//! The `eqo` command: the one thing people type.

use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::args::{Cli, Command};
use crate::exit::Failure;

mod args;
mod commands;
#[cfg(feature = "train")]
mod dashboard;
mod evaluation;
mod exit;
mod files;
#[cfg(feature = "train")]
mod float;
mod images;
mod interrupt;
mod memory;
mod output;
mod party;
mod private;
mod progress;
mod report;
#[cfg(feature = "train")]
mod run_folder;
mod security;
mod server_process;

/// Burn allocates every intermediate tensor afresh; the system allocator maps and unmaps each of them, which costs a
/// training step about a tenth of its time.
#[cfg(feature = "train")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    // A span has a line when it ends, with its time.
    let log = tracing_subscriber::fmt().with_span_events(FmtSpan::CLOSE);
    log.with_env_filter(filter).with_writer(|| progress::Log).init();
    match run(&Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            progress::line(&format!("eqo: {failure}"));
            failure.exit_code()
        }
    }
}

fn run(command: &Command) -> Result<(), Failure> {
    match command {
        #[cfg(feature = "train")]
        Command::Demo(args) => commands::demo::run(args),
        #[cfg(feature = "train")]
        Command::Train(args) => commands::train::run(args),
        #[cfg(feature = "train")]
        Command::Plan(args) => commands::plan::run(args),
        #[cfg(feature = "train")]
        Command::Quantize(args) => commands::quantize::run(args),
        #[cfg(feature = "train")]
        Command::Recipe(args) => commands::recipe::run(args),
        #[cfg(not(feature = "train"))]
        Command::Demo(_) => Err(Failure::needs_train("eqo demo")),
        #[cfg(not(feature = "train"))]
        Command::Train(_) => Err(Failure::needs_train("eqo train")),
        #[cfg(not(feature = "train"))]
        Command::Plan(_) => Err(Failure::needs_train("eqo plan")),
        #[cfg(not(feature = "train"))]
        Command::Quantize(_) => Err(Failure::needs_train("eqo quantize")),
        #[cfg(not(feature = "train"))]
        Command::Recipe(_) => Err(Failure::needs_train("eqo recipe")),
        Command::Inspect(args) => commands::inspect::run(args),
        Command::Eval(args) => commands::eval::run(args),
        Command::Compare(args) => commands::compare::run(args),
        Command::Serve(args) => commands::serve::run(args),
        Command::Infer(args) => commands::infer::run(args),
        Command::Cert(args) => commands::cert::run(args),
        Command::Bench(command) => commands::bench::run(command),
        Command::Data(command) => commands::data::run(command),
    }
}
