//! What a finished run is worth: verification on calibration images, accuracy on test images.

use eqo_checkpoints::engine::{Engine, class_of};
use eqo_train::evaluate::{Score, evaluate};
use eqo_train::tensors::NamedTensors;
use eqo_train::{QatNet, fit, import};

use super::{Hooks, Pipeline, report};
use crate::Error;
use crate::report::{Accuracy, QuantizeReport};
use crate::verify::{Verified, verify};

/// Calibration images whose every tensor is compared before a checkpoint is exported.
const VERIFIED_IMAGES: usize = 64;

impl Pipeline {
    pub(super) fn verify(&self, engine: &Engine, net: &QatNet) -> Result<Verified, Error> {
        let calibration = &self.images.calibration;
        let count = calibration.len().min(VERIFIED_IMAGES);
        let images: Vec<&[u8]> = (0..count).map(|index| calibration.image(index)).collect();
        verify(engine, &images, &net.trace(&images.concat())?)
    }

    pub(super) fn integer_score(&self, engine: &Engine, hooks: &Hooks<'_>) -> Result<Score, Error> {
        let test = &self.images.test;
        let progress = |done, total| report(hooks, "evaluate integer", done, total);
        let logits = engine.run_all(test.pixels(), &progress)?;
        let hits = logits
            .iter()
            .zip(test.labels())
            .filter(|&(logits, &label)| class_of(logits) == usize::from(label));
        Ok(Score { correct: hits.count(), total: test.len() })
    }

    pub(super) fn float_score(
        &self,
        stage: &str,
        tensors: &NamedTensors,
        hooks: &Hooks<'_>,
    ) -> Result<Accuracy, Error> {
        let net = self.float_net(tensors)?;
        let mut progress = |done, total| report(hooks, stage, done, total);
        Ok(evaluate(&net, &self.images.test, &self.device, &mut progress)?.into())
    }

    pub(super) fn imported_score(&self, hooks: &Hooks<'_>) -> Result<Option<Accuracy>, Error> {
        let Some(path) = &self.recipe.model.weights else { return Ok(None) };
        self.float_score("evaluate imported", &import::read_network(path, &self.arch)?, hooks).map(Some)
    }

    /// The test accuracies beside the curves of the stages that were trained.
    pub(super) fn record_test(&self, report: &QuantizeReport) -> Result<(), Error> {
        let stages = [
            ("float", "float", self.recipe.float.steps, report.float),
            ("qat", "integer", self.recipe.qat.fit.steps, report.integer),
        ];
        for (stage, network, steps, score) in stages {
            let dir = self.out.join(stage);
            if steps > 0 && dir.is_dir() {
                fit::record_test_accuracy(&dir, network, steps, score.accuracy)?;
            }
        }
        Ok(())
    }
}
