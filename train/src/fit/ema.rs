//! The exponential moving average of a network's parameters: what is validated, kept and returned when it is in force.
//!
//! Every float value is averaged, the running statistics of batch normalization too (as timm's `ModelEmaV2` does):
//! statistics of the current weights would not fit averaged ones. What isn't trained is left as it was.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// The average; lives on the device without automatic differentiation.
pub(super) struct Ema<N> {
    pub(super) net: N,
    decay: f64,
}

impl<N: Module> Ema<N> {
    /// Starts at the values of `net`.
    pub(super) fn new(net: &N, decay: f64) -> Self {
        Self { net: net.valid(), decay }
    }

    /// Moves the average towards `net`, which has done `step` steps.
    ///
    /// The decay in force is `min(decay, (1 + step)/(10 + step))` (TensorFlow's): early on, the average follows closely
    /// instead of remembering the start.
    pub(super) fn update(&mut self, net: &N, step: usize) {
        let warm = (1.0 + step as f64) / (10.0 + step as f64);
        let mut values = Values { by_position: GradientsParams::new(), next: 0 };
        net.valid().visit(&mut values);
        let mut blend = Blend { values: values.by_position, next: 0, decay: self.decay.min(warm) };
        self.net = self.net.clone().map(&mut blend);
    }
}

/// The values of a network by their position in it: ids of running statistics differ between copies of a network.
struct Values {
    by_position: GradientsParams,
    next: u64,
}

impl ModuleVisitor for Values {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.by_position.register(ParamId::from(self.next), param.val());
        self.next += 1;
    }
}

struct Blend {
    values: GradientsParams,
    next: u64,
    decay: f64,
}

impl ModuleMapper for Blend {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let value = self.values.remove::<D>(ParamId::from(self.next));
        self.next += 1;
        let Some(value) = value else { return param };
        // One rounding less than decay·a + (1 − decay)·b, and equal values stay equal.
        param.map(|average| (value - average.clone()) * (1.0 - self.decay) + average)
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::{BatchNorm, BatchNormConfig};
    use burn::tensor::Device;

    use super::*;

    #[derive(Module, Debug)]
    struct Small {
        weight: Param<Tensor<1>>,
        norm: BatchNorm,
    }

    fn small(weight: f32, mean: f32) -> Small {
        let device = Device::flex().autodiff();
        let mut norm = BatchNormConfig::new(1).init(&device);
        norm.running_mean = burn::module::RunningState::new(Tensor::from_floats([mean], &device));
        let weight = Param::initialized(ParamId::from(1), Tensor::from_floats([weight], &device));
        Small { weight: weight.set_require_grad(true), norm }
    }

    fn values(net: &Small) -> [f32; 2] {
        [net.weight.val(), net.norm.running_mean.value_sync()].map(|value| value.into_scalar::<f32>())
    }

    #[test]
    fn parameters_and_running_statistics_follow_the_recurrence_with_its_warm_up() {
        let mut ema = Ema::new(&small(1.0, 10.0), 0.25);
        let mut want = [1.0_f64, 10.0];
        for step in 1..6 {
            let now = [step as f64 * 2.0, -(step as f64)];
            ema.update(&small(now[0] as f32, now[1] as f32), step);
            let decay = f64::min(0.25, (1.0 + step as f64) / (10.0 + step as f64));
            for (average, value) in want.iter_mut().zip(now) {
                *average = decay * *average + (1.0 - decay) * value;
            }
            let found = values(&ema.net);
            assert!(
                found.iter().zip(want).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-5),
                "{found:?} {want:?}"
            );
        }
    }

    #[test]
    fn a_network_that_does_not_move_is_its_own_average_bit_for_bit() {
        let net = small(0.1, 0.3);
        let mut ema = Ema::new(&net, 0.999);
        (1..50).for_each(|step| ema.update(&net, step));
        assert_eq!(values(&ema.net), values(&net));
        assert!(!ema.net.weight.val().is_autodiff());
    }
}
