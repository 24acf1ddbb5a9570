//! What a session leaves on the disk, and how it comes back from there.

use std::path::{Path, PathBuf};

use burn::tensor::Bytes;

use super::checkpoint::{self, Checkpoint};
use super::ema::Ema;
use super::fault::Fault;
use super::{FitConfig, Session};
use crate::layers::Layers;
use crate::recipe::Keep;
use crate::tensors::NamedTensors;
use crate::{Error, Result, import};

impl<N: Layers> Session<'_, N> {
    /// Everything that training changes, from a checkpoint.
    pub(super) fn restore(&mut self, checkpoint: Checkpoint, path: &Path) -> Result<()> {
        let origin = path.display().to_string();
        let learner = &mut self.learner;
        let training = learner.device.clone().autodiff();
        learner.net = learner.net.with_tensors(&checkpoint.tensors, &origin, &training)?;
        if let (Some(ema), Some(tensors)) = (&mut self.ema, &checkpoint.ema) {
            ema.net = ema.net.with_tensors(tensors, &origin, &learner.device)?;
        }
        let state = learner.optimizer.clone().from_bytes(Bytes::from_bytes_vec(checkpoint.optimizer));
        learner.optimizer = state.map_err(|error| checkpoint::damaged(path, &error.to_string()))?;
        (self.step, self.seconds) = (checkpoint.step, checkpoint.seconds);
        self.selection = checkpoint.selection;
        // A run that crashed may have left the file of a later best; this one goes on from here.
        self.save_best()
    }

    pub(super) fn save(&self) -> Result<PathBuf> {
        let path = checkpoint_path(self.task.config);
        let optimizer = self.learner.optimizer.into_bytes();
        let optimizer = optimizer.map_err(|error| checkpoint::damaged(&path, &error.to_string()))?.to_vec();
        let tensors = self.finite(&self.learner.net)?;
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
        self.ema.as_ref().map_or_else(|| self.learner.net.valid(), |ema: &Ema<N>| ema.net.clone())
    }

    /// The values of a network, which must not reach a file if one isn't a number.
    pub(super) fn finite(&self, net: &N) -> Result<NamedTensors> {
        let tensors = net.to_tensors();
        if tensors.values().flatten().all(|value| value.is_finite()) {
            return Ok(tensors);
        }
        let unknown =
            || Fault { what: "running statistic".to_owned(), layer: "a layer".to_owned(), loss: f32::NAN };
        Err(self.diverged(Fault::of_parameters(net, f32::NAN).unwrap_or_else(unknown)))
    }

    /// Leaves the last network whose loss and gradient were finite in `last-good.safetensors`, beside the checkpoint.
    pub(super) fn diverged(&self, fault: Fault) -> Error {
        let path = self.task.config.out_dir.join("last-good.safetensors");
        let save =
            |net: &N| import::save_tensors(&path, &net.to_tensors(), &[("step", &self.step.to_string())]);
        match self.learner.good.as_ref().map(save) {
            Some(Err(error)) => error,
            saved => {
                let Fault { what, layer, loss } = fault;
                Error::Diverged { step: self.step, loss, what, layer, saved: saved.map(|_| path.clone()) }
            }
        }
    }
}

pub(super) fn checkpoint_path(config: &FitConfig) -> PathBuf {
    config.out_dir.join("checkpoint.safetensors")
}
