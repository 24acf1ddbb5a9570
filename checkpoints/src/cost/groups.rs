//! Output channels that are requantized alike.

use std::collections::BTreeMap;

use super::comparison::Comparison;
use crate::graph::{Conv, Output};

/// Output channels with the same accumulator ring and output shift: they share one [`Comparison`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Width of the accumulators' ring.
    pub ring: u8,
    /// Right shift.
    pub shift: u8,
    /// The output channels, ascending.
    pub channels: Vec<usize>,
}

impl Group {
    /// The comparison of this group's elements for activations of `act_bits` bits.
    pub fn comparison(&self, act_bits: u8) -> Comparison {
        Comparison::new(self.ring, self.shift, act_bits)
    }
}

/// The groups of a convolution that ends in an activation, in the order the requantization treats them; none for one
/// that ends in an accumulator.
pub fn groups(conv: &Conv) -> Vec<Group> {
    let Output::Activation { shifts, .. } = &conv.output else { return Vec::new() };
    let mut channels: BTreeMap<(u8, u8), Vec<usize>> = BTreeMap::new();
    for (channel, key) in conv.ring_bits.iter().copied().zip(shifts.iter().copied()).enumerate() {
        channels.entry(key).or_default().push(channel);
    }
    channels.into_iter().map(|((ring, shift), channels)| Group { ring, shift, channels }).collect()
}
