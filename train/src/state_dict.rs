//! Which tensors an architecture has: PyTorch's names and shapes, and the check of a file against them.

use std::collections::BTreeMap;

use eqo_checkpoints::arch::{Arch, Keys};
use ndarray::ArrayD;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::tensors::NamedTensors;
use crate::{Error, Result};

/// Differences listed at most, from the beginning and from the end, where what a file has too much of stands; one of another
/// network has hundreds.
const LISTED: [usize; 2] = [16, 8];

/// Compares names and shapes; PyTorch's `num_batches_tracked` counters are ignored.
pub(crate) fn check(
    arch: &str,
    expected: &BTreeMap<String, Vec<usize>>,
    found: &NamedTensors,
    origin: &str,
) -> Result<()> {
    let counter = |name: &str| name.ends_with("num_batches_tracked");
    let strange = |name: &&str| !expected.contains_key(*name) && !counter(name);
    let strangers: Vec<&str> = found.keys().map(String::as_str).filter(strange).collect();
    let mut lines = Vec::new();
    for (name, shape) in expected {
        match found.get(name) {
            None => lines.push(format!("missing {name} {shape:?}{}", nearest(name, &strangers, found))),
            Some(tensor) if tensor.shape() != shape.as_slice() => {
                lines.push(format!("{name}: expected shape {shape:?}, found {:?}", tensor.shape()));
            }
            Some(tensor) if tensor.iter().any(|value| !value.is_finite()) => {
                lines.push(format!("{name}: expected finite values, found NaN or infinity"));
            }
            Some(_) => {}
        }
    }
    lines.extend(strangers.iter().map(|name| format!("unexpected {name} {:?}", found[*name].shape())));
    if lines.is_empty() {
        return Ok(());
    }
    let [first, last] = LISTED;
    if let Some(more @ 1..) = lines.len().checked_sub(first + last) {
        lines.splice(first..first + more, [format!("… {more} more …")]);
    }
    let list = lines.iter().map(|line| format!("\n  {line}")).collect();
    Err(Error::StateDict { origin: origin.to_owned(), arch: arch.to_owned(), list })
}

/// What `name` may be called in the file.
fn nearest(name: &str, strangers: &[&str], found: &NamedTensors) -> String {
    let alike = strangers.iter().map(|other| (strsim::jaro_winkler(name, other), other));
    let best = alike.max_by(|(a, _), (b, _)| a.total_cmp(b)).filter(|(alike, _)| *alike > 0.8);
    best.map_or_else(String::new, |(_, other)| format!(" (nearest: {other} {:?})", found[*other].shape()))
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
