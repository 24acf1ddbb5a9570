//! Progress on stderr: a bar on a terminal, a plain line now and then elsewhere.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a plain line is written.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How far one long step is. Dropping it clears the bar.
pub(crate) struct Progress {
    label: String,
    bar: ProgressBar,
    last_line: Option<Mutex<Instant>>,
}

impl Progress {
    /// A step named `label`; what it counts is up to [`set`](Self::set).
    pub(crate) fn new(label: &str) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target).with_prefix(label.to_owned());
        if let Ok(style) = ProgressStyle::with_template("{prefix:<18} {wide_bar} {pos}/{len} {eta} {msg}") {
            bar.set_style(style);
        }
        let last_line = (!terminal).then(|| Mutex::new(Instant::now()));
        Self { label: label.to_owned(), bar, last_line }
    }

    /// `done` of `total` are finished. May be called from any thread.
    pub(crate) fn set(&self, done: usize, total: usize) {
        self.set_with(done, total, "");
    }

    fn set_with(&self, done: usize, total: usize, note: &str) {
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
        let mut current = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
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
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
