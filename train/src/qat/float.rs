//! The float network that a quantized one rounds.

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};

use super::QatNet;
use crate::curvature::{FloatTaps, TapLayer};

impl QatNet {
    /// The float network that this one rounds.
    #[must_use]
    pub fn float_network(&self) -> FloatTaps {
        let device = self.device().without_autodiff().autodiff();
        let net = self.clone().valid();
        let layers = net.specs.iter().zip(&net.layers).enumerate().map(|(index, (spec, layer))| {
            let bias = Tensor::from_data(layer.folded().1.into_data(), &device);
            TapLayer::new(&spec.name, &net.float_taps(index), bias, spec.geometry, spec.act_bits.is_some())
        });
        FloatTaps {
            arch: self.arch.clone(),
            layers: layers.collect(),
            normalization: self.normalization,
            device,
        }
    }

    /// Tap weights `[positions, out, in]` before quantization, as this device's forward pass computes them: the input's
    /// constant factors, then `(G⊗G)·w`.
    pub(super) fn float_taps(&self, index: usize) -> Vec<f32> {
        let (spec, (weight, _)) = (&self.specs[index], self.layers[index].folded());
        let values = |tensor: TensorData| tensor.iter::<f32>().collect::<Vec<f32>>();
        if self.has_kernels(&weight.device()) {
            return spec.tap_map.taps(&values(weight.into_data()));
        }
        values(spec.generic_taps(weight).into_data())
    }
}
