//! Float weights after every normalization is folded in.

use std::collections::BTreeMap;

use eqo_checkpoints::arch::Arch;
use ndarray::{ArrayD, Axis};

use super::spec::LayerSpec;
use crate::interpret::{weight_shape, weighted_nodes};
use crate::tensors::NamedTensors;
use crate::{Result, state_dict};

/// One layer such that `relu(conv(x, weight) + bias + shortcut)` is the unit, for an image `pixel − offset` and
/// pooling by sums.
#[derive(Clone, Debug, PartialEq)]
pub struct FoldedLayer {
    /// `[out, in, kernel, kernel]`; a linear layer is `[out, in, 1, 1]`.
    pub weight: ArrayD<f32>,
    /// `[out]`.
    pub bias: Vec<f32>,
}

/// Every convolution and linear layer, by node name.
pub type FoldedWeights = BTreeMap<String, FoldedLayer>;

/// The layers as `<node>.weight` and `<node>.bias`, checked against the architecture.
///
/// The input's constant factors are taken out of the weights again ([`LayerSpec::factors`] puts them back in every
/// forward pass): trained with them inside, the first layer would move thousands of times too fast.
pub(super) fn to_tensors(arch: &Arch, specs: &[LayerSpec], folded: &FoldedWeights) -> Result<NamedTensors> {
    let mut tensors = NamedTensors::new();
    for (name, layer) in folded {
        tensors.insert(format!("{name}.weight"), layer.weight.clone());
        tensors.insert(format!("{name}.bias"), ndarray::Array1::from_vec(layer.bias.clone()).into_dyn());
    }
    let mut expected = BTreeMap::new();
    for node in weighted_nodes(arch) {
        let shape = weight_shape(node);
        expected.insert(format!("{}.weight", node.name), shape.to_vec());
        expected.insert(format!("{}.bias", node.name), vec![shape[0]]);
    }
    state_dict::check(&arch.name, &expected, &tensors, "folded weights")?;
    for spec in specs {
        if let Some(weight) = tensors.get_mut(&format!("{}.weight", spec.name)) {
            for (mut channel, factor) in weight.axis_iter_mut(Axis(1)).zip(&spec.factors) {
                channel /= *factor;
            }
        }
    }
    Ok(tensors)
}
