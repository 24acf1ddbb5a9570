//! Progress on stderr: a bar on a terminal, a plain line now and then elsewhere; or on the dashboard while that has the
//! terminal.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a plain line is written.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// What takes progress and lines in stderr's place.
pub(crate) trait Sink: Send + Sync {
    /// `done` of `total` of step `label` are finished.
    fn set(&self, label: &str, done: usize, total: usize);

    /// One or more lines of text.
    fn line(&self, text: &str);
}

static SINK: Mutex<Option<Arc<dyn Sink>>> = Mutex::new(None);

fn sink() -> Option<Arc<dyn Sink>> {
    SINK.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// From now on `sink` takes what would go to stderr; none: stderr does again.
#[cfg(feature = "train")]
pub(crate) fn redirect(sink: Option<Arc<dyn Sink>>) {
    *SINK.lock().unwrap_or_else(PoisonError::into_inner) = sink;
}

/// How far one long step is. Dropping it clears the bar.
pub(crate) struct Progress {
    label: String,
    sink: Option<Arc<dyn Sink>>,
    bar: ProgressBar,
    last_line: Option<Mutex<Instant>>,
}

impl Progress {
    /// A step named `label`; what it counts is up to [`set`](Self::set).
    pub(crate) fn new(label: &str) -> Self {
        let sink = sink();
        let terminal = sink.is_none() && io::stderr().is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target).with_prefix(label.to_owned());
        if let Ok(style) = ProgressStyle::with_template("{prefix:<18} {wide_bar} {pos}/{len} {eta} {msg}") {
            bar.set_style(style);
        }
        let last_line = (!terminal).then(|| Mutex::new(Instant::now()));
        Self { label: label.to_owned(), sink, bar, last_line }
    }

    /// `done` of `total` are finished. May be called from any thread.
    pub(crate) fn set(&self, done: usize, total: usize) {
        self.set_with(done, total, "");
    }

    /// The same, with a note beside the bar.
    pub(crate) fn set_with(&self, done: usize, total: usize, note: &str) {
        if let Some(sink) = &self.sink {
            sink.set(&self.label, done, total);
            return;
        }
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
        self.bar.set_message(note.to_owned());
        let Some(mut last) = self.last_line.as_ref().and_then(|last| last.try_lock().ok()) else { return };
        if last.elapsed() >= LINE_EVERY {
            *last = Instant::now();
            line(format!("{}: {done} of {total} {note}", self.label).trim_end());
        }
    }
}

/// A bar for each step of a longer work, one after the other: a new one whenever the step's name changes.
#[cfg(feature = "train")]
#[derive(Default)]
pub(crate) struct Steps(Mutex<Option<Progress>>);

#[cfg(feature = "train")]
impl Steps {
    /// `done` of `total` of step `label` are finished; `note` is shown beside the bar. May be called from any thread.
    pub(crate) fn set(&self, label: &str, done: usize, total: usize, note: &str) {
        // Whoever panicked while holding the lock left a bar that can still be drawn.
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_none_or(|progress| progress.label != label) {
            *current = Some(Progress::new(label));
        }
        if let Some(progress) = &*current {
            progress.set_with(done, total, note);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// One line on stderr; a closed stderr is nobody's failure.
pub(crate) fn line(text: &str) {
    match sink() {
        Some(sink) => sink.line(text),
        None => _ = writeln!(io::stderr().lock(), "{text}"),
    }
}

/// Where log events go, each in one call.
pub(crate) struct Log;

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match sink() {
            Some(sink) => sink.line(&String::from_utf8_lossy(bytes)),
            None => io::stderr().lock().write_all(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
