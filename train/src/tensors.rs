//! Named host tensors: what files hold and networks are built from.

use std::collections::BTreeMap;

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use ndarray::ArrayD;

/// Tensors by state-dict key (`layer1.0.conv1.weight`), row-major.
pub type NamedTensors = BTreeMap<String, ArrayD<f32>>;

/// Makes parameters with reproducible ids (1, 2, … in construction order), so that an optimizer state saved in one
/// process fits the same network built in another.
pub(crate) struct ParamMaker<'a> {
    device: &'a Device,
    next: u64,
}

impl<'a> ParamMaker<'a> {
    pub(crate) fn new(device: &'a Device) -> Self {
        Self { device, next: 1 }
    }

    pub(crate) fn device(&self) -> &Device {
        self.device
    }

    /// A trainable parameter; `array` must have `D` dimensions.
    pub(crate) fn make<const D: usize>(&mut self, array: &ArrayD<f32>) -> Param<Tensor<D>> {
        let id = ParamId::from(self.next);
        self.next += 1;
        Param::initialized(id, to_device(array, self.device)).set_require_grad(true)
    }
}

/// Copies a host tensor to a device; `array` must have `D` dimensions.
pub(crate) fn to_device<const D: usize>(array: &ArrayD<f32>, device: &Device) -> Tensor<D> {
    let data = TensorData::new(array.iter().copied().collect::<Vec<f32>>(), array.shape().to_vec());
    Tensor::from_data(data, device)
}

/// Copies a float tensor to the host.
pub(crate) fn to_host<const D: usize>(tensor: &Tensor<D>) -> ArrayD<f32> {
    let shape = tensor.dims();
    let values: Vec<f32> = tensor.to_data_as::<f32>().iter::<f32>().collect();
    ArrayD::from_shape_vec(shape.as_slice(), values).expect("a tensor has as many values as its shape says")
}
