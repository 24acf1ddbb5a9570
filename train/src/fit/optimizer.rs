//! Which parameter moves how: the groups of one optimizer.
//!
//! Burn's optimizer and learning rate both take groups of parameters, so that a group with its own rate is exact for
//! any optimizer (a scaled gradient would change nothing under Adam).

use std::collections::BTreeSet;

use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrScheduler};
use burn::module::{Module, ModuleVisitor, Param, ParamGroup, ParamId};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdamWConfig, ModuleOptimizer, SgdConfig};
use burn::tensor::Tensor;

use super::FitConfig;
use crate::recipe::OptimizerKind;

/// Names of the parameters that are logarithms of a scale: of an activation, of weights.
const SCALES: [&str; 2] = ["log2_scale", "log2_step"];

/// Parameters by what they are.
#[derive(Clone)]
pub(super) struct Roles {
    /// Weights of convolutions and linear layers.
    weights: ParamGroup,
    /// Logarithms of scales.
    scales: ParamGroup,
}

impl Roles {
    /// By the last part of each parameter's path in `net`.
    pub(super) fn of<M: Module>(net: &M) -> Self {
        let mut names = Names::default();
        net.visit(&mut names);
        let group = |wanted: &[&str]| {
            let found = names.found.iter().filter(|(name, _)| wanted.contains(&name.as_str()));
            ParamGroup::from_ids(found.map(|(_, id)| *id).collect())
        };
        Self { weights: group(&["weight"]), scales: group(&SCALES) }
    }

    /// The optimizer at its start. Only weights decay: a decayed scale would drift to 1, a decayed bias to nothing.
    pub(super) fn optimizer(&self, config: &FitConfig) -> ModuleOptimizer {
        let weights = self.weights.clone();
        match config.optimizer {
            OptimizerKind::Sgd => {
                // Burn's default dampening of 0.1 is switched off: PyTorch has none.
                let momentum = MomentumConfig::new().with_momentum(config.momentum);
                let momentum = momentum.with_dampening(0.0).with_nesterov(true);
                let plain = SgdConfig::new().with_momentum(Some(momentum));
                let decay = WeightDecayConfig::new(config.weight_decay as f32);
                let decayed = plain.clone().with_weight_decay(Some(decay)).build();
                ModuleOptimizer::from(plain.build()).with_group(weights, decayed, None)
            }
            OptimizerKind::AdamW => {
                let with = |decay: f64| AdamWConfig::new().with_weight_decay(decay as f32).build();
                ModuleOptimizer::from(with(0.0)).with_group(weights, with(config.weight_decay), None)
            }
        }
    }

    /// `rate`, and `scale_rate` times that for scales.
    pub(super) fn rates(&self, config: &FitConfig, rate: f64) -> ModuleLearningRate {
        let scales = self.scales.clone();
        ModuleLrScheduler::new(rate).with_group(scales, rate * config.scale_rate).step()
    }
}

/// The last part of every parameter's path, with its id.
#[derive(Default)]
struct Names {
    path: Vec<String>,
    found: BTreeSet<(String, ParamId)>,
}

impl ModuleVisitor for Names {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(name) = self.path.last() {
            self.found.insert((name.clone(), param.id));
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::optim::GradientsParams;
    use burn::tensor::Device;

    use super::*;
    use crate::fit::tests::config;

    #[derive(Module, Debug)]
    struct Layer {
        weight: Param<Tensor<1>>,
        bias: Param<Tensor<1>>,
        log2_scale: Option<Param<Tensor<1>>>,
    }

    #[derive(Module, Debug)]
    struct Two {
        layers: Vec<Layer>,
    }

    fn two() -> Two {
        let device = Device::flex().autodiff();
        let param = |id: u64, value: f32| {
            Param::initialized(ParamId::from(id), Tensor::from_floats([value], &device))
                .set_require_grad(true)
        };
        let layer = |first: u64, scale| Layer {
            weight: param(first, 1.0),
            bias: param(first + 1, 2.0),
            log2_scale: scale,
        };
        Two { layers: vec![layer(1, Some(param(3, -4.0))), layer(4, None)] }
    }

    fn values(net: &Two) -> Vec<f32> {
        let of = |layer: &Layer| {
            let mut values = vec![layer.weight.val(), layer.bias.val()];
            values.extend(layer.log2_scale.as_ref().map(Param::val));
            values.into_iter().map(|value| value.into_scalar::<f32>()).collect::<Vec<_>>()
        };
        net.layers.iter().flat_map(of).collect()
    }

    /// `steps` steps of rate 0.1 with gradient `gradient` everywhere.
    fn trained(config: &FitConfig, gradient: f32, steps: usize) -> Vec<f32> {
        let mut net = two();
        let roles = Roles::of(&net);
        let mut optimizer = roles.optimizer(config);
        for _ in 0..steps {
            let mut gradients = GradientsParams::new();
            for id in 1..=5_u64 {
                gradients.register(ParamId::from(id), Tensor::<1>::from_floats([gradient], &Device::flex()));
            }
            net = optimizer.step(roles.rates(config, 0.1), net, gradients);
        }
        values(&net)
    }

    fn assert_close(found: &[f32], want: &[f32]) {
        assert!(found.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?} {want:?}");
        assert_eq!(found.len(), want.len());
    }

    #[test]
    fn sgd_decays_weights_only_and_scales_have_their_own_rate() {
        let config = FitConfig { momentum: 0.0, weight_decay: 0.5, scale_rate: 3.0, ..config() };
        // weight: 1 − 0.1·(1 + 0.5·1); bias: 2 − 0.1; scale: −4 − 0.3.
        assert_close(&trained(&config, 1.0, 1), &[0.85, 1.9, -4.3, 0.85, 1.9]);
    }

    #[test]
    fn adamw_decays_weights_only_and_scales_have_their_own_rate() {
        let config =
            FitConfig { optimizer: OptimizerKind::AdamW, weight_decay: 0.5, scale_rate: 3.0, ..config() };
        // A first step of Adam has size 1/(1 + ε/|g|), whatever the gradient; ε is 1e-5.
        let step = 100.0 / (100.0 + 1e-5);
        let want = [0.95 - 0.1 * step, 2.0 - 0.1 * step, -4.0 - 0.3 * step];
        assert_close(&trained(&config, 100.0, 1), &[want[0], want[1], want[2], want[0], want[1]]);
    }

    #[test]
    fn nesterov_momentum_is_that_of_pytorch() {
        let config = FitConfig { momentum: 0.9, weight_decay: 0.0, scale_rate: 0.0, ..config() };
        // v: 1, 1.9; step: g + 0.9·v = 1.9, 2.71.
        let moved = 0.1 * (1.9 + 2.71);
        assert_close(&trained(&config, 1.0, 2), &[1.0 - moved, 2.0 - moved, -4.0, 1.0 - moved, 2.0 - moved]);
    }
}
