//! What one training run is asked to do, and its identity.

use std::path::PathBuf;

use eqo_datasets::{Dataset, Normalization};
use serde::Serialize;

use super::augment::Augment;
use crate::recipe::{FitSection, Keep, OptimizerKind};
use crate::{Error, Result};

/// Settings of [`super::fit`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FitConfig {
    /// Optimizer steps, at least 1.
    pub steps: usize,
    /// Images a step, at least 1; the last, smaller batch of an epoch is left out.
    pub batch_size: usize,
    /// What turns gradients into updates.
    pub optimizer: OptimizerKind,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Learning rate at the end, as a fraction of the peak, 0 to 1.
    pub min_learning_rate: f64,
    /// Times the learning rate for logarithms of scales, at least 0.
    pub scale_rate: f64,
    /// Nesterov momentum of SGD, 0 to below 1.
    pub momentum: f64,
    /// On the weights of convolutions and linear layers only; never on biases, normalizations or scales.
    pub weight_decay: f64,
    /// Steps of linear warm-up.
    pub warmup_steps: usize,
    /// Largest global norm of the gradient.
    pub clip_norm: Option<f64>,
    /// Crop, flip and padding colour.
    pub augment: Augment,
    /// Probability that the label's target spreads evenly over all classes, 0 to 1.
    pub label_smoothing: f64,
    /// Distillation; needs a teacher.
    pub distill: Option<Distill>,
    /// Decay of the exponential moving average of the parameters, 0 to below 1; 0 means none.
    pub ema_decay: f64,
    /// Steps between validations; 0 means once an epoch. The last step is always validated.
    pub validate_every: usize,
    /// What is returned if there are validation images.
    pub keep: Keep,
    /// Validations in a row without a better one that end the run; 0 means never.
    pub patience: usize,
    /// Steps between checkpoints; 0 means once an epoch. The last step always saves one.
    pub checkpoint_every: usize,
    /// Seed of the order of images and of augmentation.
    pub seed: u64,
    /// What else makes this run this run (architecture, bit plan): a checkpoint of another identity is refused.
    pub identity: String,
    /// Where `checkpoint.safetensors` and `metrics.csv` go.
    pub out_dir: PathBuf,
    /// Continue from the checkpoint in `out_dir` if there is one.
    pub resume: bool,
}

/// Adds `weight · T² · KL(teacher ‖ student)` of logits divided by T (Hinton et al. 2015, §2).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Distill {
    /// Against the cross entropy's 1.
    pub weight: f64,
    /// T, above 0.
    pub temperature: f64,
}

impl FitConfig {
    /// Settings of a recipe's section, without identity, not resuming.
    pub fn new(section: &FitSection, normalization: &Normalization, seed: u64, out_dir: PathBuf) -> Self {
        let distill = Distill { weight: section.distill_weight, temperature: section.distill_temperature };
        Self {
            steps: section.steps,
            batch_size: section.batch_size,
            optimizer: section.optimizer,
            learning_rate: section.learning_rate,
            min_learning_rate: section.min_learning_rate,
            scale_rate: section.scale_rate,
            momentum: section.momentum,
            weight_decay: section.weight_decay,
            warmup_steps: section.warmup_steps,
            clip_norm: (section.clip_norm > 0.0).then_some(section.clip_norm),
            augment: Augment::new(section.crop, section.flip, normalization),
            label_smoothing: section.label_smoothing,
            distill: (distill.weight > 0.0).then_some(distill),
            ema_decay: section.ema_decay,
            validate_every: section.validate_every,
            keep: section.keep,
            patience: section.patience,
            checkpoint_every: section.checkpoint_every,
            seed,
            identity: String::new(),
            out_dir,
            resume: false,
        }
    }

    pub(super) fn check(&self, images: &Dataset, has_teacher: bool) -> Result<()> {
        let side = images.height().min(images.width());
        require("batch_size", "at least 1", self.batch_size, self.batch_size > 0)?;
        require("learning_rate", "above 0", self.learning_rate, self.learning_rate > 0.0)?;
        require("momentum", "0 to below 1", self.momentum, (0.0..1.0).contains(&self.momentum))?;
        require("weight_decay", "at least 0", self.weight_decay, self.weight_decay >= 0.0)?;
        let fraction = |key, value: f64| require(key, "0 to 1", value, (0.0..=1.0).contains(&value));
        fraction("min_learning_rate", self.min_learning_rate)?;
        fraction("label_smoothing", self.label_smoothing)?;
        let scale_rate = self.scale_rate;
        require("scale_rate", "at least 0", scale_rate, scale_rate >= 0.0 && scale_rate.is_finite())?;
        require("ema_decay", "0 to below 1", self.ema_decay, (0.0..1.0).contains(&self.ema_decay))?;
        require("crop", "at most the side of an image", self.augment.crop, self.augment.crop <= side)?;
        if let Some(limit) = self.clip_norm {
            require("clip_norm", "above 0", limit, limit > 0.0)?;
        }
        let Some(Distill { weight, temperature }) = self.distill else { return Ok(()) };
        require("distill_temperature", "above 0", temperature, temperature > 0.0)?;
        require("distill_weight", "0 without a teacher", weight, has_teacher)
    }

    /// Hash of everything that decides the result: these settings (not where and how often they are saved) and the images.
    pub(super) fn fingerprint(&self, images: &Dataset, validation: Option<&Dataset>) -> String {
        let settings = Self { out_dir: PathBuf::new(), resume: false, checkpoint_every: 0, ..self.clone() };
        let mut hash = blake3::Hasher::new();
        hash.update(format!("{settings:?}").as_bytes());
        for images in [Some(images), validation].into_iter().flatten() {
            hash.update(format!("{}x{}x{}", images.len(), images.height(), images.width()).as_bytes());
            hash.update(images.pixels());
            images.labels().iter().for_each(|label| {
                hash.update(&label.to_le_bytes());
            });
        }
        hash.finalize().to_hex().to_string()
    }
}

fn require(key: &'static str, expected: &'static str, found: impl ToString, holds: bool) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Config { key, expected, found: found.to_string() }) }
}
