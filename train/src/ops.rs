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
mod pooling;
mod raw;
mod unit;

pub(crate) use activation::ActivationSpec;
pub(crate) use convolution::{ConvSpec, Rounding};
pub(crate) use unit::UnitSpec;

use crate::kernels::{ActivationQuantizer, Normalizer, Window};

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

    /// The same, plus a shortcut, fake-quantized as an activation.
    #[allow(clippy::too_many_arguments, reason = "the macro wants tensors one by one")]
    fn quantized_unit(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        log2_step: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        log2_scale: FloatTensor<Self>,
        spec: UnitSpec,
    ) -> FloatTensor<Self>;

    /// `x` plus a shortcut, fake-quantized as an activation.
    fn quantize_activation(
        x: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        log2_scale: FloatTensor<Self>,
        spec: ActivationSpec,
    ) -> FloatTensor<Self>;

    /// Normalization of each channel, then a ReLU if `normalizer` says so.
    fn normalize(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        normalizer: Normalizer,
    ) -> FloatTensor<Self>;

    /// The largest value of each window.
    fn max_pool(x: FloatTensor<Self>, window: Window) -> FloatTensor<Self>;
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

/// What a convolution is trained in.
pub(crate) struct Weights {
    /// `[out, in, k, k]`.
    pub(crate) weight: Tensor<4>,
    /// `[out]`.
    pub(crate) bias: Tensor<1>,
    /// `[rows, groups]`: gets the gradient of the steps' logarithms, whose values in force are in [`ConvSpec`].
    pub(crate) log2_step: Tensor<2>,
}

/// `[out, h', w', images]`: the convolution of `x` `[in, h, w, images]`, plus the bias.
pub(crate) fn convolve(x: Tensor<4>, weights: Weights, spec: ConvSpec) -> Tensor<4> {
    let [x, weight] = [x, weights.weight].map(Tensor::into_dispatch);
    let (bias, log2_step) = (weights.bias.into_dispatch(), weights.log2_step.into_dispatch());
    Tensor::from_dispatch(Dispatch::convolve(x, weight, bias, log2_step, spec))
}

/// [`convolve`] plus the shortcut, rounded as [`crate::quantizer::quantize_activation`] does at the scale whose logarithm is
/// `log2_scale`.
pub(crate) fn quantized_unit(
    x: Tensor<4>,
    weights: Weights,
    shortcut: Option<Tensor<4>>,
    log2_scale: Tensor<1>,
    (conv, quantizer): (ConvSpec, ActivationQuantizer),
) -> Tensor<4> {
    let spec = UnitSpec { conv, end: ActivationSpec { quantizer, has_shortcut: shortcut.is_some() } };
    let shortcut = shortcut.unwrap_or_else(|| Tensor::zeros([1; 4], &x.device()));
    let [x, weight, shortcut] = [x, weights.weight, shortcut].map(Tensor::into_dispatch);
    let [bias, log2_scale] = [weights.bias, log2_scale].map(Tensor::into_dispatch);
    let log2_step = weights.log2_step.into_dispatch();
    Tensor::from_dispatch(Dispatch::quantized_unit(x, weight, bias, log2_step, shortcut, log2_scale, spec))
}

/// The end of [`quantized_unit`] alone.
pub(crate) fn quantize_activation(
    x: Tensor<4>,
    shortcut: Option<Tensor<4>>,
    log2_scale: Tensor<1>,
    quantizer: ActivationQuantizer,
) -> Tensor<4> {
    let spec = ActivationSpec { quantizer, has_shortcut: shortcut.is_some() };
    let shortcut = shortcut.unwrap_or_else(|| Tensor::zeros([1; 4], &x.device()));
    let [x, shortcut] = [x, shortcut].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::quantize_activation(x, shortcut, log2_scale.into_dispatch(), spec))
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

/// `[channels, h', w', images]`: the largest value of each window of `x` `[channels, h, w, images]`.
pub(crate) fn max_pool(x: Tensor<4>, window: Window) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::max_pool(x.into_dispatch(), window))
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
        log2_step: FloatTensor<Self>,
        spec: ConvSpec,
    ) -> FloatTensor<Self> {
        convolution::forward([x, weight, bias, log2_step], &spec)
    }

    fn quantized_unit(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        log2_step: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        log2_scale: FloatTensor<Self>,
        spec: UnitSpec,
    ) -> FloatTensor<Self> {
        unit::forward([x, weight, bias, log2_step, shortcut, log2_scale], &spec)
    }

    fn quantize_activation(
        x: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        log2_scale: FloatTensor<Self>,
        spec: ActivationSpec,
    ) -> FloatTensor<Self> {
        activation::forward([x, shortcut, log2_scale], spec)
    }

    fn normalize(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        normalizer: Normalizer,
    ) -> FloatTensor<Self> {
        norm::forward([x, gamma, beta], &normalizer)
    }

    fn max_pool(x: FloatTensor<Self>, window: Window) -> FloatTensor<Self> {
        pooling::forward(x, window)
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

    fn quantized_unit(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        log2_step: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        log2_scale: FloatTensor<Self>,
        spec: UnitSpec,
    ) -> FloatTensor<Self> {
        unit::tracked::<C>([x, weight, bias, log2_step, shortcut, log2_scale], spec)
    }

    fn quantize_activation(
        x: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        log2_scale: FloatTensor<Self>,
        spec: ActivationSpec,
    ) -> FloatTensor<Self> {
        activation::tracked::<C>([x, shortcut, log2_scale], spec)
    }

    fn normalize(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        normalizer: Normalizer,
    ) -> FloatTensor<Self> {
        norm::tracked::<C>([x, gamma, beta], normalizer)
    }

    fn max_pool(x: FloatTensor<Self>, window: Window) -> FloatTensor<Self> {
        pooling::tracked::<C>(x, window)
    }
}
