//! `checkpoint.safetensors`: everything a run needs to go on as if it had never stopped.
//!
//! Float32 tensors by state-dict key, the optimizer's state as one byte tensor (Burn's own pack), and in the metadata
//! the step, the run's fingerprint and a BLAKE3 checksum of all of it.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::import::{LARGEST_FILE, array_of, le_bytes, unwritable, write_then_rename};
use crate::tensors::NamedTensors;
use crate::{Error, Result};

/// Name of the byte tensor; no state-dict key has a slash.
const OPTIMIZER: &str = "optimizer/burnpack";

/// A run at the start of `step`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Checkpoint {
    /// Optimizer steps done.
    pub(super) step: usize,
    /// Training time so far.
    pub(super) seconds: f64,
    /// The network.
    pub(super) tensors: NamedTensors,
    /// Momentum of every parameter.
    pub(super) optimizer: Vec<u8>,
}

impl Checkpoint {
    /// Writes the file of the run `fingerprint`.
    pub(super) fn save(&self, path: &Path, fingerprint: &str) -> Result<()> {
        let arrays = self
            .tensors
            .iter()
            .map(|(name, array)| (name.as_str(), Dtype::F32, array.shape(), le_bytes(array)));
        let optimizer_shape = [self.optimizer.len()];
        let optimizer = (OPTIMIZER, Dtype::U8, optimizer_shape.as_slice(), self.optimizer.clone());
        let parts: Vec<_> = arrays.chain([optimizer]).collect();
        let views: Vec<(&str, TensorView<'_>)> = parts
            .iter()
            .map(|(name, dtype, shape, data)| Ok((*name, TensorView::new(*dtype, shape.to_vec(), data)?)))
            .collect::<Result<_, safetensors::SafeTensorError>>()
            .map_err(|error| unwritable(path, &error))?;
        let mut metadata = HashMap::from([
            ("format", "eqo-fit".to_owned()),
            ("version", "1".to_owned()),
            ("run", fingerprint.to_owned()),
            ("step", self.step.to_string()),
            ("seconds", self.seconds.to_string()),
        ]);
        metadata.insert("blake3", checksum(&metadata, &views));
        let metadata = metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let file = safetensors::serialize(views, Some(metadata)).map_err(|error| unwritable(path, &error))?;
        write_then_rename(path, &file)
    }

    /// Reads the file, or `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if it is damaged or of another run.
    pub(super) fn load(path: &Path, fingerprint: &str) -> Result<Option<Self>> {
        let size = match fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            found => found.map_err(Error::io(path, "read"))?.len(),
        };
        if size > LARGEST_FILE {
            return Err(damaged(path, &format!("{size} bytes, more than {LARGEST_FILE}")));
        }
        let bytes = fs::read(path).map_err(Error::io(path, "read"))?;
        let checkpoint = Self::parse(&bytes).map_err(|found| damaged(path, &found))?;
        let (run, checkpoint) = checkpoint;
        if run != fingerprint {
            let (expected, found) = (fingerprint.to_owned(), run);
            return Err(Error::Checkpoint {
                path: path.to_owned(),
                what: "settings and images",
                expected,
                found,
            });
        }
        Ok(Some(checkpoint))
    }

    /// The run's fingerprint and the checkpoint, or what is wrong.
    fn parse(bytes: &[u8]) -> Result<(String, Self), String> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
        let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let mut metadata: HashMap<&str, String> =
            metadata.iter().map(|(key, value)| (key.as_str(), value.clone())).collect();
        let stored = metadata.remove("blake3");
        let views = file.tensors();
        let views: Vec<(&str, TensorView<'_>)> =
            views.iter().map(|(name, view)| (name.as_str(), view.clone())).collect();
        if stored.as_ref() != Some(&checksum(&metadata, &views)) {
            return Err("a wrong checksum".to_owned());
        }
        let field =
            |key: &str| metadata.get(key).cloned().ok_or_else(|| format!("no `{key}` in the metadata"));
        let mut tensors = NamedTensors::new();
        let mut optimizer = None;
        for (name, view) in views {
            match name {
                OPTIMIZER => optimizer = Some(view.data().to_vec()),
                _ => {
                    drop(tensors.insert(
                        name.to_owned(),
                        array_of(&view).map_err(|found| format!("{name}: {found}"))?,
                    ))
                }
            }
        }
        let checkpoint = Self {
            step: field("step")?.parse().map_err(|error| format!("step: {error}"))?,
            seconds: field("seconds")?.parse().map_err(|error| format!("seconds: {error}"))?,
            tensors,
            optimizer: optimizer.ok_or_else(|| format!("no tensor {OPTIMIZER}"))?,
        };
        Ok((field("run")?, checkpoint))
    }
}

/// An error for a file that doesn't hold what it should.
pub(super) fn damaged(path: &Path, found: &str) -> Error {
    let expected = "a complete training checkpoint".to_owned();
    Error::Checkpoint { path: path.to_owned(), what: "contents", expected, found: found.to_owned() }
}

/// BLAKE3 of all metadata and tensors, in the order of their names.
fn checksum(metadata: &HashMap<&str, String>, views: &[(&str, TensorView<'_>)]) -> String {
    let mut hash = blake3::Hasher::new();
    let mut metadata: Vec<_> = metadata.iter().collect();
    metadata.sort_unstable();
    hash.update(format!("{metadata:?}").as_bytes());
    let mut views: Vec<_> = views.iter().collect();
    views.sort_unstable_by_key(|(name, _)| *name);
    for (name, view) in views {
        hash.update(format!("{name:?} {:?} {:?}", view.dtype(), view.shape()).as_bytes());
        hash.update(view.data());
    }
    hash.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::ArrayD;

    fn example() -> Checkpoint {
        let array = ArrayD::from_shape_vec(vec![2, 1], vec![0.1, -3.5e-20]).unwrap();
        let tensors = NamedTensors::from([("conv.weight".to_owned(), array)]);
        Checkpoint { step: 17, seconds: 0.1 + 0.2, tensors, optimizer: vec![1, 2, 3] }
    }

    #[test]
    fn a_checkpoint_survives_the_file_bit_for_bit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint.safetensors");
        assert_eq!(Checkpoint::load(&path, "run").unwrap(), None);
        example().save(&path, "run").unwrap();
        assert_eq!(Checkpoint::load(&path, "run").unwrap(), Some(example()));
    }

    #[test]
    fn any_changed_byte_and_any_cut_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint.safetensors");
        example().save(&path, "run").unwrap();
        let bytes = fs::read(&path).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            // A flip inside the checksum's own key or the padding may parse; it must then still fail the checksum.
            assert!(Checkpoint::parse(&changed).is_err(), "byte {at}");
            assert!(Checkpoint::parse(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_checkpoint_of_another_run_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint.safetensors");
        example().save(&path, "run a").unwrap();
        let message = Checkpoint::load(&path, "run b").unwrap_err().to_string();
        assert!(
            message.contains("run a") && message.contains("run b") && message.contains("remove"),
            "{message}"
        );
    }
}
