//! Random float weights for programs in fixed point: bytes don't depend on values, equality with the plain evaluation does.

use std::collections::BTreeMap;

use rand::{Rng, RngExt};

use super::FloatLayer;
use crate::arch::Arch;

/// Weights uniform with the variance that training starts from (He et al. 2015, arXiv 1502.01852, eq. 10), smaller where a residual
/// is added so that activations stay in range at any depth.
pub fn float_layers(arch: &Arch, rng: &mut impl Rng) -> BTreeMap<String, FloatLayer> {
    let mut layers = BTreeMap::new();
    for node in &arch.nodes {
        let Some(conv) = node.op.as_conv() else { continue };
        let (outs, inner) = (conv.out_channels, conv.in_channels * conv.kernel * conv.kernel);
        let gain = if conv.shortcut.is_some() { 0.25 } else { 1.0 };
        let bound = gain * (6.0 / inner as f32).sqrt();
        let mut draw =
            |count: usize, bound: f32| (0..count).map(|_| rng.random_range(-bound..=bound)).collect();
        let layer = FloatLayer { weights: draw(outs * inner, bound), bias: draw(outs, 0.05) };
        layers.insert(node.name.clone(), layer);
    }
    layers
}
