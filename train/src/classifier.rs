//! What training and evaluation need of a network, float or quantized.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use crate::Result;
use crate::tensors::NamedTensors;

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
    /// [`crate::Error::StateDict`] if names or shapes differ.
    fn with_tensors(&self, tensors: &NamedTensors, origin: &str, device: &Device) -> Result<Self>;
}
