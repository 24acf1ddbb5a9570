//! Batch normalization as a step of training: statistics of the batch, running ones on the side.

use burn::module::{Module, RunningState};
use burn::tensor::{Device, Tensor, activation};
use ndarray::ArrayD;

use crate::kernels::Normalizer;
use crate::ops;
use crate::tensors::{NamedTensors, to_device, to_host};

/// PyTorch's default, as in the networks people import.
pub const EPSILON: f32 = 1e-5;
/// How much of the running statistics a batch replaces; PyTorch's default.
const MOMENTUM: f64 = 0.1;

/// Mean and biased variance of each channel, followed over the batches.
#[derive(Module, Debug)]
pub(crate) struct Running {
    pub(crate) mean: RunningState<Tensor<1>>,
    pub(crate) variance: RunningState<Tensor<1>>,
}

impl Running {
    /// The tensors of these names.
    pub(crate) fn from_tensors(
        tensors: &NamedTensors,
        [mean, variance]: [&String; 2],
        device: &Device,
    ) -> Self {
        let state = |name: &String| RunningState::new(to_device(&tensors[name], device));
        Self { mean: state(mean), variance: state(variance) }
    }

    /// Mean and variance.
    pub(crate) fn to_host(&self) -> [ArrayD<f32>; 2] {
        [&self.mean, &self.variance].map(|state| to_host(&state.value_sync()))
    }

    /// `γ·(x − mean)/√(variance + ε) + β` for `x` `[channels, height, width, images]`, then a ReLU if `relu` says so.
    ///
    /// On a training device mean and variance are those of the batch, gradients flow through them, and the running ones
    /// move towards them; otherwise the running ones are in force.
    pub(crate) fn normalize(&self, x: Tensor<4>, [gamma, beta]: [Tensor<1>; 2], relu: bool) -> Tensor<4> {
        let ones = self.mean.value().ones_like();
        if ops::runs_here(&x.device()) {
            return self.normalize_multiple(x, ones, [gamma, beta], relu);
        }
        let y = self.normalize_generic(x, ones, [gamma, beta]);
        if relu { activation::relu(y) } else { y }
    }

    /// The same of `x/factor`, `factor` `[channels]` without zeros, where the kernels run.
    pub(crate) fn normalize_multiple(
        &self,
        x: Tensor<4>,
        factor: Tensor<1>,
        [gamma, beta]: [Tensor<1>; 2],
        relu: bool,
    ) -> Tensor<4> {
        let of_batch = x.device().is_autodiff();
        let factor = if factor.is_autodiff() { factor.inner() } else { factor };
        let [mean, variance] = if of_batch {
            let moments = ops::moments(x.clone());
            let [_, channels] = moments.dims();
            let part = |row: usize| moments.clone().slice([row..row + 1, 0..channels]).reshape([channels]);
            let found = [part(0) / factor.clone(), part(1) / factor.clone().square()];
            self.follow(found.clone());
            found
        } else {
            [self.mean.value(), self.variance.value()]
        };
        let values = |tensor: Tensor<1>| tensor.into_data().iter::<f32>().collect::<Vec<f32>>();
        let (factor, mean, variance) = (values(factor), values(mean), values(variance));
        let mean = mean.iter().zip(&factor).map(|(mean, factor)| mean * factor).collect();
        let inverse = variance.iter().zip(&factor);
        let inverse =
            inverse.map(|(variance, factor)| 1.0 / ((variance + EPSILON).sqrt() * factor)).collect();
        ops::normalize(x, gamma, beta, Normalizer { mean, inverse, of_batch, relu })
    }

    /// [`Self::normalize_multiple`] by operations that any device has, without the ReLU.
    pub(crate) fn normalize_generic(
        &self,
        x: Tensor<4>,
        factor: Tensor<1>,
        parameters: [Tensor<1>; 2],
    ) -> Tensor<4> {
        let of_batch = x.device().is_autodiff();
        let channels = |tensor: Tensor<1>| {
            let [count] = tensor.dims();
            tensor.reshape([count, 1, 1, 1])
        };
        let [gamma, beta] = parameters.map(channels);
        let x = x / channels(factor);
        let average = |x: Tensor<4>| x.mean_dim(1).mean_dim(2).mean_dim(3);
        let [mean, variance] = if of_batch {
            let mean = average(x.clone());
            let variance = average((x.clone() - mean.clone()).square());
            self.follow([mean.clone(), variance.clone()].map(|part| part.flatten(0, 3)));
            [mean, variance]
        } else {
            [self.mean.value(), self.variance.value()].map(channels)
        };
        (x - mean) / (variance + EPSILON).sqrt() * gamma + beta
    }

    fn follow(&self, found: [Tensor<1>; 2]) {
        for (running, found) in [&self.mean, &self.variance].into_iter().zip(found) {
            let before = running.value_sync();
            let found = found.to_device(&before.device()).mul_scalar(MOMENTUM);
            running.update((before.mul_scalar(1.0 - MOMENTUM) + found).detach());
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Distribution, Shape};

    use super::*;

    #[test]
    fn kernel_and_generic_operations_agree_in_values_gradients_and_running_statistics() {
        let device = Device::flex().autodiff();
        let random = |shape: Shape| Tensor::<4>::random(shape, Distribution::Normal(0.5, 2.0), &device);
        let x = random([3, 4, 5, 2].into());
        let upstream = random([3, 4, 5, 2].into());
        let parameter = |values: [f32; 3]| Tensor::<1>::from_floats(values, &device).require_grad();
        let found = [false, true].map(|generic| {
            let state = |value: f32| RunningState::new(Tensor::full([3], value, &device));
            let running = Running { mean: state(0.25), variance: state(2.0) };
            let x = x.clone().require_grad();
            let (gamma, beta) = (parameter([1.0, -0.5, 2.0]), parameter([0.0, 0.3, -1.0]));
            let parameters = [gamma.clone(), beta.clone()];
            let factor = Tensor::from_floats([1.0, -0.3, 2.5], &device);
            let y = if generic {
                running.normalize_generic(x.clone(), factor, parameters)
            } else {
                running.normalize_multiple(x.clone(), factor, parameters, false)
            };
            let grads = (y.clone() * upstream.clone()).sum().backward();
            let gradient = |tensor: Tensor<1>| to_host(&tensor.grad(&grads).unwrap());
            let x_gradient = to_host(&x.grad(&grads).unwrap());
            let [mean, variance] = running.to_host();
            [to_host(&y), x_gradient, gradient(gamma), gradient(beta), mean, variance]
        });
        for (kernel, generic) in found[0].iter().zip(&found[1]) {
            let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-4 * b.abs().max(1.0);
            assert!(kernel.iter().zip(generic).all(close), "{kernel} {generic}");
        }
        assert!(found[0][4].iter().all(|mean| *mean != 0.25));
    }
}
