//! What one training run is asked to do, and its identity.

use std::path::PathBuf;

use eqo_datasets::{Dataset, Normalization};
use serde::Serialize;

use super::augment::Augment;
use crate::recipe::FitSection;
use crate::{Error, Result};

/// Settings of [`super::fit`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FitConfig {
    /// Optimizer steps, at least 1.
    pub steps: usize,
    /// Images a step, at least 1; the last, smaller batch of an epoch is left out.
    pub batch_size: usize,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Nesterov momentum, 0 to below 1.
    pub momentum: f64,
    /// L2 penalty on every parameter, as PyTorch's SGD applies it.
    pub weight_decay: f64,
    /// Steps of linear warm-up.
    pub warmup_steps: usize,
    /// Largest global norm of the gradient.
    pub clip_norm: Option<f64>,
    /// What happens to images before a step sees them.
    pub augment: Augment,
    /// Distillation; needs a teacher.
    pub distill: Option<Distill>,
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
            learning_rate: section.learning_rate,
            momentum: section.momentum,
            weight_decay: section.weight_decay,
            warmup_steps: section.warmup_steps,
            clip_norm: (section.clip_norm > 0.0).then_some(section.clip_norm),
            augment: Augment::of(section, normalization),
            distill: (distill.weight > 0.0).then_some(distill),
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
        require("crop", "at most the side of an image", self.augment.crop, self.augment.crop <= side)?;
        self.augment.check()?;
        if let Some(limit) = self.clip_norm {
            require("clip_norm", "above 0", limit, limit > 0.0)?;
        }
        let Some(Distill { weight, temperature }) = self.distill else { return Ok(()) };
        require("distill_temperature", "above 0", temperature, temperature > 0.0)?;
        require("distill_weight", "0 without a teacher", weight, has_teacher)
    }

    /// Hash of everything that decides the result: these settings (not where and how often they are saved) and the images.
    pub(super) fn fingerprint(&self, images: &Dataset) -> String {
        let settings = Self { out_dir: PathBuf::new(), resume: false, checkpoint_every: 0, ..self.clone() };
        let mut hash = blake3::Hasher::new();
        hash.update(format!("{settings:?}").as_bytes());
        hash.update(format!("{}x{}x{}", images.len(), images.height(), images.width()).as_bytes());
        hash.update(images.pixels());
        images.labels().iter().for_each(|label| {
            hash.update(&label.to_le_bytes());
        });
        hash.finalize().to_hex().to_string()
    }
}

fn require(key: &'static str, expected: &'static str, found: impl ToString, holds: bool) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Config { key, expected, found: found.to_string() }) }
}
