//! What a session leaves on the disk, and how it comes back from there.

use std::path::{Path, PathBuf};

use burn::tensor::Bytes;

use super::checkpoint::{self, Checkpoint};
use super::ema::Ema;
use super::{FitConfig, Session};
use crate::classifier::Classifier;
use crate::recipe::Keep;
use crate::tensors::NamedTensors;
use crate::{Error, Result, import};

impl<N: Classifier> Session<'_, N> {
    /// Everything that training changes, from a checkpoint.
    pub(super) fn restore(&mut self, checkpoint: Checkpoint, path: &Path) -> Result<()> {
        let origin = path.display().to_string();
        let device = self.device.clone().autodiff();
        self.net = self.net.with_tensors(&checkpoint.tensors, &origin, &device)?;
        if let (Some(ema), Some(tensors)) = (&mut self.ema, &checkpoint.ema) {
            ema.net = ema.net.with_tensors(tensors, &origin, &self.device)?;
        }
        let state = self.optimizer.clone().from_bytes(Bytes::from_bytes_vec(checkpoint.optimizer));
        self.optimizer = state.map_err(|error| checkpoint::damaged(path, &error.to_string()))?;
        (self.step, self.seconds) = (checkpoint.step, checkpoint.seconds);
        self.selection = checkpoint.selection;
        // A run that crashed may have left the file of a later best; this one goes on from here.
        self.save_best()
    }

    pub(super) fn save(&self) -> Result<PathBuf> {
        let path = checkpoint_path(self.task.config);
        let optimizer = self.optimizer.into_bytes();
        let optimizer = optimizer.map_err(|error| checkpoint::damaged(&path, &error.to_string()))?.to_vec();
        let tensors = self.finite(&self.net)?;
        let ema = self.ema.as_ref().map(|ema| self.finite(&ema.net)).transpose()?;
        let selection = self.selection.clone();
        let checkpoint =
            Checkpoint { step: self.step, seconds: self.seconds, tensors, ema, selection, optimizer };
        checkpoint.save(&path, &self.fingerprint)?;
        Ok(path)
    }

    /// Writes the best network so far to `best.safetensors`, if it is what the run will return.
    pub(super) fn save_best(&self) -> Result<()> {
        let (Some((best, tensors)), Keep::Best) = (&self.selection.best, self.task.config.keep) else {
            return Ok(());
        };
        let [step, correct, total] = [best.step, best.score.correct, best.score.total].map(|n| n.to_string());
        let metadata =
            [("step", step.as_str()), ("validation_correct", &correct), ("validation_images", &total)];
        import::save_tensors(&self.task.config.out_dir.join("best.safetensors"), tensors, &metadata)
    }

    /// What the run returns: the best network, or the last one; its average where one is kept.
    pub(super) fn result(&self) -> Result<NamedTensors> {
        match (&self.selection.best, self.task.config.keep) {
            (Some((_, tensors)), Keep::Best) => Ok(tensors.clone()),
            _ => self.finite(&self.judged()),
        }
    }

    /// The network that is validated: the average where one is kept.
    pub(super) fn judged(&self) -> N {
        self.ema.as_ref().map_or_else(|| self.net.valid(), |ema: &Ema<N>| ema.net.clone())
    }

    /// The values of a network, which must not reach a file if one isn't a number.
    pub(super) fn finite(&self, net: &N) -> Result<NamedTensors> {
        let tensors = net.to_tensors();
        if tensors.values().flatten().all(|value| value.is_finite()) {
            return Ok(tensors);
        }
        Err(Error::Diverged { step: self.step, loss: f32::NAN })
    }
}

pub(super) fn checkpoint_path(config: &FitConfig) -> PathBuf {
    config.out_dir.join("checkpoint.safetensors")
}
