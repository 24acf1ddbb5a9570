//! The training loop: SGD with Nesterov momentum, exact resuming, distillation.
//!
//! Reading order: [`fit`] and `Session::run` here; `config` (settings), `loader`, `augment`, `crop` and `jitter` (what a
//! step sees),
//! `objective` (its loss), `schedule`, `clip`, `checkpoint`, `metrics`, `events`.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, ModuleOptimizer, SgdConfig};
use burn::tensor::{Bytes, Device, Tensor};
use eqo_datasets::Dataset;

mod augment;
mod checkpoint;
mod clip;
mod config;
mod crop;
mod events;
mod jitter;
mod loader;
mod metrics;
mod objective;
mod schedule;
#[cfg(test)]
mod tests;

pub use augment::Augment;
pub use config::{Distill, FitConfig};
pub use crop::ResizedCrop;
pub use events::record_test_accuracy;
pub use jitter::Jitter;

use crate::classifier::Classifier;
use crate::evaluate::{Score, evaluate};
use crate::tensors::NamedTensors;
use crate::{Error, Result, pixels};
use checkpoint::Checkpoint;
use loader::{Batch, Batches, Order, Source};
use metrics::{Metrics, Row, Window};
use objective::Objective;

/// Steps between rows of `metrics.csv`.
const ROW_EVERY: usize = 20;

/// Logits `[batch, classes]` of raw pixels `[batch, 3, height, width]` on a device without automatic differentiation.
pub type Teacher<'a> = &'a dyn Fn(Tensor<4>) -> Tensor<2>;

/// How a caller watches and stops a run.
pub struct Hooks<'a> {
    /// Once true, the run saves a checkpoint before its next step and returns [`Error::Interrupted`].
    pub stop: &'a AtomicBool,
    /// Called after every step.
    pub progress: &'a mut dyn FnMut(&Progress),
}

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
    /// Score on the validation images, after the last step of an epoch and of the run.
    pub validation: Option<Score>,
}

/// Trains `net` on `images` and returns it, trained, on its device without automatic differentiation.
///
/// `validation` is scored after every epoch, for information only. A run that stops (interrupt, crash, power) and is
/// resumed ends in the same bits as one that didn't stop, on the same machine.
///
/// # Errors
/// [`Error::Config`] or [`Error::Data`] before anything is written; [`Error::Diverged`]; [`Error::Interrupted`];
/// [`Error::Checkpoint`] when resuming; [`Error::Io`].
pub fn fit<N: Classifier>(
    net: N,
    teacher: Option<Teacher<'_>>,
    images: &Dataset,
    validation: Option<&Dataset>,
    config: &FitConfig,
    mut hooks: Hooks<'_>,
) -> Result<N> {
    config.check(images, teacher.is_some())?;
    let [channels, height, width] = net.image_shape();
    let own = [channels, images.height(), images.width()];
    // A resized crop brings images of any size to the network's.
    pixels::check_size(images, if config.augment.resized_crop.is_some() { own } else { net.image_shape() })?;
    validation.map_or(Ok(()), |images| pixels::check_size(images, net.image_shape()))?;
    let task = Task { teacher, images, validation, config };
    let mut session = Session::start(task, net)?;
    thread::scope(|scope| {
        let steps = session.step..config.steps;
        let (order, augment) = (session.order, config.augment);
        let source = Source { images, order, augment, size: [height, width] };
        session.run(source.prefetch(scope, steps), &mut hooks)
    })?;
    session.net.with_tensors(&session.checked_tensors()?, "the trained network", &session.device)
}

/// What a run is about; never changes.
#[derive(Clone, Copy)]
struct Task<'a> {
    teacher: Option<Teacher<'a>>,
    images: &'a Dataset,
    validation: Option<&'a Dataset>,
    config: &'a FitConfig,
}

/// A run under way.
struct Session<'a, N> {
    task: Task<'a>,
    fingerprint: String,
    order: Order,
    /// Without automatic differentiation.
    device: Device,
    net: N,
    optimizer: ModuleOptimizer,
    step: usize,
    /// Training time up to the current window.
    seconds: f64,
    metrics: Metrics,
    window: Window,
}

impl<'a, N: Classifier> Session<'a, N> {
    fn start(task: Task<'a>, net: N) -> Result<Self> {
        let config = task.config;
        fs::create_dir_all(&config.out_dir).map_err(Error::io(&config.out_dir, "create"))?;
        let fingerprint = config.fingerprint(task.images);
        let path = checkpoint_path(config);
        let resumed = if config.resume { Checkpoint::load(&path, &fingerprint)? } else { None };
        let device = net.devices().first().cloned().unwrap_or_default().without_autodiff();
        let mut optimizer = optimizer(config);
        if let Some(checkpoint) = &resumed {
            let state = Bytes::from_bytes_vec(checkpoint.optimizer.clone());
            let loaded = optimizer.from_bytes(state);
            optimizer = loaded.map_err(|error| checkpoint::damaged(&path, &error.to_string()))?;
        }
        let tensors =
            resumed.as_ref().map_or_else(|| net.to_tensors(), |checkpoint| checkpoint.tensors.clone());
        let (step, seconds) = resumed.map_or((0, 0.0), |checkpoint| (checkpoint.step, checkpoint.seconds));
        let net = net.with_tensors(&tensors, &path.display().to_string(), &device.clone().autodiff())?;
        let metrics = Metrics::open(config.out_dir.join("metrics.csv"), step)?;
        let order = Order::new(task.images.len(), config.batch_size, config.seed);
        let window = Window::new();
        Ok(Self { task, fingerprint, order, device, net, optimizer, step, seconds, metrics, window })
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
            progress.validation = self.after_step()?;
            (hooks.progress)(&progress);
        }
        Ok(())
    }

    /// One optimizer step.
    fn train(&mut self, batch: &Batch) -> Result<()> {
        let Task { teacher, config, .. } = self.task;
        let [_, height, width] = self.net.image_shape();
        let pixels = pixels::to_tensor(&batch.pixels, [height, width], &self.device);
        let logits = self.net.logits(pixels.clone().autodiff());
        let mut objective = Objective::cross_entropy(&logits, &batch.labels)?;
        if let (Some(teacher), Some(distill)) = (teacher, config.distill) {
            objective = objective.distill(logits, teacher(pixels).autodiff(), distill);
        }
        let loss = objective.loss.clone().into_scalar::<f32>();
        if !loss.is_finite() {
            return Err(Error::Diverged { step: self.step, loss });
        }
        let mut gradients = GradientsParams::from_grads(objective.loss.backward(), &self.net);
        if let Some(limit) = config.clip_norm {
            clip::clip_norm(&self.net, &mut gradients, limit);
        }
        let rate = schedule::learning_rate(config, self.step);
        self.net = self.optimizer.step(rate, self.net.clone(), gradients);
        self.step += 1;
        self.window.add(loss, objective.correct, batch);
        Ok(())
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
        }
    }

    /// Validation, row and checkpoint, each when it is due.
    fn after_step(&mut self) -> Result<Option<Score>> {
        let config = self.task.config;
        let last = self.step == config.steps;
        let epoch_ends = self.step.is_multiple_of(self.order.steps_per_epoch()) || last;
        let save = match config.checkpoint_every {
            0 => epoch_ends,
            every => self.step.is_multiple_of(every) || last,
        };
        let validation = self.task.validation.filter(|_| epoch_ends);
        let score =
            validation.map(|images| evaluate(&self.net.valid(), images, &self.device, &mut |_, _| ()));
        let score = score.transpose()?;
        if epoch_ends || save || self.step.is_multiple_of(ROW_EVERY) {
            self.end_window(score)?;
        }
        if save {
            self.save()?;
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

    fn save(&self) -> Result<PathBuf> {
        let path = checkpoint_path(self.task.config);
        let optimizer = self.optimizer.into_bytes();
        let optimizer = optimizer.map_err(|error| checkpoint::damaged(&path, &error.to_string()))?.to_vec();
        let tensors = self.checked_tensors()?;
        Checkpoint { step: self.step, seconds: self.seconds, tensors, optimizer }
            .save(&path, &self.fingerprint)?;
        Ok(path)
    }

    /// The network's values, which must not reach a file if one isn't a number.
    fn checked_tensors(&self) -> Result<NamedTensors> {
        let tensors = self.net.to_tensors();
        if tensors.values().flatten().all(|value| value.is_finite()) {
            return Ok(tensors);
        }
        Err(Error::Diverged { step: self.step, loss: f32::NAN })
    }
}

fn checkpoint_path(config: &FitConfig) -> PathBuf {
    config.out_dir.join("checkpoint.safetensors")
}

/// PyTorch's `SGD(nesterov=True)`: Burn's default dampening of 0.1 is switched off.
fn optimizer(config: &FitConfig) -> ModuleOptimizer {
    let momentum =
        MomentumConfig::new().with_momentum(config.momentum).with_dampening(0.0).with_nesterov(true);
    let decay = WeightDecayConfig::new(config.weight_decay as f32);
    SgdConfig::new().with_momentum(Some(momentum)).with_weight_decay(Some(decay)).init()
}
