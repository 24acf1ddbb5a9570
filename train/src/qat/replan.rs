//! The same network at other bits: where a gradual lowering of the bits goes on.

use eqo_checkpoints::plan::BitPlan;
use ndarray::ArrayD;

use super::spec::layer_specs;
use super::{Domain, QatNet};
use crate::Result;
use crate::classifier::Classifier;

impl QatNet {
    /// This network's weights, biases and activation scales, quantized as `plan` says, on the same device.
    ///
    /// Weight exponents are chosen anew by least squared error. An activation whose bits change keeps its range: its
    /// scale is multiplied by `2^(bits before − bits after)`.
    ///
    /// # Errors
    /// [`crate::Error::Plan`] for a plan this quantizer can't follow.
    pub fn replan(&self, plan: &BitPlan) -> Result<Self> {
        let mut tensors = self.to_tensors();
        let domain = Domain::of(&self.arch, &self.plan, &tensors);
        let specs = layer_specs(&self.arch, plan, &self.normalization, domain)?;
        for (before, after) in self.specs.iter().zip(&specs) {
            tensors.insert(format!("{}.log2_step", after.name), ArrayD::zeros(after.step_shape().as_slice()));
            if let (Some(from), Some(to), Some(scale)) =
                (before.act_bits, after.act_bits, tensors.get_mut(&format!("{}.log2_scale", after.name)))
            {
                *scale += f32::from(from) - f32::from(to);
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
