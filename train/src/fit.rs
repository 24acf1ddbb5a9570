//! The training loop: exact resuming, distillation, SGD or AdamW.
//!
//! Reading order: [`fit`] and `Session::run` here; `config` (settings), `loader`, `augment`, `crop` and
//! `jitter` (what a step sees), `learner` (a step), `objective` (its loss), `schedule`, `optimizer`, `clip`, `fault`; `ema`, `selection`; `checkpoint`,
//! `saving`, `metrics`, `events`; `lr_find`.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use burn::tensor::{Device, Tensor};
use eqo_datasets::Dataset;

mod augment;
mod checkpoint;
mod clip;
mod config;
mod crop;
mod ema;
mod events;
mod fault;
mod jitter;
mod learner;
mod loader;
mod lr_find;
mod metrics;
mod objective;
mod optimizer;
mod saving;
mod schedule;
mod selection;
#[cfg(test)]
mod tests;

pub use augment::Augment;
pub use config::{Distill, FitConfig};
pub use crop::ResizedCrop;
pub use events::record_test_accuracy;
pub use jitter::Jitter;
pub use lr_find::{Curve, LrFind, Point, Suggestion};
pub use selection::Best;

use crate::evaluate::{Score, evaluate};
use crate::layers::Layers;
use crate::tensors::NamedTensors;
use crate::{Error, Result, pixels};
use checkpoint::Checkpoint;
use ema::Ema;
use learner::Learner;
use loader::{Batch, Batches, Order, Source};
use metrics::{Metrics, Row, Window};
use saving::checkpoint_path;
use selection::Selection;

/// Steps between projections.
const PROJECT_EVERY: usize = 10;

/// Steps between rows of `metrics.csv`.
const ROW_EVERY: usize = 20;

/// Logits `[batch, classes]` of raw pixels `[batch, 3, height, width]` on a device without automatic differentiation.
pub type Teacher<'a> = &'a (dyn Fn(Tensor<4>) -> Tensor<2> + Sync);

/// How a caller watches and stops a run.
pub struct Hooks<'a> {
    /// Once true, the run saves a checkpoint before its next step and returns [`Error::Interrupted`].
    pub stop: &'a AtomicBool,
    /// Called after every step.
    pub progress: &'a mut dyn FnMut(&Progress),
    /// Applied to the network's tensors now and then, and to the result: the nearest that keep what was asked of them, `None` if
    /// they do. A function of the tensors alone, so that resumed runs end in the same bits.
    pub project: Option<Project<'a>>,
}

/// See [`Hooks::project`].
pub type Project<'a> =
    &'a (dyn Fn(&NamedTensors) -> std::result::Result<Option<NamedTensors>, Refusal> + Sync);

/// Why there is no such network.
pub type Refusal = Box<dyn std::error::Error + Send + Sync>;

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Steps done.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// Epoch of the last step, from 1.
    pub epoch: usize,
    /// Mean loss since the last row of `metrics.csv`.
    pub loss: f64,
    /// Share of augmented images classified correctly over the same steps, 0 to 1.
    pub train_accuracy: f64,
    /// Of the last step.
    pub learning_rate: f64,
    /// Speed over the same steps.
    pub images_per_second: f64,
    /// Share of their time in which the trainer waited for a batch, 0 to 1.
    pub idle_share: f64,
    /// Score on the validation images, after the steps that `validate_every` names and the last.
    pub validation: Option<Score>,
    /// The best validation so far.
    pub best: Option<Best>,
}

/// Trains `net` on `images` and returns it, trained, on its device without automatic differentiation.
///
/// `validation`, which must not be what accuracy is reported on, chooses the network that is returned
/// ([`crate::recipe::Keep`]) and ends the run early (`patience`). A run that stops (interrupt, crash, power) and is resumed
/// ends in the same bits as one that didn't stop, on the same machine.
///
/// # Errors
/// [`Error::Config`] or [`Error::Data`] before anything is written; [`Error::Diverged`]; [`Error::Interrupted`];
/// [`Error::Checkpoint`] when resuming; [`Error::Io`].
pub fn fit<N: Layers>(
    net: N,
    teacher: Option<Teacher<'_>>,
    images: &Dataset,
    validation: Option<&Dataset>,
    config: &FitConfig,
    mut hooks: Hooks<'_>,
) -> Result<N> {
    config.check(images, teacher.is_some())?;
    let [_, height, width] = net.image_shape();
    config.augment.check_size(images, net.image_shape())?;
    validation.map_or(Ok(()), |images| pixels::check_size(images, net.image_shape()))?;
    let task = Task { teacher, images, validation, config, project: hooks.project };
    let mut session = Session::start(task, net)?;
    thread::scope(|scope| {
        let steps = if session.is_over() { 0..0 } else { session.step..config.steps };
        let (order, augment) = (session.order, config.augment);
        let source = Source { images, order, augment, size: [height, width] };
        session.run(source.prefetch(scope, steps), &mut hooks)
    })?;
    let Learner { net, device, .. } = &session.learner;
    net.with_tensors(&session.kept(session.result()?)?, "the trained network", device)
}

/// What a run is about; never changes.
#[derive(Clone, Copy)]
struct Task<'a> {
    teacher: Option<Teacher<'a>>,
    images: &'a Dataset,
    validation: Option<&'a Dataset>,
    config: &'a FitConfig,
    project: Option<Project<'a>>,
}

/// A run under way.
struct Session<'a, N> {
    task: Task<'a>,
    fingerprint: String,
    order: Order,
    learner: Learner<'a, N>,
    ema: Option<Ema<N>>,
    selection: Selection,
    step: usize,
    /// Training time up to the current window.
    seconds: f64,
    metrics: Metrics,
    window: Window,
}

impl<'a, N: Layers> Session<'a, N> {
    fn start(task: Task<'a>, net: N) -> Result<Self> {
        let config = task.config;
        fs::create_dir_all(&config.out_dir).map_err(Error::io(&config.out_dir, "create"))?;
        let fingerprint = config.fingerprint(task.images, task.validation);
        let path = checkpoint_path(config);
        let resumed = if config.resume { Checkpoint::load(&path, &fingerprint)? } else { None };
        let learner = Learner::new(task, &net)?;
        let step = resumed.as_ref().map_or(0, |checkpoint| checkpoint.step);
        let mut session = Self {
            ema: (config.ema_decay > 0.0).then(|| Ema::new(&learner.net, config.ema_decay)),
            selection: Selection::default(),
            order: Order::new(task.images.len(), config.batch_size, config.seed),
            metrics: Metrics::open(config.out_dir.join("metrics.csv"), step)?,
            window: Window::new(),
            seconds: 0.0,
            task,
            fingerprint,
            learner,
            step,
        };
        if let Some(checkpoint) = resumed {
            session.restore(checkpoint, &path)?;
        }
        Ok(session)
    }

    /// Whether no step is left, or validation has ended the run.
    fn is_over(&self) -> bool {
        self.step >= self.task.config.steps || self.selection.is_exhausted(self.task.config.patience)
    }

    fn run(&mut self, batches: Batches, hooks: &mut Hooks<'_>) -> Result<()> {
        self.window = Window::new();
        for batch in batches {
            if hooks.stop.load(Ordering::Relaxed) {
                self.end_window(None)?;
                let path = self.save()?;
                return Err(Error::Interrupted { step: self.step, path });
            }
            self.train(&batch)?;
            let mut progress = self.progress();
            progress.validation = match self.project().and_then(|()| self.after_step()) {
                Err(refusal @ Error::Projection { .. }) => {
                    self.save()?;
                    return Err(refusal);
                }
                score => score?,
            };
            progress.best = self.selection.best();
            (hooks.progress)(&progress);
            if self.is_over() {
                break;
            }
        }
        Ok(())
    }

    /// One optimizer step.
    fn train(&mut self, batch: &Batch) -> Result<()> {
        let rate = schedule::learning_rate(self.task.config, self.step);
        let stepped = match self.learner.step(batch, rate)? {
            Ok(stepped) => stepped,
            Err(fault) => return Err(self.diverged(fault)),
        };
        self.step += 1;
        if let Some(ema) = &mut self.ema {
            ema.update(&self.learner.net, self.step);
        }
        self.window.add(stepped.loss, stepped.correct, batch);
        Ok(())
    }

    /// Now and then: a projection takes longer than a step of a small network.
    fn project(&mut self) -> Result<()> {
        if self.step.is_multiple_of(PROJECT_EVERY) {
            let training = self.learner.device.clone().autodiff();
            self.learner.net = self.projected(self.learner.net.clone(), &training)?;
        }
        Ok(())
    }

    fn projected(&self, net: N, device: &Device) -> Result<N> {
        if self.task.project.is_none() {
            return Ok(net);
        }
        let tensors = self.kept(self.finite(&net)?)?;
        net.with_tensors(&tensors, "the projected network", device)
    }

    /// See [`Hooks::project`].
    fn kept(&self, tensors: NamedTensors) -> Result<NamedTensors> {
        let changed = self.task.project.map_or(Ok(None), |project| project(&tensors));
        let changed = changed.map_err(|source| Error::Projection { step: self.step, source })?;
        Ok(changed.unwrap_or(tensors))
    }

    fn progress(&self) -> Progress {
        Progress {
            step: self.step,
            steps: self.task.config.steps,
            epoch: self.order.epoch(self.step - 1) + 1,
            loss: self.window.loss(),
            train_accuracy: self.window.accuracy(),
            learning_rate: schedule::learning_rate(self.task.config, self.step - 1),
            images_per_second: self.window.images_per_second(),
            idle_share: self.window.idle_share(),
            validation: None,
            best: None,
        }
    }

    /// Validation, row and checkpoint, each when it is due.
    fn after_step(&mut self) -> Result<Option<Score>> {
        let config = self.task.config;
        let due = |every: usize| match every {
            0 => self.step.is_multiple_of(self.order.steps_per_epoch()) || self.step == config.steps,
            every => self.step.is_multiple_of(every) || self.step == config.steps,
        };
        let (epoch_ends, validate, save) = (due(0), due(config.validate_every), due(config.checkpoint_every));
        let score =
            self.task.validation.filter(|_| validate).map(|images| self.validate(images)).transpose()?;
        if epoch_ends || score.is_some() || save || self.step.is_multiple_of(ROW_EVERY) {
            self.end_window(score)?;
        }
        if save || self.is_over() {
            self.save()?;
        }
        Ok(score)
    }

    fn validate(&mut self, images: &Dataset) -> Result<Score> {
        // What the run would return.
        let net = self.projected(self.judged(), &self.learner.device)?;
        let score = evaluate(&net, images, &self.learner.device, &mut |_, _| ())?;
        if self.selection.consider(self.step, score, || net.to_tensors()) {
            self.save_best()?;
        }
        Ok(score)
    }

    /// Writes the window's row and opens the next window.
    fn end_window(&mut self, validation: Option<Score>) -> Result<()> {
        if self.window.is_empty() {
            return Ok(());
        }
        self.seconds += self.window.seconds;
        self.metrics.append(&Row {
            step: self.step,
            epoch: self.order.epoch(self.step - 1) + 1,
            loss: self.window.loss(),
            train_accuracy: self.window.accuracy(),
            learning_rate: schedule::learning_rate(self.task.config, self.step - 1),
            images_per_second: self.window.images_per_second(),
            loader_idle_seconds: self.window.idle_seconds(),
            idle_share: self.window.idle_share(),
            seconds: self.seconds,
            validation_accuracy: validation.map(Score::accuracy),
        })?;
        self.window = Window::new();
        Ok(())
    }
}
