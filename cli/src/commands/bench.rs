//! `eqo bench`: what private inference costs on this machine.

use crate::args::BenchCommand;
use crate::exit::Failure;

mod environment;
mod execute;
mod figures;
mod files;
mod model;
mod party;
mod place;
mod primitives;
mod program;
mod study;
mod table;

pub(crate) fn run(command: &BenchCommand) -> Result<(), Failure> {
    match command {
        BenchCommand::Model(args) => model::run(args),
        BenchCommand::Primitives(args) => primitives::run(args),
        BenchCommand::Table(args) => table::run(args),
        BenchCommand::Study(args) => study::run(args),
        BenchCommand::Party(args) => party::run(args),
    }
}
