//! Which tensors an architecture has: PyTorch's names and shapes, and the check of a file against them.

use std::collections::BTreeMap;

use eqo_checkpoints::arch::{Arch, ArchNode, ArchOp};
use ndarray::ArrayD;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::interpret::{weight_shape, weighted_nodes};
use crate::tensors::NamedTensors;
use crate::{Error, Result};

/// State-dict keys of one weighted node.
pub(crate) struct Key {
    pub(crate) weight: String,
    /// `[out, in, k, k]` of a convolution, `[out, in]` of a linear layer.
    pub(crate) weight_shape: Vec<usize>,
    pub(crate) bias: Option<String>,
    /// Gamma, beta, running mean, running variance.
    pub(crate) norm: Option<[String; 4]>,
}

impl Key {
    pub(crate) fn of(node: &ArchNode) -> Self {
        let shape = weight_shape(node);
        let (weight_shape, prefix) = match &node.op {
            ArchOp::Conv(conv) => (shape.to_vec(), conv.batch_norm.as_ref()),
            _ => (shape[..2].to_vec(), None),
        };
        let parts = ["weight", "bias", "running_mean", "running_var"];
        Self {
            weight: format!("{}.weight", node.name),
            weight_shape,
            bias: prefix.is_none().then(|| format!("{}.bias", node.name)),
            norm: prefix.map(|prefix| parts.map(|part| format!("{prefix}.{part}"))),
        }
    }
}

/// Name and shape of every tensor of the float network.
pub(crate) fn float_keys(arch: &Arch) -> BTreeMap<String, Vec<usize>> {
    let mut keys = BTreeMap::new();
    for node in weighted_nodes(arch) {
        let key = Key::of(node);
        let out = key.weight_shape[0];
        let vectors = key.bias.into_iter().chain(key.norm.into_iter().flatten());
        keys.extend(vectors.map(|name| (name, vec![out])));
        keys.insert(key.weight, key.weight_shape);
    }
    keys
}

/// Compares names and shapes; PyTorch's `num_batches_tracked` counters are ignored.
pub(crate) fn check(
    arch: &str,
    expected: &BTreeMap<String, Vec<usize>>,
    found: &NamedTensors,
    origin: &str,
) -> Result<()> {
    let mut list = String::new();
    for (name, shape) in expected {
        match found.get(name) {
            None => list += &format!("\n  missing {name} {shape:?}"),
            Some(tensor) if tensor.shape() != shape.as_slice() => {
                list += &format!("\n  {name}: expected shape {shape:?}, found {:?}", tensor.shape());
            }
            Some(tensor) if tensor.iter().any(|value| !value.is_finite()) => {
                list += &format!("\n  {name}: expected finite values, found NaN or infinity");
            }
            Some(_) => {}
        }
    }
    for name in found.keys() {
        if !expected.contains_key(name) && !name.ends_with("num_batches_tracked") {
            list += &format!("\n  unexpected {name}");
        }
    }
    if list.is_empty() {
        return Ok(());
    }
    Err(Error::StateDict { origin: origin.to_owned(), arch: arch.to_owned(), list })
}

/// Initial values: weights and linear biases uniform with He's variance (fan in), BN identity.
pub(crate) fn random(arch: &Arch, seed: u64) -> NamedTensors {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut tensors = NamedTensors::new();
    for node in weighted_nodes(arch) {
        let key = Key::of(node);
        let out = key.weight_shape[0];
        let fan_in: usize = key.weight_shape[1..].iter().product();
        let bound = (6.0 / fan_in as f32).sqrt();
        let weight = ArrayD::from_shape_simple_fn(key.weight_shape, || rng.random_range(-bound..bound));
        tensors.insert(key.weight, weight);
        if let Some(name) = key.bias {
            tensors.insert(name, ArrayD::zeros(vec![out]));
        }
        if let Some([gamma, beta, mean, var]) = key.norm {
            tensors.extend(
                [(gamma, 1.0), (beta, 0.0), (mean, 0.0), (var, 1.0)]
                    .map(|(name, value)| (name, ArrayD::from_elem(vec![out], value))),
            );
        }
    }
    tensors
}
