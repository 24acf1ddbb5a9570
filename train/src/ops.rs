//! Custom Burn operations over the CPU kernels, each with its own backward pass.
//!
//! Tensors are `[channels, height, width, images]`. Only the flex backend has them; [`runs_here`] says whether a tensor
//! can take this way, and the generic formulations ([`crate::winograd`], [`crate::quantizer`]) are the other.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{Device, Tensor};

mod activation;
mod convolution;
mod norm;
mod raw;

pub(crate) use convolution::{ConvSpec, Rounding};

use crate::kernels::{ActivationQuantizer, Normalizer};

/// Operations with a kernel of their own.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait KernelOps: Backend {
    /// Convolution with weights and bias fake-quantized as `spec` says.
    fn convolve(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        log2_step: FloatTensor<Self>,
        spec: ConvSpec,
    ) -> FloatTensor<Self>;

    /// Fake quantization of an activation.
    fn quantize_activation(
        x: FloatTensor<Self>,
        log2_scale: FloatTensor<Self>,
        quantizer: ActivationQuantizer,
    ) -> FloatTensor<Self>;

    /// Normalization of each channel, then a ReLU if `normalizer` says so.
    fn normalize(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        normalizer: Normalizer,
    ) -> FloatTensor<Self>;
}

/// Operations that no gradient flows through.
#[backend_extension(Flex)]
pub(crate) trait StatisticsOps: Backend {
    /// Mean and biased variance of each channel, `[2, channels]`.
    fn moments(x: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// Whether tensors of this device can go through the kernels.
pub(crate) fn runs_here(device: &Device) -> bool {
    device.clone().without_autodiff() == Device::flex()
}

/// `[out, h', w', images]`: the convolution of `x` `[in, h, w, images]` by `weight` `[out, in, k, k]`, plus `bias` `[out]`.
///
/// `log2_step` `[rows, groups]` gets the gradient of the steps' logarithms; their values in force are in `spec`.
pub(crate) fn convolve(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    log2_step: Tensor<2>,
    spec: ConvSpec,
) -> Tensor<4> {
    let [x, weight] = [x, weight].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::convolve(
        x,
        weight,
        bias.into_dispatch(),
        log2_step.into_dispatch(),
        spec,
    ))
}

/// As [`crate::quantizer::quantize_activation`].
pub(crate) fn quantize_activation(
    x: Tensor<4>,
    log2_scale: Tensor<1>,
    quantizer: ActivationQuantizer,
) -> Tensor<4> {
    let (x, log2_scale) = (x.into_dispatch(), log2_scale.into_dispatch());
    Tensor::from_dispatch(Dispatch::quantize_activation(x, log2_scale, quantizer))
}

/// Batch normalization of `x` `[channels, height, width, images]`, then a ReLU if `normalizer` says so.
pub(crate) fn normalize(
    x: Tensor<4>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    normalizer: Normalizer,
) -> Tensor<4> {
    let [gamma, beta] = [gamma, beta].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::normalize(x.into_dispatch(), gamma, beta, normalizer))
}

/// Mean and biased variance of each channel, `[2, channels]`, without automatic differentiation.
pub(crate) fn moments(x: Tensor<4>) -> Tensor<2> {
    let x = if x.is_autodiff() { x.inner() } else { x };
    Tensor::from_dispatch(Dispatch::moments(x.into_dispatch()))
}

impl StatisticsOps for Flex {
    fn moments(x: FloatTensor<Self>) -> FloatTensor<Self> {
        norm::moments(x)
    }
}

impl KernelOps for Flex {
    fn convolve(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        _: FloatTensor<Self>,
        spec: ConvSpec,
    ) -> FloatTensor<Self> {
        convolution::forward(x, weight, bias, &spec)
    }

    fn quantize_activation(
        x: FloatTensor<Self>,
        _: FloatTensor<Self>,
        quantizer: ActivationQuantizer,
    ) -> FloatTensor<Self> {
        activation::forward(x, quantizer)
    }

    fn normalize(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        normalizer: Normalizer,
    ) -> FloatTensor<Self> {
        norm::forward([x, gamma, beta], &normalizer)
    }
}

impl<C: CheckpointStrategy> KernelOps for Autodiff<Flex, C> {
    fn convolve(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        log2_step: FloatTensor<Self>,
        spec: ConvSpec,
    ) -> FloatTensor<Self> {
        convolution::tracked::<C>([x, weight, bias, log2_step], spec)
    }

    fn quantize_activation(
        x: FloatTensor<Self>,
        log2_scale: FloatTensor<Self>,
        quantizer: ActivationQuantizer,
    ) -> FloatTensor<Self> {
        activation::tracked::<C>(x, log2_scale, quantizer)
    }

    fn normalize(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        normalizer: Normalizer,
    ) -> FloatTensor<Self> {
        norm::tracked::<C>([x, gamma, beta], normalizer)
    }
}
