//! A run as the command line names it, and what its folder says of it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use eqo_checkpoints::format::Checkpoint;
use serde::{Deserialize, Serialize};

use crate::exit::{Failure, Kind};
use crate::files::{CHECKPOINT, REPORT};
use crate::party::hex;

/// What runs belong to that have no label.
const UNLABELLED: &str = "runs";

/// One run, before anything is measured.
pub(crate) struct Candidate {
    /// Its label, or its folder's or file's name.
    pub(crate) name: String,
    /// What it is compared with: the label up to its first slash.
    pub(crate) series: String,
    /// The checkpoint's file.
    pub(crate) path: PathBuf,
    pub(crate) checkpoint: Checkpoint,
    /// The accuracy that stands in its report, or why that doesn't count.
    pub(crate) reported: Result<Counted, String>,
}

/// Images classified correctly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counted {
    pub(crate) correct: usize,
    pub(crate) images: usize,
}

/// The part of `eqo quantize`'s report that is needed here.
#[derive(Deserialize)]
struct Report {
    graph_hash: String,
    integer: Counted,
}

impl Candidate {
    /// Reads `PATH` or `LABEL=PATH`.
    pub(crate) fn read(text: &Path) -> Result<Self, Failure> {
        let (label, path) = split(text);
        if label.is_some_and(str::is_empty) || path.as_os_str().is_empty() {
            let found = text.display();
            let message = format!("expected a run's folder, a checkpoint or LABEL=RUN, found {found:?}");
            return Err(Failure::new(Kind::Usage, message));
        }
        let file = checkpoint_file(path)?;
        let checkpoint = Checkpoint::read(&file)?;
        let name = label.map_or_else(|| name_of(&file), str::to_owned);
        let prefix = label.and_then(|label| label.split('/').next()).filter(|prefix| !prefix.is_empty());
        Ok(Self {
            name,
            series: prefix.unwrap_or(UNLABELLED).to_owned(),
            reported: reported(&file.with_file_name(REPORT), &checkpoint),
            path: file,
            checkpoint,
        })
    }

    /// What its report says; a refusal that tells how to go on without one.
    pub(crate) fn known_accuracy(&self) -> Result<Counted, Failure> {
        self.reported.clone().map_err(|reason| {
            let (name, path) = (&self.name, self.path.display());
            let next = "pass --data FOLDER to evaluate it on those test images";
            Failure::new(
                Kind::Usage,
                format!("{name}: expected the accuracy of {path} in its report, found that {reason}; {next}"),
            )
        })
    }
}

/// A label may hold slashes, and a path `=`: what exists as a whole is a path.
fn split(text: &Path) -> (Option<&str>, &Path) {
    let parts = text.to_str().filter(|_| !text.exists()).and_then(|text| text.split_once('='));
    parts.map_or((None, text), |(label, path)| (Some(label), Path::new(path)))
}

/// The file of a run folder or a checkpoint.
fn checkpoint_file(path: &Path) -> Result<PathBuf, Failure> {
    let (expected, next) = if !path.exists() {
        ("a run's folder or a checkpoint", "check the path")
    } else if path.is_dir() && !path.join(CHECKPOINT).is_file() {
        ("model.safetensors in it", "let `eqo quantize` finish, or name a checkpoint file")
    } else {
        return Ok(if path.is_dir() { path.join(CHECKPOINT) } else { path.to_owned() });
    };
    Err(Failure::new(Kind::Data, format!("{}: expected {expected}, found none; {next}", path.display())))
}

/// `runs/a/model.safetensors` is run `a`, any other file itself.
fn name_of(file: &Path) -> String {
    // The current folder has a name only in its absolute path.
    let whole = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let of_run = file.file_name() == Some(OsStr::new(CHECKPOINT));
    let folder = whole.parent().and_then(Path::file_name).filter(|_| of_run);
    let name = folder.or_else(|| file.file_stem()).unwrap_or(file.as_os_str());
    name.to_string_lossy().into_owned()
}

/// The accuracy in the report `path` if that is `checkpoint`'s own.
fn reported(path: &Path, checkpoint: &Checkpoint) -> Result<Counted, String> {
    let place = path.display();
    let text = std::fs::read(path).map_err(|error| format!("{place} can't be read ({error})"))?;
    let report: Report = serde_json::from_slice(&text)
        .map_err(|error| format!("{place} is no report of `eqo quantize` ({error})"))?;
    let Counted { correct, images } = report.integer;
    if images == 0 || correct > images {
        return Err(format!("{place} counts {correct} of {images} images"));
    }
    let graph = hex(&checkpoint.graph().graph_hash());
    if report.graph_hash != graph {
        return Err(format!(
            "{place} is of another checkpoint (graph {}, this one's: {graph})",
            report.graph_hash
        ));
    }
    // Weights aren't in the graph's hash: a run trained again can have the same graph, hardly the same accuracy.
    let own = checkpoint.metadata().accuracy;
    match own.filter(|own| (own - correct as f64 / images as f64).abs() > 1e-9) {
        Some(own) => {
            Err(format!("{place} counts {correct} of {images} images, the checkpoint itself says {own}"))
        }
        None => Ok(report.integer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_ends_at_the_first_equals_sign_unless_all_of_it_is_a_path() {
        let folder = tempfile::tempdir().unwrap();
        let odd = folder.path().join("a=b");
        std::fs::create_dir(&odd).unwrap();
        assert_eq!(split(&odd), (None, odd.as_path()));
        assert_eq!(
            split(Path::new("uniform/W2=no/such=run")),
            (Some("uniform/W2"), Path::new("no/such=run"))
        );
        assert_eq!(split(Path::new("no/such")), (None, Path::new("no/such")));
    }

    #[test]
    fn a_run_is_called_like_its_folder_and_a_checkpoint_like_its_file() {
        assert_eq!(name_of(Path::new("runs/cifar/model.safetensors")), "cifar");
        assert_eq!(name_of(Path::new("weights/small.safetensors")), "small");
        assert_eq!(name_of(Path::new("model.safetensors")), "model");
    }
}
