//! Which tensors an architecture has: PyTorch's names and shapes, and the check of a file against them.

use std::collections::BTreeMap;

use eqo_checkpoints::arch::{Arch, Keys};
use ndarray::ArrayD;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::tensors::NamedTensors;
use crate::{Error, Result};

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
    for key in arch.nodes.iter().filter_map(Keys::of) {
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
