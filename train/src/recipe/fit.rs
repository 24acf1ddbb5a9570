//! `[float]` and `[qat]`: how a network is trained.

use serde::{Deserialize, Serialize};

use super::{RecipeError, require};
use crate::qat::{BatchNorm, Domain};

/// Keys of `[float]` and `[qat]`: linear warm-up, then cosine decay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FitSection {
    /// Optimizer steps; 0 skips the stage.
    pub steps: usize,
    /// Images a step.
    pub batch_size: usize,
    /// What turns gradients into updates.
    pub optimizer: OptimizerKind,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Learning rate at the end of the cosine, as a fraction of the peak.
    pub min_learning_rate: f64,
    /// Times the learning rate for the logarithms of scales; 0 freezes them.
    pub scale_rate: f64,
    /// Momentum of `sgd` (Nesterov, no dampening).
    pub momentum: f64,
    /// On the weights of convolutions and linear layers only: L2 penalty with `sgd`, decoupled with `adamw`.
    pub weight_decay: f64,
    /// Steps of linear warm-up.
    pub warmup_steps: usize,
    /// Gradients are scaled down to this norm; 0 disables clipping.
    pub clip_norm: f64,
    /// Random crop after zero padding by this many pixels; 0 disables it.
    pub crop: usize,
    /// Random horizontal flip.
    pub flip: bool,
    /// Random resized crop, as torchvision's `RandomResizedCrop`, instead of `crop`.
    pub resized_crop: bool,
    /// Least and most share of the image's area that it takes.
    pub crop_area: [f64; 2],
    /// Least and most width over height of what it takes.
    pub crop_aspect: [f64; 2],
    /// Colour jitter as torchvision's `ColorJitter`: factors are drawn from 1 − x to 1 + x; 0 disables it.
    pub brightness: f64,
    /// Likewise, around the image's mean grey.
    pub contrast: f64,
    /// Likewise, around each pixel's grey.
    pub saturation: f64,
    /// Probability that the label's target spreads evenly over all classes.
    pub label_smoothing: f64,
    /// Weight of the distillation term against the float model (`[qat]` only); 0 disables it.
    pub distill_weight: f64,
    /// Softmax temperature of the distillation term.
    pub distill_temperature: f64,
    /// Decay of the moving average of the parameters, which is then what is validated, kept and returned; 0: none.
    pub ema_decay: f64,
    /// Steps between validations; 0 means once an epoch. Needs `data.validation_images`, as the next two do.
    pub validate_every: usize,
    /// Which network is kept.
    pub keep: Keep,
    /// Validations in a row without a better one that end the training; 0: never.
    pub patience: usize,
    /// Steps between checkpoints; 0 means once an epoch.
    pub checkpoint_every: usize,
}

/// `[qat]`: the keys of [`FitSection`] and the way down to few bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct QatSection {
    /// Training at the bits of the plan.
    #[serde(flatten)]
    pub fit: FitSection,
    /// What is trained of a Winograd convolution.
    pub domain: Domain,
    /// What becomes of batch normalization.
    pub batch_norm: BatchNorm,
    /// Weight bits of the phases before it, decreasing, each above `bits.weight`; layers with more bits keep theirs.
    pub gradual: Vec<u8>,
    /// Steps of each of these phases.
    pub gradual_steps: usize,
}

/// What turns gradients into updates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Stochastic gradient descent with Nesterov momentum and no dampening (PyTorch's `SGD(nesterov=True)`).
    #[default]
    Sgd,
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019); betas 0.9 and 0.999, epsilon 1e-5 (Burn's).
    AdamW,
}

/// Which network a training returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// The one with the highest validation accuracy, the earliest of equals; the last one without validation images.
    #[default]
    Best,
    /// The last one.
    Last,
}

impl Default for FitSection {
    fn default() -> Self {
        Self {
            steps: 600,
            batch_size: 100,
            optimizer: OptimizerKind::Sgd,
            learning_rate: 0.01,
            min_learning_rate: 0.0,
            scale_rate: 1.0,
            momentum: 0.9,
            weight_decay: 1e-4,
            warmup_steps: 20,
            clip_norm: 0.0,
            crop: 4,
            flip: true,
            resized_crop: false,
            crop_area: [0.08, 1.0],
            crop_aspect: [0.75, 4.0 / 3.0],
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
            label_smoothing: 0.0,
            distill_weight: 0.0,
            distill_temperature: 4.0,
            ema_decay: 0.0,
            validate_every: 0,
            keep: Keep::Best,
            patience: 0,
            checkpoint_every: 0,
        }
    }
}

impl Default for QatSection {
    fn default() -> Self {
        let fit = FitSection { distill_weight: 1.0, ..FitSection::default() };
        Self {
            fit,
            domain: Domain::default(),
            batch_norm: BatchNorm::default(),
            gradual: Vec::new(),
            gradual_steps: 200,
        }
    }
}

impl QatSection {
    /// How each phase of `gradual` trains: as the last one, in fewer steps, without choosing among its networks.
    pub fn phase(&self) -> FitSection {
        let warmup_steps = self.fit.warmup_steps * self.gradual_steps / self.fit.steps.max(1);
        FitSection {
            steps: self.gradual_steps,
            warmup_steps: warmup_steps.min(self.gradual_steps),
            keep: Keep::Last,
            patience: 0,
            ..self.fit.clone()
        }
    }

    pub(super) fn check(&self, weight_bits: u8) -> Result<(), RecipeError> {
        let falls = self.gradual.windows(2).all(|pair| pair[1] < pair[0]);
        let in_range = self.gradual.iter().all(|&bits| bits > weight_bits && bits <= 8);
        let found = format!("{:?}", self.gradual);
        require("qat.gradual", "decreasing bits, at most 8 and above bits.weight", found, falls && in_range)?;
        let enough = self.gradual.is_empty() || self.gradual_steps > 0;
        require("qat.gradual_steps", "at least 1", self.gradual_steps, enough)?;
        self.fit.check("qat")
    }
}

impl FitSection {
    /// Refuses values outside their ranges, as `<section>.<key>`.
    pub(super) fn check(&self, section: &str) -> Result<(), RecipeError> {
        let key = |key: &str| format!("{section}.{key}");
        let fraction = |name, value: f64| require(key(name), "0 to 1", value, (0.0..=1.0).contains(&value));
        let at_least_zero = |name, value: f64| {
            require(key(name), "a number, at least 0", value, value >= 0.0 && value.is_finite())
        };
        let rate = self.learning_rate;
        require(key("batch_size"), "1 to 65536", self.batch_size, (1..=65_536).contains(&self.batch_size))?;
        require(key("learning_rate"), "above 0, at most 1", rate, rate > 0.0 && rate <= 1.0)?;
        require(key("momentum"), "0 to below 1", self.momentum, (0.0..1.0).contains(&self.momentum))?;
        let temperature = self.distill_temperature;
        require(key("distill_temperature"), "above 0", temperature, temperature > 0.0)?;
        fraction("min_learning_rate", self.min_learning_rate)?;
        require(key("ema_decay"), "0 to below 1", self.ema_decay, (0.0..1.0).contains(&self.ema_decay))?;
        fraction("label_smoothing", self.label_smoothing)?;
        at_least_zero("scale_rate", self.scale_rate)?;
        at_least_zero("weight_decay", self.weight_decay)?;
        at_least_zero("clip_norm", self.clip_norm)?;
        at_least_zero("distill_weight", self.distill_weight)
    }
}
