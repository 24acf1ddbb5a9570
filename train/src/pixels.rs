//! Images as tensors: raw pixels in batches, and their normalization.

use burn::tensor::{Device, Tensor, TensorData};
use eqo_datasets::{CHANNELS, Dataset, Normalization};

use crate::{Error, Result};

/// Raw pixels `[3, height, width, count]` in 0..=255 as floats; `pixels` is `[count, 3, height, width]`, row-major.
pub fn to_tensor(pixels: &[u8], [height, width]: [usize; 2], device: &Device) -> Tensor<4> {
    let image = CHANNELS * height * width;
    let count = pixels.len() / image;
    let mut values = vec![0.0; pixels.len()];
    for (index, pixels) in pixels.chunks_exact(image).enumerate() {
        let lane = values.iter_mut().skip(index).step_by(count);
        lane.zip(pixels).for_each(|(value, &pixel)| *value = f32::from(pixel));
    }
    Tensor::from_data(TensorData::new(values, [CHANNELS, height, width, count]), device)
}

/// `(x/255 − mean) / std`, as PyTorch computes it.
pub(crate) fn normalize(pixels: Tensor<4>, normalization: &Normalization) -> Tensor<4> {
    let device = pixels.device();
    let channel =
        |values: [f32; CHANNELS]| Tensor::<1>::from_floats(values, &device).reshape([CHANNELS, 1, 1, 1]);
    (pixels / 255.0 - channel(normalization.mean)) / channel(normalization.std)
}

/// `x − round(255·mean)`: the integer network's input (DESIGN §2).
pub(crate) fn subtract_offsets(pixels: Tensor<4>, normalization: &Normalization) -> Tensor<4> {
    let offsets = normalization.offsets().map(f32::from);
    let offsets = Tensor::<1>::from_floats(offsets, &pixels.device());
    pixels - offsets.reshape([CHANNELS, 1, 1, 1])
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
