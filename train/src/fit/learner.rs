//! One optimizer step: what a session and the search for a learning rate share.

use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::Device;

use super::fault::Fault;
use super::loader::Batch;
use super::objective::Objective;
use super::optimizer::Roles;
use super::{Task, clip};
use crate::layers::Layers;
use crate::{Result, pixels};

/// A network that is being trained.
pub(super) struct Learner<'a, N> {
    pub(super) task: Task<'a>,
    /// Without automatic differentiation.
    pub(super) device: Device,
    pub(super) net: N,
    roles: Roles,
    pub(super) optimizer: ModuleOptimizer,
    /// The last network whose loss and gradient were finite.
    pub(super) good: Option<N>,
}

/// What a step found before its update.
pub(super) struct Stepped {
    pub(super) loss: f32,
    /// Images classified correctly.
    pub(super) correct: usize,
}

impl<'a, N: Layers> Learner<'a, N> {
    /// At its start, on the device of `net`.
    pub(super) fn new(task: Task<'a>, net: &N) -> Result<Self> {
        let device = net.devices().first().cloned().unwrap_or_default().without_autodiff();
        let net = net.with_tensors(&net.to_tensors(), "the network", &device.clone().autodiff())?;
        let roles = Roles::of(&net);
        Ok(Self { optimizer: roles.optimizer(task.config), task, device, net, roles, good: None })
    }

    /// One step at learning rate `rate`, or what isn't finite about it; the network is then left as it is.
    ///
    /// Runs on one of the threads that the kernels share: from outside, each of a step's few hundred kernels would wake
    /// them, wait, and be woken.
    pub(super) fn step(&mut self, batch: &Batch, rate: f64) -> Result<Result<Stepped, Fault>> {
        rayon::scope(|_| self.step_here(batch, rate))
    }

    fn step_here(&mut self, batch: &Batch, rate: f64) -> Result<Result<Stepped, Fault>> {
        let Task { teacher, config, .. } = self.task;
        let [_, height, width] = self.net.image_shape();
        let pixels = pixels::to_tensor(&batch.pixels, [height, width], &self.device);
        let logits = self.net.logits(pixels.clone().autodiff());
        let mut objective = Objective::cross_entropy(&logits, &batch.labels, config.label_smoothing)?;
        if let (Some(teacher), Some(distill)) = (teacher, config.distill) {
            objective = objective.distill(logits, teacher(pixels.clone()).autodiff(), distill);
        }
        let loss = objective.loss.clone().into_scalar::<f32>();
        if !loss.is_finite() {
            return Ok(Err(Fault::of_forward(&self.net, pixels.autodiff(), loss)));
        }
        let mut gradients = GradientsParams::from_grads(objective.loss.backward(), &self.net);
        self.good = Some(self.net.valid());
        if !clip::clip_norm(&self.net, &mut gradients, config.clip_norm).is_finite() {
            return Ok(Err(Fault::of_gradients(&self.net, &gradients, loss)));
        }
        let rates = self.roles.rates(config, rate);
        self.net = self.optimizer.step(rates, self.net.clone(), gradients);
        Ok(Ok(Stepped { loss, correct: objective.correct }))
    }
}
