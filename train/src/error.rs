//! What can go wrong in training and importing, and what to do about it.

use std::path::{Path, PathBuf};

/// Every failure of this crate: where, expected, found, next step.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused a file operation.
    #[error("{}: could not {action}: {source}; check that the path exists, is permitted and has space", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried ("read", "write", "rename").
        action: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// No such device in this build.
    #[error("device {found:?}: expected one of {available}; {next}")]
    Device {
        /// Name asked for.
        found: String,
        /// Devices of this build.
        available: String,
        /// What to do.
        next: &'static str,
    },
    /// A weight file that can't be read at all.
    #[error("{}: expected {expected}, found: {found}; convert or download it again", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The format its name promises.
        expected: &'static str,
        /// The reader's reason.
        found: String,
    },
    /// An ONNX model that isn't a plain convolutional network.
    #[error("{}: {node}: expected {expected}, found {found}; {next}", path.display())]
    Onnx {
        /// The file.
        path: PathBuf,
        /// The node, and its operation.
        node: String,
        /// What could have been imported.
        expected: String,
        /// What is there.
        found: String,
        /// What to do.
        next: &'static str,
    },
    /// The tensors of a file aren't those of the architecture; their differences are listed, of very many the first and the last.
    #[error(
        "{origin}: tensors do not fit {arch}:{list}\nchoose the architecture these weights were trained with (--arch), or rename the tensors"
    )]
    StateDict {
        /// The file, or a description of where the tensors came from.
        origin: String,
        /// The architecture's name.
        arch: String,
        /// One line a difference: missing, unexpected, wrong shape.
        list: String,
    },
    /// A bit plan that the quantizer can't follow.
    #[error("plan, layer {layer}: {what}: expected {expected}, found {found}; {next}")]
    Plan {
        /// The node's name.
        layer: String,
        /// What was looked at.
        what: &'static str,
        /// The rule.
        expected: String,
        /// What the plan says.
        found: String,
        /// What to do.
        next: &'static str,
    },
    /// A fake-quantized value that isn't an integer multiple of its scale.
    #[error(
        "layer {layer}: value {value} at scale 2^{exponent} is not an integer below 2^24; float32 lost digits, use fewer weight or activation bits"
    )]
    NotInteger {
        /// The node's name.
        layer: String,
        /// The offending real value.
        value: f32,
        /// Its scale's exponent.
        exponent: i32,
    },
    /// The data doesn't fit the network.
    #[error("{what}: expected {expected}, found {found}; {next}")]
    Data {
        /// What was looked at.
        what: &'static str,
        /// The rule.
        expected: String,
        /// What is there.
        found: String,
        /// What to do.
        next: &'static str,
    },
    /// A training setting out of range.
    #[error("{key}: expected {expected}, found {found}; correct the recipe")]
    Config {
        /// The setting.
        key: &'static str,
        /// The rule.
        expected: &'static str,
        /// The value.
        found: String,
    },
    /// A number of the training stopped being finite.
    #[error(
        "step {step}, layer {layer}: expected finite numbers, found a {what} that isn't (loss {loss}); lower learning_rate, set clip_norm, or lengthen warmup_steps{}", kept(saved.as_deref())
    )]
    Diverged {
        /// Optimizer steps done before.
        step: usize,
        /// The step's loss; NaN if it was found while saving.
        loss: f32,
        /// What isn't finite: `output`, a parameter's name, `gradient of` one.
        what: String,
        /// Name of the node where it is, the first in the order of computation.
        layer: String,
        /// The weights of the last step that was finite.
        saved: Option<PathBuf>,
    },
    /// The network can't be kept to what was asked of it ([`crate::fit::Hooks::project`]); where the run was is saved.
    #[error("after step {step}: {source}")]
    Projection {
        /// Optimizer steps done.
        step: usize,
        /// Why.
        source: crate::fit::Refusal,
    },
    /// The caller asked the run to stop; everything is saved.
    #[error("stopped after step {step}, saved as {}; run the same command with --resume to go on", path.display())]
    Interrupted {
        /// Optimizer steps done.
        step: usize,
        /// The checkpoint.
        path: PathBuf,
    },
    /// A training checkpoint that is damaged or of another run.
    #[error("{}: {what}: expected {expected}, found {found}; resume with the recipe that started the run, or remove the file to start again", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What was looked at.
        what: &'static str,
        /// What this run needs.
        expected: String,
        /// What the file holds.
        found: String,
    },
    /// The architecture itself is wrong, or its exponents can't become shifts.
    #[error(transparent)]
    Arch(#[from] eqo_checkpoints::Error),
    /// The dataset or its normalization is wrong.
    #[error(transparent)]
    Dataset(#[from] eqo_datasets::Error),
}

impl Error {
    /// Wraps an operating system error with the path and the action.
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, action, source }
    }
}

/// What is left of a run that diverged.
fn kept(saved: Option<&Path>) -> String {
    let file = saved.map(|path| format!("; the weights before are in {}", path.display()));
    file.unwrap_or_default() + " (the last checkpoint is kept)"
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
