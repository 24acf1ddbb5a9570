//! The bit plan: what a recipe or the allocator chose for every convolution and linear layer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::arch::{Arch, ArchOp};
use crate::winograd::Algorithm;

/// Bits and algorithm of one layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerPlan {
    /// How the products are arranged.
    pub algorithm: Algorithm,
    /// Bits of a weight code, 2 to 8.
    pub weight_bits: u8,
    /// Bits of the activation this layer puts out, 2 to 8; ignored where the output is an accumulator (logits).
    pub act_bits: u8,
    /// Exponents `k_i` of the weight bits (bit re-weighting, DESIGN §2); `None` is two's complement, `k_i = i`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exponents: Option<Vec<u8>>,
}

/// One [`LayerPlan`] for every convolution and linear node, by node name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BitPlan {
    /// Plans by node name.
    pub layers: BTreeMap<String, LayerPlan>,
}

impl BitPlan {
    /// `weight_bits`/`act_bits` everywhere, 8-bit weights in the first and last layer (DESIGN §2), F(2,3) for
    /// stride-1 3x3 convolutions and direct for the rest.
    pub fn uniform(arch: &Arch, weight_bits: u8, act_bits: u8) -> Self {
        let weighted: Vec<_> =
            arch.nodes.iter().filter(|n| matches!(n.op, ArchOp::Conv(_) | ArchOp::Linear { .. })).collect();
        let last = weighted.len().saturating_sub(1);
        let layers = weighted
            .iter()
            .enumerate()
            .map(|(index, node)| {
                let algorithm = match &node.op {
                    ArchOp::Conv(conv) if conv.kernel == 3 && conv.stride == 1 => Algorithm::F2x2,
                    _ => Algorithm::Direct,
                };
                let weight_bits = if index == 0 || index == last { 8 } else { weight_bits };
                (node.name.clone(), LayerPlan { algorithm, weight_bits, act_bits, exponents: None })
            })
            .collect();
        Self { layers }
    }

    /// The same bits, with `algorithm` (a Winograd one, or direct) wherever this plan has a Winograd one.
    #[must_use]
    pub fn with_tiles(mut self, algorithm: Algorithm) -> Self {
        let tiled = self.layers.values_mut().filter(|layer| layer.algorithm != Algorithm::Direct);
        tiled.for_each(|layer| layer.algorithm = algorithm);
        self
    }
}

impl LayerPlan {
    /// The exponents in force: the chosen ones or two's complement.
    pub fn weight_exponents(&self) -> Vec<u8> {
        self.exponents.clone().unwrap_or_else(|| (0..self.weight_bits).collect())
    }
}
