//! Images as tensors: raw pixels in batches, and their normalization.

use burn::tensor::{Device, Tensor, TensorData};
use eqo_datasets::{CHANNELS, Dataset, Normalization};

use crate::{Error, Result};

/// Raw pixels `[count, 3, height, width]` in 0..=255 as floats; `pixels` is row-major of that shape.
pub fn to_tensor(pixels: &[u8], [height, width]: [usize; 2], device: &Device) -> Tensor<4> {
    let values: Vec<f32> = pixels.iter().map(|&pixel| f32::from(pixel)).collect();
    let count = pixels.len() / (CHANNELS * height * width);
    Tensor::from_data(TensorData::new(values, [count, CHANNELS, height, width]), device)
}

/// `(x/255 − mean) / std`, as PyTorch computes it.
pub(crate) fn normalize(pixels: Tensor<4>, normalization: &Normalization) -> Tensor<4> {
    let device = pixels.device();
    let channel =
        |values: [f32; CHANNELS]| Tensor::<1>::from_floats(values, &device).reshape([1, CHANNELS, 1, 1]);
    (pixels / 255.0 - channel(normalization.mean)) / channel(normalization.std)
}

/// `x − round(255·mean)`: the integer network's input (DESIGN §2).
pub(crate) fn subtract_offsets(pixels: Tensor<4>, normalization: &Normalization) -> Tensor<4> {
    let offsets = normalization.offsets().map(f32::from);
    let offsets = Tensor::<1>::from_floats(offsets, &pixels.device());
    pixels - offsets.reshape([1, CHANNELS, 1, 1])
}

/// Refuses images of another size than the network's.
pub(crate) fn check_size(dataset: &Dataset, [_, height, width]: [usize; 3]) -> Result<()> {
    if (dataset.height(), dataset.width()) == (height, width) && !dataset.is_empty() {
        return Ok(());
    }
    Err(Error::Data {
        what: "images of the dataset",
        expected: format!("at least one, {height}x{width}"),
        found: format!("{} of {}x{}", dataset.len(), dataset.height(), dataset.width()),
        next: "resize them when opening the dataset, or choose another architecture",
    })
}
