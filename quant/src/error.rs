//! What can go wrong between a trained network and its integer graph.

use std::path::PathBuf;

/// Every failure of this crate: where, expected, found, next step.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Training, importing or the fake-quantized network failed.
    #[error(transparent)]
    Train(#[from] eqo_train::Error),
    /// The recipe can't be used.
    #[error(transparent)]
    Recipe(#[from] eqo_train::recipe::RecipeError),
    /// The images can't be used.
    #[error(transparent)]
    Data(#[from] eqo_datasets::Error),
    /// Training and test images disagree on what the classes are.
    #[error(
        "test images: expected the training classes {train:?}, found {test:?}. Check data.train and data.test."
    )]
    Classes {
        /// Class names of the training set.
        train: Vec<String>,
        /// Class names of the test set.
        test: Vec<String>,
    },
    /// The integer graph breaks a rule.
    #[error(transparent)]
    Checkpoint(#[from] eqo_checkpoints::Error),
    /// A tensor that folding needs is absent.
    #[error(
        "tensor {tensor}: expected in the float weights, found none. Check the architecture with --arch."
    )]
    MissingTensor {
        /// The state-dict key.
        tensor: String,
    },
    /// A value can't be expressed as an integer of the graph.
    #[error("node {node}: {what}: expected {expected}, found {found}. {next}")]
    Lowering {
        /// The node's name.
        node: String,
        /// What was looked at.
        what: &'static str,
        /// The rule.
        expected: String,
        /// The value.
        found: String,
        /// What to do about it.
        next: &'static str,
    },
    /// The fake-quantized network and the integer engine disagree: a bug, never exported.
    #[error(
        "image {image}, node {node}, element {element}: the integer engine says {integer}, fake quantization says {fake}. \
         Nothing was exported; please report this with the recipe."
    )]
    Mismatch {
        /// Index of the image in the batch.
        image: usize,
        /// The first node that differs.
        node: String,
        /// Index into the node's `[channels, height, width]` tensor.
        element: usize,
        /// The engine's value.
        integer: i64,
        /// The trainer's value.
        fake: i64,
    },
    /// A trace that isn't one of these images through this graph.
    #[error(
        "{node}: expected {expected} {what} in the trainer's trace, found {found}. Trace the images that are verified."
    )]
    Trace {
        /// The node's name, or the graph.
        node: String,
        /// What was counted.
        what: &'static str,
        /// As many as the graph and the images need.
        expected: usize,
        /// As many as there are.
        found: usize,
    },
    /// A file of the run can't be read or written.
    #[error(
        "{path}: {action} failed: {source}. Check that the path exists, is writable and the disk has room."
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Ctrl-C.
    #[error("stopped {what}; the same command goes on, with the estimates that are finished")]
    Stopped {
        /// What was being done.
        what: &'static str,
    },
    /// A second derivative that isn't a number.
    #[error(
        "layer {layer}: expected a finite second derivative, found {found}; check the float network's weights and accuracy"
    )]
    Curvature {
        /// The layer's name.
        layer: String,
        /// The sample.
        found: f64,
    },
    /// An integer programme that was neither solved nor found to have no solution.
    #[error("plan: the solver gave up ({reason}); offer fewer bits in [plan]")]
    Solver {
        /// What it said.
        reason: String,
    },
    /// No plan fits.
    #[error("plan: expected {expected}, found {found}; {next}")]
    Allocation {
        /// The bound.
        expected: String,
        /// What comes nearest, or the solver's reason.
        found: String,
        /// What to do.
        next: &'static str,
    },
}
