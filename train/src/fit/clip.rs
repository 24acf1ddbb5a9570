//! Clipping of the gradient by its norm over all parameters (Burn clips each parameter by itself).

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// Scales the gradient of `net` so that its norm is at most `limit`; directions stay.
pub(super) fn clip_norm<M: Module>(net: &M, gradients: &mut GradientsParams, limit: f64) {
    let mut measure = Measure { gradients, squares: 0.0 };
    net.visit(&mut measure);
    let norm = measure.squares.sqrt();
    if norm > limit {
        net.visit(&mut Scale { gradients, factor: limit / norm });
    }
}

struct Measure<'a> {
    gradients: &'a GradientsParams,
    squares: f64,
}

impl ModuleVisitor for Measure<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.squares += f64::from(gradient.square().sum().into_scalar::<f32>());
        }
    }
}

struct Scale<'a> {
    gradients: &'a mut GradientsParams,
    factor: f64,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.gradients.register(param.id, gradient * self.factor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::ParamId;
    use burn::tensor::Device;

    #[derive(Module, Debug)]
    struct Two {
        a: Param<Tensor<1>>,
        b: Param<Tensor<2>>,
    }

    fn clipped(limit: f64) -> (Vec<f32>, Vec<f32>) {
        let device = Device::flex();
        let net = Two {
            a: Param::initialized(ParamId::from(1), Tensor::zeros([2], &device)),
            b: Param::initialized(ParamId::from(2), Tensor::zeros([1, 1], &device)),
        };
        let mut gradients = GradientsParams::new();
        gradients.register(net.a.id, Tensor::<1>::from_floats([2.0, 4.0], &device));
        gradients.register(net.b.id, Tensor::<2>::from_floats([[4.0]], &device));
        clip_norm(&net, &mut gradients, limit);
        let (a, b) = (gradients.get::<1>(net.a.id).unwrap(), gradients.get::<2>(net.b.id).unwrap());
        (a.into_data().iter::<f32>().collect(), b.into_data().iter::<f32>().collect())
    }

    #[test]
    fn the_norm_over_all_parameters_becomes_the_limit() {
        assert_eq!(clipped(3.0), (vec![1.0, 2.0], vec![2.0]));
    }

    #[test]
    fn a_small_gradient_is_left_alone() {
        assert_eq!(clipped(6.5), (vec![2.0, 4.0], vec![4.0]));
    }
}
