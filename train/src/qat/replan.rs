//! The same network at other bits: where a gradual lowering of the bits goes on.

use eqo_checkpoints::plan::BitPlan;
use ndarray::ArrayD;

use super::spec::layer_specs;
use super::{Domain, QatNet};
use crate::Result;
use crate::classifier::Classifier;
use crate::tensors::to_host;

impl QatNet {
    /// This network's weights, biases and activation scales, quantized as `plan` says, on the same device.
    ///
    /// Weight exponents are chosen anew by least squared error. An activation whose bits change keeps its range: its
    /// scale is multiplied by `2^(bits before − bits after)`.
    ///
    /// # Errors
    /// [`crate::Error::Plan`] for a plan this quantizer can't follow.
    pub fn replan(&self, plan: &BitPlan) -> Result<Self> {
        let scale = |index: usize, bits: u8| {
            let (layer, spec) = (&self.layers[index], &self.specs[index]);
            let before = to_host(&layer.log2_scale.as_ref()?.val())[[0]];
            Some(before + f32::from(spec.act_bits?) - f32::from(bits))
        };
        self.replan_at(plan, &scale)
    }

    /// The same with activation scales whose logarithm is `log2_scale(layer, bits)`, where that is something.
    ///
    /// # Errors
    /// As [`QatNet::replan`].
    pub fn replan_at(&self, plan: &BitPlan, log2_scale: &dyn Fn(usize, u8) -> Option<f32>) -> Result<Self> {
        let mut tensors = self.to_tensors();
        let domain = Domain::of(&self.arch, &self.plan, &tensors);
        let specs = layer_specs(&self.arch, plan, &self.normalization, domain)?;
        for (index, spec) in specs.iter().enumerate() {
            tensors.insert(format!("{}.log2_step", spec.name), ArrayD::zeros(spec.step_shape().as_slice()));
            if let Some(scale) = spec.act_bits.and_then(|bits| log2_scale(index, bits)) {
                tensors.insert(format!("{}.log2_scale", spec.name), ArrayD::from_elem(vec![1], scale));
            }
        }
        let device = self.device();
        let net = Self::from_tensors(&self.arch, plan, self.normalization, &tensors, "replan", &device)?;
        net.with_best_steps(&device)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use crate::classifier::Classifier;
    use crate::qat::tests::net;
    use crate::testing::tiny_arch;
    use eqo_checkpoints::plan::BitPlan;

    #[test]
    fn replanning_equals_starting_at_the_new_bits_from_the_same_scales() {
        let device = Device::flex();
        let fine = net(8, 6, &device);
        let coarse = fine.replan(&BitPlan::uniform(&tiny_arch(), 3, 6)).unwrap();
        // Both start from the same folded weights and the same calibrated scales, so the exponents must agree too.
        assert_eq!(coarse.to_tensors(), net(3, 6, &device).to_tensors());
        assert_ne!(coarse.to_tensors(), fine.to_tensors());
        assert_eq!(coarse.plan().layers["stem"].weight_bits, 8);
    }

    #[test]
    fn an_activation_with_fewer_bits_keeps_its_range() {
        let fine = net(4, 6, &Device::flex());
        let coarse = fine.replan(&BitPlan::uniform(&tiny_arch(), 4, 3)).unwrap();
        let [before, after] = [&fine, &coarse].map(|net| net.to_tensors()["stem.log2_scale"][[0]]);
        assert_eq!(after, before + 3.0);
        assert!(fine.replan(&BitPlan::default()).is_err());
    }
}
