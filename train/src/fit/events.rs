//! TensorBoard's event files: the scalars of `metrics.csv` where `tensorboard --logdir` finds them.
//!
//! A file is a sequence of TFRecords: length (u64), masked CRC32C of it, a protobuf `Event`, masked CRC32C of that, all
//! little-endian. Only the fields that scalars need are declared (`tensorflow/core/util/event.proto` and
//! `framework/summary.proto`).

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::{Message, Oneof};

use crate::import::write_then_rename;
use crate::{Error, Result};

/// What every event file's name begins with.
const PREFIX: &str = "events.out.tfevents.";
/// What the first event of a file says.
const FILE_VERSION: &str = "brain.Event:2";
/// `SessionLog.START`: whatever earlier files hold from this event's step on is void.
const START: i32 = 1;

#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5, 7")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, Oneof)]
enum What {
    #[prost(string, tag = "3")]
    FileVersion(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
    #[prost(message, tag = "7")]
    SessionLog(SessionLog),
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Scalar>,
}

/// `Summary.Value`
#[derive(Clone, PartialEq, Message)]
struct Scalar {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// An open event file.
pub(super) struct Events {
    path: PathBuf,
    file: File,
}

impl Events {
    /// Begins a file in `dir` for the steps after `step`.
    ///
    /// Earlier files stay, their later steps being void, unless the run starts anew: then they are removed.
    pub(super) fn open(dir: &Path, step: usize) -> Result<Self> {
        if step == 0 {
            for path in event_files(dir)? {
                fs::remove_file(&path).map_err(Error::io(&path, "remove"))?;
            }
        }
        Self::create(dir.join(file_name(&std::process::id().to_string())), Some(step + 1))
    }

    /// A new file; what earlier files say from step `void_from` on no longer holds.
    fn create(path: PathBuf, void_from: Option<usize>) -> Result<Self> {
        let mut start = record(&event(0, What::FileVersion(FILE_VERSION.to_owned())));
        if let Some(step) = void_from {
            start.extend(record(&event(step, What::SessionLog(SessionLog { status: START }))));
        }
        write_then_rename(&path, &start)?;
        let file = OpenOptions::new().append(true).open(&path).map_err(Error::io(&path, "write"))?;
        Ok(Self { path, file })
    }

    /// Appends the values after `step` steps.
    pub(super) fn append(&mut self, step: usize, scalars: &[(&str, f64)]) -> Result<()> {
        let scalar =
            |&(tag, value): &(&str, f64)| Scalar { tag: tag.to_owned(), simple_value: Some(value as f32) };
        let value = scalars.iter().map(scalar).collect();
        let bytes = record(&event(step, What::Summary(Summary { value })));
        // One call a record: a reader that follows the file sees whole ones.
        self.file.write_all(&bytes).map_err(Error::io(&self.path, "write"))
    }
}

/// Adds the accuracy on test images, 0 to 1, of the network of a finished run of `steps` steps in `dir`, as
/// `test/<network>`, in a file of its own that replaces an earlier one.
///
/// # Errors
/// [`Error::Io`] if `dir` isn't there or can't be written.
pub fn record_test_accuracy(dir: &Path, network: &str, steps: usize, accuracy: f64) -> Result<()> {
    let source = format!("test-{network}");
    for earlier in event_files(dir)? {
        if earlier.to_string_lossy().contains(&format!(".{source}.")) {
            fs::remove_file(&earlier).map_err(Error::io(&earlier, "remove"))?;
        }
    }
    let tag = format!("test/{network}");
    Events::create(dir.join(file_name(&source)), None)?.append(steps, &[(&tag, accuracy)])
}

fn event_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).map_err(Error::io(dir, "list"))?;
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io(dir, "list"))?;
        if entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes()) {
            files.push(entry.path());
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// A new name; TensorBoard reads files in the order of their names, so the time comes first.
fn file_name(source: &str) -> String {
    static FILES: AtomicUsize = AtomicUsize::new(0);
    let number = FILES.fetch_add(1, Ordering::Relaxed);
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "localhost" } else { host.trim() };
    format!("{PREFIX}{:010}.{host}.{source}.{number:06}", now().as_secs())
}

fn now() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn event(step: usize, what: What) -> Event {
    Event { wall_time: now().as_secs_f64(), step: step as i64, what: Some(what) }
}

/// A TFRecord.
fn record(event: &Event) -> Vec<u8> {
    let data = event.encode_to_vec();
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked_crc(&length), &data, &masked_crc(&data)].concat()
}

/// CRC32C, rotated and moved so that a CRC of data that holds CRCs stays a good one (TensorFlow's `crc32c.h`).
fn masked_crc(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xA282_EAD8).to_le_bytes()
}

#[cfg(test)]
mod tests;
