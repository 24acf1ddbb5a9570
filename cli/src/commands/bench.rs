//! `eqo bench`: what private inference costs on this machine.

use crate::args::BenchCommand;
use crate::exit::Failure;

mod model;
mod primitives;

pub(crate) fn run(command: &BenchCommand) -> Result<(), Failure> {
    match command {
        BenchCommand::Model(args) => model::run(args),
        BenchCommand::Primitives(args) => primitives::run(args),
    }
}
