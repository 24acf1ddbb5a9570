//! What the parts of `train/` that are fuzzed need of its rest; without this, they would need Burn.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ndarray::ArrayD;

pub(crate) type NamedTensors = BTreeMap<String, ArrayD<f32>>;

pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a file isn't read; nobody looks at the fields here.
#[allow(dead_code)]
#[derive(Debug)]
pub(crate) enum Error {
    Io,
    Format { path: PathBuf, expected: &'static str, found: String },
    Onnx { path: PathBuf, node: String, expected: String, found: String, next: &'static str },
}
