//! Where a server process finds a checkpoint that nobody trained.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::exit::{Failure, Kind};

/// A file, temporary unless somebody wants to keep it.
pub(super) struct Place {
    pub(super) path: PathBuf,
    /// Removed with this value.
    _folder: Option<TempDir>,
}

impl Place {
    /// The file to keep, or one in a temporary folder.
    pub(super) fn new(keep: Option<&Path>) -> Result<Self, Failure> {
        if let Some(path) = keep {
            return Ok(Self { path: path.to_owned(), _folder: None });
        }
        let folder = tempfile::Builder::new().prefix("eqo-bench-").tempdir().map_err(|error| {
            let next = "make room in the folder for temporary files or set TMPDIR";
            Failure::new(Kind::Data, format!("temporary folder: create failed: {error}; {next}"))
        })?;
        Ok(Self { path: folder.path().join("model.safetensors"), _folder: Some(folder) })
    }
}
