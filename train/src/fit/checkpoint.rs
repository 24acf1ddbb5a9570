//! `checkpoint.safetensors`: everything a run needs to go on as if it had never stopped.
//!
//! Float32 tensors by state-dict key, the average's under `ema/`, the best network's under `best/`, the optimizer's state
//! as one byte tensor (Burn's own pack), and in the metadata the step, the best's score, the run's fingerprint and a
//! BLAKE3 checksum of all of it.

use std::collections::HashMap;
use std::fmt::Display;
use std::fs;
use std::path::Path;
use std::str::FromStr;

use ndarray::ArrayD;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use super::selection::{Best, Selection};
use crate::evaluate::Score;
use crate::import::{LARGEST_FILE, array_of, le_bytes, unwritable, write_then_rename};
use crate::tensors::NamedTensors;
use crate::{Error, Result};

/// Name of the byte tensor; no state-dict key has a slash.
const OPTIMIZER: &str = "optimizer/burnpack";
/// Before the keys of the average.
const EMA: &str = "ema/";
/// Before the keys of the best network.
const BEST: &str = "best/";

/// A run at the start of `step`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Checkpoint {
    /// Optimizer steps done.
    pub(super) step: usize,
    /// Training time so far.
    pub(super) seconds: f64,
    /// The network.
    pub(super) tensors: NamedTensors,
    /// Its moving average.
    pub(super) ema: Option<NamedTensors>,
    /// What validation has found.
    pub(super) selection: Selection,
    /// Momentum of every parameter.
    pub(super) optimizer: Vec<u8>,
}

impl Checkpoint {
    /// Writes the file of the run `fingerprint`.
    pub(super) fn save(&self, path: &Path, fingerprint: &str) -> Result<()> {
        let optimizer = (OPTIMIZER.to_owned(), Dtype::U8, vec![self.optimizer.len()], self.optimizer.clone());
        let parts: Vec<_> = self.arrays().into_iter().chain([optimizer]).collect();
        let views: Vec<(&str, TensorView<'_>)> = parts
            .iter()
            .map(|(name, dtype, shape, data)| {
                Ok((name.as_str(), TensorView::new(*dtype, shape.clone(), data)?))
            })
            .collect::<Result<_, safetensors::SafeTensorError>>()
            .map_err(|error| unwritable(path, &error))?;
        let mut metadata = self.metadata();
        metadata.insert("run", fingerprint.to_owned());
        metadata.insert("blake3", checksum(&metadata, &views));
        let metadata = metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let file = safetensors::serialize(views, Some(metadata)).map_err(|error| unwritable(path, &error))?;
        write_then_rename(path, &file)
    }

    /// Name, type, shape and bytes of every float tensor.
    fn arrays(&self) -> Vec<(String, Dtype, Vec<usize>, Vec<u8>)> {
        let best = self.selection.best.as_ref().map(|(_, tensors)| tensors);
        let sets = [("", Some(&self.tensors)), (EMA, self.ema.as_ref()), (BEST, best)];
        let named = sets.into_iter().filter_map(|(prefix, set)| Some((prefix, set?)));
        let part = |prefix: &str, (name, array): (&String, &ArrayD<f32>)| {
            (format!("{prefix}{name}"), Dtype::F32, array.shape().to_vec(), le_bytes(array))
        };
        named.flat_map(|(prefix, set)| set.iter().map(move |entry| part(prefix, entry))).collect()
    }

    fn metadata(&self) -> HashMap<&'static str, String> {
        let mut metadata = HashMap::from([
            ("format", "eqo-fit".to_owned()),
            ("version", "2".to_owned()),
            ("step", self.step.to_string()),
            ("seconds", self.seconds.to_string()),
            ("stale", self.selection.stale.to_string()),
        ]);
        if let Some(best) = self.selection.best() {
            metadata.insert("best_step", best.step.to_string());
            metadata.insert("best_correct", best.score.correct.to_string());
            metadata.insert("best_total", best.score.total.to_string());
        }
        metadata
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
        let mut checkpoint = Self::of_metadata(&metadata)?;
        let mut sets: [NamedTensors; 3] = Default::default();
        for (name, view) in views {
            if name == OPTIMIZER {
                checkpoint.optimizer = view.data().to_vec();
                continue;
            }
            let prefixes = [EMA, BEST].into_iter().enumerate();
            let found =
                prefixes.filter_map(|(set, prefix)| Some((set + 1, name.strip_prefix(prefix)?))).next();
            let (set, key) = found.unwrap_or((0, name));
            let array = array_of(&view).map_err(|found| format!("{name}: {found}"))?;
            sets[set].insert(key.to_owned(), array);
        }
        let [tensors, ema, best] = sets;
        checkpoint.tensors = tensors;
        checkpoint.ema = (!ema.is_empty()).then_some(ema);
        if let Some((_, kept)) = &mut checkpoint.selection.best {
            *kept = best;
        }
        let run = metadata.get("run").cloned().ok_or_else(|| "no `run` in the metadata".to_owned())?;
        Ok((run, checkpoint))
    }

    /// The checkpoint without its tensors.
    fn of_metadata(metadata: &HashMap<&str, String>) -> Result<Self, String> {
        fn number<T: FromStr<Err: Display>>(
            metadata: &HashMap<&str, String>,
            key: &str,
        ) -> Result<T, String> {
            let text = metadata.get(key).ok_or_else(|| format!("no `{key}` in the metadata"))?;
            text.parse().map_err(|error| format!("{key}: {error}"))
        }
        if metadata.get("version").is_none_or(|version| version != "2") {
            return Err(format!("version {:?} of the format instead of 2", metadata.get("version")));
        }
        let best = if metadata.contains_key("best_step") {
            let (correct, total) = (number(metadata, "best_correct")?, number(metadata, "best_total")?);
            let best = Best { step: number(metadata, "best_step")?, score: Score { correct, total } };
            Some((best, NamedTensors::new()))
        } else {
            None
        };
        Ok(Self {
            step: number(metadata, "step")?,
            seconds: number(metadata, "seconds")?,
            tensors: NamedTensors::new(),
            ema: None,
            selection: Selection { best, stale: number(metadata, "stale")? },
            optimizer: Vec::new(),
        })
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

    fn example() -> Checkpoint {
        let tensors = |value: f32| {
            let array = ArrayD::from_shape_vec(vec![2, 1], vec![value, -3.5e-20]).unwrap();
            NamedTensors::from([("conv.weight".to_owned(), array)])
        };
        let best = Best { step: 12, score: Score { correct: 3, total: 4 } };
        Checkpoint {
            step: 17,
            seconds: 0.1 + 0.2,
            tensors: tensors(0.1),
            ema: Some(tensors(0.2)),
            selection: Selection { best: Some((best, tensors(0.3))), stale: 2 },
            optimizer: vec![1, 2, 3],
        }
    }

    #[test]
    fn a_checkpoint_survives_the_file_bit_for_bit() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint.safetensors");
        assert_eq!(Checkpoint::load(&path, "run").unwrap(), None);
        let plain = Checkpoint { ema: None, selection: Selection::default(), ..example() };
        for checkpoint in [example(), plain] {
            checkpoint.save(&path, "run").unwrap();
            assert_eq!(Checkpoint::load(&path, "run").unwrap(), Some(checkpoint));
        }
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
