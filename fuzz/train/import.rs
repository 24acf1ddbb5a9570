//! Stands for `train/src/import.rs`, which needs Burn; the ONNX reader is the real one.

use std::path::Path;

use eqo_checkpoints::arch::Arch;

use crate::{Error, Result};

mod onnx;

pub(crate) const LARGEST_FILE: u64 = 4 << 30;

pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|_| Error::Io)
}

pub(crate) fn architecture(name: &str, weights: Option<&Path>, classes: Option<usize>) -> Result<Arch> {
    match weights {
        Some(path) => onnx::read(path).map(|(arch, tensors)| {
            assert!(!tensors.is_empty());
            arch
        }),
        None => Arch::by_name(name, classes.unwrap_or(1)).map_err(|_| Error::Io),
    }
}
