//! Accuracy of float weights, on Burn.

use eqo_datasets::{Dataset, Normalization};
use eqo_train::device::device_by_name;
use eqo_train::evaluate::{Score, evaluate};
use eqo_train::net::Net;
use eqo_train::recipe::{ModelSection, Recipe};
use eqo_train::tensors::NamedTensors;

use crate::exit::Failure;
use crate::progress::Progress;

/// How float weights become a network.
pub(crate) struct Network<'a> {
    /// The architecture, and the file that has it if it is an ONNX model's.
    pub(crate) model: &'a ModelSection,
    /// What turns pixels into its input.
    pub(crate) normalization: Normalization,
    /// Name of the device.
    pub(crate) device: &'a str,
}

impl<'a> Network<'a> {
    /// The network of a recipe.
    pub(crate) fn of(recipe: &'a Recipe) -> Self {
        let normalization = Normalization { mean: recipe.data.mean, std: recipe.data.std };
        Self { model: &recipe.model, normalization, device: &recipe.device }
    }

    /// How many images of `dataset` the network with `tensors`, which come from `origin`, classifies correctly.
    pub(crate) fn score(
        &self,
        tensors: &NamedTensors,
        origin: &str,
        dataset: &Dataset,
    ) -> Result<Score, Failure> {
        let arch = self.model.architecture(Some(dataset.classes().len()))?;
        let device = device_by_name(self.device)?;
        let net = Net::from_tensors(&arch, self.normalization, tensors, origin, &device)?;
        let bar = Progress::new("evaluate");
        Ok(evaluate(&net, dataset, &device, &mut |done, total| bar.set(done, total))?)
    }
}
