//! Flex tensors as slices of floats.

use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::{DType, Shape, TensorMetadata};
use burn::tensor::Bytes;

/// The tensor's numbers, row-major.
pub(super) struct Numbers(FlexTensor);

impl Numbers {
    /// Copies only what isn't contiguous.
    pub(super) fn of(tensor: FlexTensor) -> Self {
        let length = tensor.shape().num_elements() * size_of::<f32>();
        let whole =
            tensor.is_contiguous() && tensor.layout().start_offset() == 0 && tensor.bytes().len() == length;
        Self(if whole { tensor } else { tensor.to_contiguous() })
    }

    pub(super) fn slice(&self) -> &[f32] {
        &self.0.storage::<f32>()[..self.0.shape().num_elements()]
    }

    /// A vector of the numbers, without copying if nobody else holds the tensor.
    pub(super) fn into_vec(self) -> Vec<f32> {
        self.0.into_data().try_into_vec().expect("float tensors of this backend are float32")
    }

    pub(super) fn dims<const D: usize>(&self) -> [usize; D] {
        self.0.shape().dims()
    }
}

/// A tensor of `values`, row-major.
pub(super) fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(Shape::new(shape)), DType::F32)
}
