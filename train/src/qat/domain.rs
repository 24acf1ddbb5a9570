//! In which domain weights are trained: as kernels, or as the taps that are quantized.

use eqo_checkpoints::arch::Arch;
use eqo_checkpoints::plan::BitPlan;
use ndarray::{Array2, ArrayD};
use serde::{Deserialize, Serialize};

use super::{QatNet, spec};
use crate::Result;
use crate::classifier::Classifier;
use crate::kernels::TapMap;
use crate::tensors::NamedTensors;

/// What is trained of a Winograd convolution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Domain {
    /// Its kernel w; the taps `(G⊗G)·w` follow.
    #[default]
    Spatial,
    /// Its t² taps for each pair of channels, independently: more parameters than a kernel has, none of which costs
    /// anything at inference, where the quantized taps are stored and multiplied anyway (Liu et al. 2018 trained so for
    /// sparsity). Starts as the taps of the kernel.
    Winograd,
}

impl Domain {
    /// The domain of these weights.
    pub(super) fn of(arch: &Arch, plan: &BitPlan, tensors: &NamedTensors) -> Self {
        let trains_taps = |name: &str| {
            let transform = plan.layers.get(name)?.algorithm.transform()?;
            Some(tensors.get(&format!("{name}.weight"))?.shape().last() == Some(&transform.tile))
        };
        let trains_taps = arch.nodes.iter().any(|node| trains_taps(&node.name) == Some(true));
        if trains_taps { Self::Winograd } else { Self::Spatial }
    }
}

impl QatNet {
    /// The same network with its taps as weights; the domain can't be left again. Exponents are chosen anew by least
    /// squared error.
    ///
    /// # Errors
    /// None if the network is one of this library's.
    pub fn in_winograd_domain(&self) -> Result<Self> {
        let mut tensors = self.to_tensors();
        let specs = spec::layer_specs(&self.arch, &self.plan, &self.normalization, Domain::Winograd)?;
        for (before, after) in
            self.specs.iter().zip(&specs).filter(|(before, after)| before.side != after.side)
        {
            if let Some(weight) = tensors.get_mut(&format!("{}.weight", after.name)) {
                *weight = taps_of(weight, before, after);
            }
        }
        let device = self.device();
        self.with_tensors(&tensors, "taps", &device)?.with_best_steps(&device)
    }
}

/// `[out, in, t, t]` from the kernels `[out, in, k, k]`, without the input's factors, as kernels are.
fn taps_of(kernels: &ArrayD<f32>, before: &spec::LayerSpec, after: &spec::LayerSpec) -> ArrayD<f32> {
    let ones = vec![1.0; before.shape[1]];
    let map = TapMap::new(before.shape, before.geometry.algorithm.transform().as_ref(), &ones);
    let taps = map.taps(&kernels.iter().copied().collect::<Vec<f32>>());
    let pairs = before.shape[0] * before.shape[1];
    let by_tap = Array2::from_shape_vec([taps.len() / pairs, pairs], taps).expect("a tap for each pair");
    let by_pair: Vec<f32> = by_tap.t().iter().copied().collect();
    ArrayD::from_shape_vec(after.trained_shape().as_slice(), by_pair).expect("t² taps for each pair")
}
