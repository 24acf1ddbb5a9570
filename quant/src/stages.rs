//! Which stages of a run are fresh: a stage is skipped when its output exists and its inputs haven't changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use eqo_train::tensors::NamedTensors;
use serde::Serialize;

use crate::Error;

const FILE: &str = "stages.json";

/// Hashes of the inputs that each finished stage of a run had, kept in `<out>/stages.json`.
pub struct Stages {
    path: PathBuf,
    finished: BTreeMap<String, String>,
}

impl Stages {
    /// Opens the record of a run; a run without one (or with an unreadable one) has no fresh stage.
    pub fn open(out: &Path) -> Self {
        let path = out.join(FILE);
        let finished = std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { path, finished: finished.unwrap_or_default() }
    }

    /// Whether `stage` finished with exactly these inputs and left `output`.
    pub fn is_fresh(&self, stage: &str, inputs: &str, output: &Path) -> bool {
        output.is_file() && self.finished.get(stage).is_some_and(|hash| hash == inputs)
    }

    /// Forgets a stage that is about to run.
    ///
    /// # Errors
    /// [`Error::Io`] if the record can't be written.
    pub fn start(&mut self, stage: &str) -> Result<(), Error> {
        self.finished.remove(stage);
        self.write()
    }

    /// Records that `stage` finished.
    ///
    /// # Errors
    /// [`Error::Io`] if the record can't be written.
    pub fn finish(&mut self, stage: &str, inputs: &str) -> Result<(), Error> {
        self.finished.insert(stage.to_owned(), inputs.to_owned());
        self.write()
    }

    fn write(&self) -> Result<(), Error> {
        let json = serde_json::to_vec_pretty(&self.finished).unwrap_or_default();
        write_whole(&self.path, &json)
    }
}

/// A hash over everything that decides a stage's output.
pub fn hash_inputs(parts: &[&dyn Json]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        let json = part.json();
        hasher.update(&(json.len() as u64).to_le_bytes());
        hasher.update(json.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// What can be an input of a stage.
pub trait Json {
    /// Its JSON; equal values have equal texts.
    fn json(&self) -> String;
}

impl<T: Serialize> Json for T {
    fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The hash of a network's values, bit for bit.
pub fn hash_tensors(tensors: &NamedTensors) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, array) in tensors {
        hasher.update(format!("{name:?} {:?}", array.shape()).as_bytes());
        array.iter().for_each(|value| {
            hasher.update(&value.to_le_bytes());
        });
    }
    hasher.finalize().to_hex().to_string()
}

/// The hash of a file's contents; a file that can't be read hashes to its absence and fails where it is used.
pub fn hash_file(path: &Path) -> String {
    let hash = |bytes: Vec<u8>| blake3::hash(&bytes).to_hex().to_string();
    std::fs::read(path).map_or_else(|_| "absent".to_owned(), hash)
}

/// [`write_whole`] of a value as TOML, whose floats come back as they were.
pub(crate) fn write_toml<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let fault = |error: toml::ser::Error| Error::Io {
        path: path.to_owned(),
        action: "write",
        source: std::io::Error::other(error),
    };
    write_whole(path, toml::to_string(value).map_err(fault)?.as_bytes())
}

/// Writes a file as `.part`, then renames it, so that a reader sees the old or the new one.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let io = |action| move |source| Error::Io { path: path.to_owned(), action, source };
    std::fs::write(&part, bytes).map_err(io("write"))?;
    std::fs::rename(&part, path).map_err(io("rename"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_fresh_only_with_the_same_inputs_and_its_output_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let output = dir.path().join("float.safetensors");
        let inputs = hash_inputs(&[&1, &"folder"]);
        let mut stages = Stages::open(dir.path());
        stages.finish("float", &inputs).unwrap();
        assert!(!stages.is_fresh("float", &inputs, &output), "no output yet");
        std::fs::write(&output, b"weights").unwrap();
        let mut stages = Stages::open(dir.path());
        assert!(stages.is_fresh("float", &inputs, &output));
        assert!(!stages.is_fresh("float", &hash_inputs(&[&2, &"folder"]), &output));
        stages.start("float").unwrap();
        assert!(!Stages::open(dir.path()).is_fresh("float", &inputs, &output));
    }

    #[test]
    fn inputs_do_not_run_together() {
        assert_ne!(hash_inputs(&[&"ab", &"c"]), hash_inputs(&[&"a", &"bc"]));
    }
}
