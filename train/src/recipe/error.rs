//! What can be wrong with a recipe.

use std::path::PathBuf;

/// A recipe that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// The file can't be read.
    #[error("{path}: can't read the recipe: {source}. Recipes live in configs/.")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The text isn't TOML, or a value has the wrong type.
    #[error("{origin}: {message}")]
    Parse {
        /// The file, or the `--set` that caused it.
        origin: String,
        /// What the parser says, with line and column.
        message: String,
    },
    /// A key nobody reads: most likely a spelling mistake.
    #[error(
        "{origin}: unknown key `{key}`: expected one of the recipe's keys, nearest is `{nearest}`. `configs/README.md` lists them all."
    )]
    UnknownKey {
        /// The file or `--set`.
        origin: String,
        /// What was written, dotted.
        key: String,
        /// The most similar valid key.
        nearest: String,
    },
    /// A layer that the architecture doesn't have.
    #[error(
        "{origin}: unknown layer `{layer}`: expected a convolution or linear layer of {arch}, nearest is `{nearest}`. \
         `eqo inspect` lists the layers of a checkpoint."
    )]
    UnknownLayer {
        /// The plan file or the recipe's section.
        origin: String,
        /// What was written.
        layer: String,
        /// The architecture's name.
        arch: String,
        /// The most similar layer.
        nearest: String,
    },
    /// A value outside its range.
    #[error(
        "recipe key `{key}`: expected {expected}, found {found}. Change it in the recipe or with --set {key}=…"
    )]
    Value {
        /// The dotted key.
        key: String,
        /// The rule.
        expected: &'static str,
        /// What is there.
        found: String,
    },
}
