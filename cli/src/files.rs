//! Names of what a run leaves in its folder.

/// The checkpoint.
pub(crate) const CHECKPOINT: &str = "model.safetensors";

/// What `eqo quantize` found.
pub(crate) const REPORT: &str = "report.json";
