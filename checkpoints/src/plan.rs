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
    /// Bits of a weight code, 2 to 8 (from 1 with `mid_rise`); the most of any tap where taps have their own.
    pub weight_bits: u8,
    /// Bits of each tap's codes, t² of them by rows, two's complement: taps of low frequencies are worth more. Weights of a tap
    /// without bits are 0. For Winograd layers without `exponents`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tap_bits: Option<Vec<u8>>,
    /// Bits of the activation this layer puts out, 2 to 8; ignored where the output is an accumulator (logits).
    pub act_bits: u8,
    /// Exponents `k_i` of the weight bits (bit re-weighting, DESIGN §2); `None` is two's complement, `k_i = i`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exponents: Option<Vec<u8>>,
    /// Whether weights lie half a step above their codes: without a zero, but symmetric (a mid-rise quantizer). At 2 and
    /// 3 bits that rounds normal weights with a fifth and a twentieth less error, for a wider ring by one bit.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mid_rise: bool,
    /// Widest ring that training leaves to any of its accumulators; `None`: as wide as its weights need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring_bits: Option<u8>,
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
                let weight_bits = if index == 0 || index == last { 8 } else { weight_bits };
                let layer = LayerPlan {
                    algorithm: Algorithm::Direct,
                    weight_bits,
                    tap_bits: None,
                    act_bits,
                    exponents: None,
                    mid_rise: false,
                    ring_bits: None,
                };
                (node.name.clone(), layer)
            })
            .collect();
        Self { layers }.with_tiles(arch, Algorithm::F2x2)
    }

    /// The same bits, with every convolution of `arch` arranged by [`Algorithm::beside`].
    #[must_use]
    pub fn with_tiles(mut self, arch: &Arch, algorithm: Algorithm) -> Self {
        for node in &arch.nodes {
            if let (ArchOp::Conv(conv), Some(layer)) = (&node.op, self.layers.get_mut(&node.name)) {
                layer.algorithm = algorithm.beside(conv.kernel, conv.stride);
            }
        }
        self
    }
}

impl LayerPlan {
    /// The exponents in force, one list for all taps or one for each: the chosen ones or two's complement; one more each for
    /// mid-rise, whose unit is half a step.
    pub fn weight_exponents(&self) -> Vec<Vec<u8>> {
        let consecutive = |&bits: &u8| (0..bits).collect();
        let lists: Vec<Vec<u8>> = match (&self.tap_bits, &self.exponents) {
            (Some(bits), _) => bits.iter().map(consecutive).collect(),
            (None, Some(exponents)) => vec![exponents.clone()],
            (None, None) => vec![consecutive(&self.weight_bits)],
        };
        let raised = |exponent: u8| exponent.saturating_add(self.weight_offset());
        lists.into_iter().map(|list| list.into_iter().map(raised).collect()).collect()
    }

    /// The same with `bits` for every weight, two's complement or mid-rise as before.
    #[must_use]
    pub fn with_weight_bits(self, bits: u8) -> Self {
        Self { weight_bits: bits, tap_bits: None, exponents: None, ..self }
    }

    /// Bits of a weight code, the mean over taps.
    pub fn mean_bits(&self) -> f64 {
        match &self.tap_bits {
            Some(bits) => bits.iter().map(|&bits| f64::from(bits)).sum::<f64>() / bits.len().max(1) as f64,
            None => f64::from(self.weight_bits),
        }
    }

    /// What is added to the value of every code: 1 for mid-rise.
    pub fn weight_offset(&self) -> u8 {
        u8::from(self.mid_rise)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codebook::Codebook;

    #[test]
    fn mid_rise_weights_are_the_codes_and_a_half_in_half_steps() {
        let mut layer = LayerPlan {
            algorithm: Algorithm::F2x2,
            weight_bits: 2,
            tap_bits: None,
            act_bits: 6,
            exponents: None,
            mid_rise: false,
            ring_bits: None,
        };
        let values = |layer: &LayerPlan| {
            Codebook::new(&layer.weight_exponents()[0], layer.weight_offset()).values().to_vec()
        };
        assert_eq!(values(&layer), [-2.0, -1.0, 0.0, 1.0]);
        layer.mid_rise = true;
        assert_eq!(values(&layer), [-3.0, -1.0, 1.0, 3.0]);
        layer.exponents = Some(vec![0, 2]);
        assert_eq!(values(&layer), [-7.0, -5.0, 1.0, 3.0]);
    }
}
