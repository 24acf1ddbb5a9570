//! What training and evaluation need of a network, float or quantized.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::tensors::NamedTensors;
use crate::{Error, Result};

/// A network from raw pixels to logits.
pub trait Classifier: Module {
    /// Logits `[batch, classes]` for raw pixels `[3, height, width, batch]` in 0..=255.
    fn logits(&self, pixels: Tensor<4>) -> Tensor<2>;

    /// Channels, height and width of its images.
    fn image_shape(&self) -> [usize; 3];

    /// Every value that makes the network what it is, by name.
    fn to_tensors(&self) -> NamedTensors;

    /// The same network with other values, on `device`; `origin` names where `tensors` came from.
    ///
    /// # Errors
    /// [`Error::StateDict`] if names or shapes differ.
    fn with_tensors(&self, tensors: &NamedTensors, origin: &str, device: &Device) -> Result<Self>;
}

/// Refuses labels that have no logit.
pub(crate) fn check_labels(labels: &[u16], classes: usize) -> Result<()> {
    let Some(label) = labels.iter().find(|&&label| usize::from(label) >= classes) else { return Ok(()) };
    Err(Error::Data {
        what: "labels of the dataset",
        expected: format!("below {classes}, the network's classes"),
        found: label.to_string(),
        next: "build the network with as many classes as the dataset",
    })
}
