//! What the dashboard knows of the run.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use eqo_train::fit;

/// Most points of a curve.
const POINTS: usize = 2048;

/// Log lines kept, to be written to stderr at the end.
pub(super) const LOG_LINES: usize = 1000;

/// Values over steps, thinned out when there are many.
#[derive(Default)]
pub(super) struct Curve {
    pub(super) points: Vec<(f64, f64)>,
}

impl Curve {
    pub(super) fn push(&mut self, step: usize, value: f64) {
        if !value.is_finite() {
            return;
        }
        if self.points.len() == POINTS {
            let mut index = 0;
            self.points.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
        self.points.push((step as f64, value));
    }

    /// Least and most step and value; none without points.
    pub(super) fn bounds(&self) -> Option<([f64; 2], [f64; 2])> {
        let (first, last) = (self.points.first()?, self.points.last()?);
        let values = self.points.iter().map(|&(_, value)| value);
        let least = values.clone().fold(f64::INFINITY, f64::min);
        let most = values.fold(f64::NEG_INFINITY, f64::max);
        Some(([first.0, last.0], [least, most]))
    }
}

/// Minutes and seconds, and hours where there are some.
pub(super) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

/// Everything that is drawn.
pub(super) struct State {
    /// Name of the run and where it goes.
    pub(super) title: String,
    /// `read images`, `float`, `qat`, …; empty before the first.
    pub(super) stage: String,
    pub(super) done: usize,
    pub(super) total: usize,
    /// When the stage began, and how much was done then (a resumed one begins late).
    began: (Instant, usize),
    /// The last training step of this stage.
    pub(super) training: Option<fit::Progress>,
    /// The last validation accuracy, 0 to 1.
    pub(super) validation: Option<f64>,
    pub(super) loss: Curve,
    pub(super) rate: Curve,
    /// Log lines, the newest last.
    pub(super) lines: VecDeque<String>,
    /// Someone asked the run to stop.
    pub(super) is_stopping: bool,
}

impl State {
    pub(super) fn new(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            stage: String::new(),
            done: 0,
            total: 0,
            began: (Instant::now(), 0),
            training: None,
            validation: None,
            loss: Curve::default(),
            rate: Curve::default(),
            lines: VecDeque::new(),
            is_stopping: false,
        }
    }

    /// `done` of `total` of `stage` are finished.
    pub(super) fn advance(&mut self, stage: &str, done: usize, total: usize) {
        if self.stage != stage {
            if !self.stage.is_empty() {
                let took = clock(self.began.0.elapsed());
                self.log(&format!("{}: {} of {} in {took}", self.stage, self.done, self.total));
            }
            stage.clone_into(&mut self.stage);
            self.began = (Instant::now(), done.saturating_sub(1));
        }
        (self.done, self.total) = (done, total);
    }

    /// A training step of the current stage. A stage that isn't the one whose curves are shown starts new ones.
    pub(super) fn train(&mut self, step: fit::Progress) {
        if self.training.is_none_or(|last| last.step >= step.step) {
            (self.loss, self.rate, self.validation) = (Curve::default(), Curve::default(), None);
        }
        self.loss.push(step.step, step.loss);
        self.rate.push(step.step, step.learning_rate);
        if let Some(score) = step.validation {
            let percent = 100.0 * score.accuracy();
            self.log(&format!(
                "{}, step {}: {percent:.2}% of {} validation images",
                self.stage, step.step, score.total
            ));
            self.validation = Some(score.accuracy());
        }
        self.training = Some(step);
    }

    /// Keeps the last [`LOG_LINES`].
    pub(super) fn log(&mut self, text: &str) {
        self.lines.extend(text.lines().map(str::to_owned));
        while self.lines.len() > LOG_LINES {
            self.lines.pop_front();
        }
    }

    /// Share of the stage that is done, 0 to 1.
    pub(super) fn share(&self) -> f64 {
        (self.done as f64 / self.total.max(1) as f64).clamp(0.0, 1.0)
    }

    /// Time the stage still takes at the speed it had so far, `now`.
    pub(super) fn remaining(&self, now: Instant) -> Option<Duration> {
        let (began, first) = self.began;
        let done = self.done.checked_sub(first).filter(|&done| done > 0)?;
        let seconds = now.saturating_duration_since(began).as_secs_f64() / done as f64;
        Duration::try_from_secs_f64(seconds * self.total.saturating_sub(self.done) as f64).ok()
    }
}
