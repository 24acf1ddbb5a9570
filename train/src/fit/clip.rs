//! Clipping of the gradient by its norm over all parameters (Burn clips each parameter by itself).

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// Scales the gradient of `net` so that its norm is at most `limit`, directions stay; returns the norm before.
///
/// The norm isn't finite where a gradient isn't, or is beyond 1e19 (its square overflows float32); nothing is scaled then.
pub(super) fn clip_norm<M: Module>(net: &M, gradients: &mut GradientsParams, limit: Option<f64>) -> f64 {
    let mut measure = Measure { gradients, squares: Vec::new() };
    net.visit(&mut measure);
    if measure.squares.is_empty() {
        return 0.0;
    }
    // One transfer from the device for all parameters.
    let squares = Tensor::cat(measure.squares, 0).into_data();
    let norm = squares.iter::<f64>().sum::<f64>().sqrt();
    if let Some(limit) = limit.filter(|&limit| norm.is_finite() && norm > limit) {
        net.visit(&mut Scale { gradients, factor: limit / norm });
    }
    norm
}

struct Measure<'a> {
    gradients: &'a GradientsParams,
    squares: Vec<Tensor<1>>,
}

impl ModuleVisitor for Measure<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.squares.push(gradient.square().sum());
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

    fn clipped(limit: Option<f64>) -> (Vec<f32>, Vec<f32>) {
        let device = Device::flex();
        let net = Two {
            a: Param::initialized(ParamId::from(1), Tensor::zeros([2], &device)),
            b: Param::initialized(ParamId::from(2), Tensor::zeros([1, 1], &device)),
        };
        let mut gradients = GradientsParams::new();
        gradients.register(net.a.id, Tensor::<1>::from_floats([2.0, 4.0], &device));
        gradients.register(net.b.id, Tensor::<2>::from_floats([[4.0]], &device));
        assert_eq!(clip_norm(&net, &mut gradients, limit), 6.0);
        let (a, b) = (gradients.get::<1>(net.a.id).unwrap(), gradients.get::<2>(net.b.id).unwrap());
        (a.into_data().iter::<f32>().collect(), b.into_data().iter::<f32>().collect())
    }

    #[test]
    fn the_norm_over_all_parameters_becomes_the_limit() {
        assert_eq!(clipped(Some(3.0)), (vec![1.0, 2.0], vec![2.0]));
    }

    #[test]
    fn a_small_gradient_is_left_alone() {
        assert_eq!(clipped(Some(6.5)), (vec![2.0, 4.0], vec![4.0]));
        assert_eq!(clipped(None), (vec![2.0, 4.0], vec![4.0]));
    }
}
