//! `eqo train --lr-find`: the loss over the learning rate, before any training of the stage.

use eqo_train::fit::{Curve, FitConfig, LrFind, Teacher};
use eqo_train::{Classifier, Layers};

use super::{Hooks, Pipeline, report};
use crate::Error;

/// First and last learning rate of a sweep.
const RANGE: [f64; 2] = [1e-6, 1.0];
/// Steps of a sweep.
const STEPS: usize = 200;

impl Pipeline {
    /// Sweeps the learning rate of the float training, from the weights it would start at; writes `<out>/lr_find.csv`.
    ///
    /// # Errors
    /// Unreadable weights, unwritable output.
    pub fn lr_find_float(&self, hooks: &Hooks<'_>) -> Result<Curve, Error> {
        let config = self.fit_config(&self.recipe.float, "float", String::new());
        self.sweep(&self.initial_net()?, None, &config, hooks)
    }

    /// Sweeps the learning rate of the first phase of quantization-aware training; runs the float stage first if it isn't
    /// fresh. Writes `<out>/lr_find.csv`.
    ///
    /// # Errors
    /// As [`Pipeline::train_float`].
    pub fn lr_find_qat(&mut self, hooks: &Hooks<'_>) -> Result<Curve, Error> {
        let float = self.train_float(hooks)?;
        let phases = self.phases();
        let net = self.rings(&phases[0].plan).within(&self.calibrated(&float, &phases[0].plan)?)?;
        let config = self.fit_config(&phases[0].section, &phases[0].stage, String::new());
        let teacher = self.float_net(&float)?;
        self.sweep(&net, Some(&|pixels| teacher.logits(pixels)), &config, hooks)
    }

    fn sweep<N: Layers>(
        &self,
        net: &N,
        teacher: Option<Teacher<'_>>,
        config: &FitConfig,
        hooks: &Hooks<'_>,
    ) -> Result<Curve, Error> {
        let find = LrFind { teacher, images: &self.images.train, config, range: RANGE, steps: STEPS };
        let mut progress = |done, total| report(hooks, "lr-find", done, total);
        let curve = find.run(net, hooks.stop, &mut progress)?;
        curve.write_csv(&self.out.join("lr_find.csv"))?;
        Ok(curve)
    }
}
