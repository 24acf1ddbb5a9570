//! `eqo recipe`: a recipe with every key in force.

use crate::args::RecipeArgs;
use crate::exit::Failure;
use crate::{output, run_folder};

pub(crate) fn run(args: &RecipeArgs) -> Result<(), Failure> {
    output::text(run_folder::recipe(args)?.to_toml().trim_end())
}
