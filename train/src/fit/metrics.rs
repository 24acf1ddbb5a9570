//! `metrics.csv`: one row every few steps.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::loader::Batch;
use crate::import::write_then_rename;
use crate::{Error, Result};

/// One row; loss and training accuracy are means over the steps since the row before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Row {
    /// Optimizer steps done.
    pub(super) step: usize,
    /// From 1.
    pub(super) epoch: usize,
    pub(super) loss: f64,
    /// 0 to 1, on augmented images, before each update.
    pub(super) train_accuracy: f64,
    /// Of the last step.
    pub(super) learning_rate: f64,
    pub(super) images_per_second: f64,
    /// Time since the row before in which the trainer waited for a batch.
    #[serde(default)]
    pub(super) loader_idle_seconds: f64,
    /// Of training since step 0, interruptions left out.
    pub(super) seconds: f64,
    /// 0 to 1; only at the end of an epoch.
    pub(super) validation_accuracy: Option<f64>,
}

/// The open file.
pub(super) struct Metrics {
    path: PathBuf,
    rows: csv::Writer<File>,
}

impl Metrics {
    /// Opens `path` for the steps after `step`: rows of later steps are dropped, all of them when `step` is 0.
    pub(super) fn open(path: PathBuf, step: usize) -> Result<Self> {
        let kept = if step > 0 { kept_rows(&path, step)? } else { Vec::new() };
        let mut bytes = csv::Writer::from_writer(Vec::new());
        kept.iter().try_for_each(|row| bytes.serialize(row)).map_err(failed(&path))?;
        let bytes = bytes.into_inner().map_err(|error| Error::io(&path, "write")(error.into_error()))?;
        write_then_rename(&path, &bytes)?;
        let file = OpenOptions::new().append(true).open(&path).map_err(Error::io(&path, "write"))?;
        let rows = csv::WriterBuilder::new().has_headers(kept.is_empty()).from_writer(file);
        Ok(Self { path, rows })
    }

    pub(super) fn append(&mut self, row: &Row) -> Result<()> {
        self.rows.serialize(row).map_err(failed(&self.path))?;
        self.rows.flush().map_err(Error::io(&self.path, "write"))
    }
}

/// Rows up to `step`; what follows a row cut off by a crash is dropped with it.
fn kept_rows(path: &Path, step: usize) -> Result<Vec<Row>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened.map_err(Error::io(path, "read"))?,
    };
    let rows = csv::Reader::from_reader(file).into_deserialize::<Row>();
    Ok(rows.map_while(|row| row.ok().filter(|row| row.step <= step)).collect())
}

fn failed(path: &Path) -> impl FnOnce(csv::Error) -> Error {
    let failed = Error::io(path, "write");
    move |error| failed(error.into())
}

/// Sums since the last row.
pub(super) struct Window {
    started: Instant,
    /// Until the last step, so that validation doesn't count.
    pub(super) seconds: f64,
    steps: usize,
    images: usize,
    loss: f64,
    correct: usize,
    idle: Duration,
}

impl Window {
    pub(super) fn new() -> Self {
        let idle = Duration::ZERO;
        Self { started: Instant::now(), seconds: 0.0, steps: 0, images: 0, loss: 0.0, correct: 0, idle }
    }

    /// A step on `batch`, of which `correct` images were classified correctly.
    pub(super) fn add(&mut self, loss: f32, correct: usize, batch: &Batch) {
        let images = batch.labels.len();
        self.idle += batch.waited;
        self.seconds = self.started.elapsed().as_secs_f64();
        self.steps += 1;
        self.images += images;
        self.loss += f64::from(loss);
        self.correct += correct;
    }

    pub(super) fn images_per_second(&self) -> f64 {
        self.images as f64 / self.seconds.max(1e-9)
    }

    pub(super) fn loss(&self) -> f64 {
        self.loss / self.steps.max(1) as f64
    }

    pub(super) fn accuracy(&self) -> f64 {
        self.correct as f64 / self.images.max(1) as f64
    }

    /// Seconds in which the trainer waited for a batch.
    pub(super) fn idle_seconds(&self) -> f64 {
        self.idle.as_secs_f64()
    }

    /// The same as a share of all of them, 0 to 1.
    pub(super) fn idle_share(&self) -> f64 {
        (self.idle_seconds() / self.seconds.max(1e-9)).min(1.0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.steps == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(step: usize) -> Row {
        let validation_accuracy = (step == 20).then_some(0.5);
        Row {
            step,
            epoch: 1,
            loss: 1.25,
            train_accuracy: 0.5,
            learning_rate: 0.1,
            images_per_second: 10.0,
            loader_idle_seconds: 0.25,
            seconds: 2.0,
            validation_accuracy,
        }
    }

    fn steps_in(path: &Path) -> Vec<usize> {
        csv::Reader::from_path(path).unwrap().into_deserialize::<Row>().map(|row| row.unwrap().step).collect()
    }

    #[test]
    fn resuming_keeps_the_rows_before_and_drops_the_rows_after() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.csv");
        let mut metrics = Metrics::open(path.clone(), 0).unwrap();
        [10, 20, 30].iter().for_each(|&step| metrics.append(&row(step)).unwrap());
        assert_eq!(steps_in(&path), [10, 20, 30]);
        let mut metrics = Metrics::open(path.clone(), 20).unwrap();
        metrics.append(&row(25)).unwrap();
        assert_eq!(steps_in(&path), [10, 20, 25]);
        assert_eq!(std::fs::read_to_string(&path).unwrap().matches("train_accuracy").count(), 1);
        Metrics::open(path.clone(), 0).unwrap().append(&row(1)).unwrap();
        assert_eq!(steps_in(&path), [1]);
    }

    #[test]
    fn waiting_is_summed_over_a_window_and_is_a_share_of_its_time() {
        let mut window = Window::new();
        let batch = Batch { pixels: Vec::new(), labels: vec![0; 4], waited: window.started.elapsed() };
        window.add(1.0, 1, &batch);
        window.add(3.0, 3, &batch);
        assert_eq!(window.idle_seconds(), 2.0 * batch.waited.as_secs_f64());
        assert!((0.0..=1.0).contains(&window.idle_share()));
        assert_eq!((window.loss(), window.accuracy()), (2.0, 0.5));
    }

    #[test]
    fn rows_written_before_idle_time_was_measured_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.csv");
        let old = "step,epoch,loss,train_accuracy,learning_rate,images_per_second,seconds,validation_accuracy\n\
                   10,1,1.25,0.5,0.1,10.0,2.0,\n";
        std::fs::write(&path, old).unwrap();
        Metrics::open(path.clone(), 10).unwrap().append(&row(20)).unwrap();
        assert_eq!(steps_in(&path), [10, 20]);
    }

    #[test]
    fn a_row_cut_off_by_a_crash_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.csv");
        Metrics::open(path.clone(), 0).unwrap().append(&row(10)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap() + "20,1,0.";
        std::fs::write(&path, text).unwrap();
        Metrics::open(path.clone(), 20).unwrap().append(&row(30)).unwrap();
        assert_eq!(steps_in(&path), [10, 30]);
    }
}
