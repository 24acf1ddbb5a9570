//! The public integer graph: what both parties know. No weight value is in it (see [`crate::weights`]).
//!
//! Meaning of the values that flow along its edges:
//!
//! - an **activation** is an unsigned integer of `bits` bits (after ReLU and requantization);
//! - an **accumulator** is a signed integer that provably fits `ring_bits[o]` bits of its output channel `o`;
//! - a **sum** (of a pooling window) is an unsigned integer;
//! - the **image** is `pixel − offset[c]`, a signed 9-bit integer.

use serde::{Deserialize, Serialize};

use crate::arith::code_value;
use crate::winograd::Algorithm;

mod check;
mod json;

pub use check::CheckedGraph;
pub use json::MAX_GRAPH_JSON;

/// Index of a node in [`Graph::nodes`]; inputs always have a smaller index.
pub type NodeId = usize;

/// A network as integers. Serialized as JSON into the checkpoint's metadata and sent to the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Graph {
    /// The architecture's name.
    pub name: String,
    /// Class names in logit order.
    pub classes: Vec<String>,
    /// A logit is worth `integer · 2^logit_exponent`.
    pub logit_exponent: i32,
    /// Nodes in topological order: first the input, last the one whose accumulators are the logits.
    pub nodes: Vec<Node>,
}

/// One step of a [`Graph`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Unique name, also the prefix of its tensors.
    pub name: String,
    /// What it computes.
    pub op: Op,
}

/// What a [`Node`] computes. Exhaustive on purpose: a new operation must reach every interpreter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Op {
    /// The image.
    Input(Input),
    /// Convolution or linear layer with optional residual, ending in an activation or an accumulator.
    Conv(Conv),
    /// The largest value of every window of an activation, an activation of as many bits.
    MaxPool(MaxPool),
    /// Sum over height and width; output `[channels, 1, 1]`. The division is folded into the next scale.
    SumPool {
        /// The activation it sums.
        input: NodeId,
    },
}

/// The image as signed 9-bit integers `pixel − offsets[c]`, so that zero padding is exact (DESIGN §2, "Input").
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Pixels.
    pub height: usize,
    /// Pixels.
    pub width: usize,
    /// `round(255·mean_c)` of each channel, 0 to 255; its length is the number of channels.
    pub offsets: Vec<i16>,
}

/// `out[c][y][x]` is the largest of `kernel`x`kernel` values from `(y·stride − padding, x·stride − padding)` on; padding is
/// left out, and would not win: activations aren't negative.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaxPool {
    /// The activation it reads, a convolution's or another max pooling's.
    pub input: NodeId,
    /// Height and width of a window, 2 to 15.
    pub kernel: usize,
    /// Stride in both directions, 1 to 8.
    pub stride: usize,
    /// Padding on every side, at most half of `kernel`: every window has a value.
    pub padding: usize,
}

/// `out[o] = (Σ_tap 2^{tap_shifts[tap][o]} · (tap's products)) + bias[o] + (shortcut << shifts[o])`, then [`Output`].
///
/// A linear layer is a 1x1 direct convolution on a 1x1 image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv {
    /// The node it reads: the image, an activation or a sum.
    pub input: NodeId,
    /// Input channels.
    pub in_channels: usize,
    /// Output channels.
    pub out_channels: usize,
    /// Kernel height and width.
    pub kernel: usize,
    /// Stride in both directions.
    pub stride: usize,
    /// Zero padding on every side.
    pub padding: usize,
    /// How the products are arranged.
    pub algorithm: Algorithm,
    /// Exponents `k_i` of the weight's bits, strictly increasing, the last one the sign's. One list for the whole
    /// layer, or one for each position; a list's length is the bits of its codes, and the weights of a position whose list
    /// is empty are 0.
    pub weight_exponents: Vec<Vec<u8>>,
    /// What is added to the value of every code that has bits, 0 or 1: with 1 and no exponent of 0 the weights are odd (mid-rise).
    #[serde(default, skip_serializing_if = "is_zero")]
    pub weight_offset: u8,
    /// Left shift of tap `t` for output channel `o`, `[taps][out]`; direct convolution has one tap.
    pub tap_shifts: Vec<Vec<u8>>,
    /// What is added at the accumulator's scale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shortcut: Option<Shortcut>,
    /// Proven width of the accumulator of each output channel, `[out]`, 2 to 62.
    pub ring_bits: Vec<u8>,
    /// What becomes of the accumulator.
    pub output: Output,
}

/// A residual input: every `stride`-th pixel of `input`'s output, its channels put after `channel_offset` zero
/// channels and followed by as many as are missing, multiplied by `2^shifts[o]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shortcut {
    /// An activation, or a convolution that ends in an accumulator (projection shortcut).
    pub input: NodeId,
    /// Subsampling step in both directions.
    pub stride: usize,
    /// Zero channels before the input's.
    pub channel_offset: usize,
    /// Left shift for each output channel, `[out]`.
    pub shifts: Vec<u8>,
}

/// What a convolution puts out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Output {
    /// The accumulator itself (logits, projection shortcuts).
    Accumulator,
    /// `requantize(accumulator, shifts[o], bits)`, see [`crate::arith::requantize`].
    Activation {
        /// Bits of the activation, 2 to 8.
        bits: u8,
        /// Right shift of each output channel, `[out]`, at least 1.
        shifts: Vec<u8>,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(offset: &u8) -> bool {
    *offset == 0
}

impl Conv {
    /// Bits of a pair of channels, all positions together: the oblivious transfers it costs.
    pub fn pair_bits(&self) -> usize {
        (0..self.positions()).map(|position| self.exponents(position).len()).sum()
    }

    /// Bits of all weights: the oblivious transfers they cost.
    pub fn weight_bits(&self) -> usize {
        self.pair_bits() * self.in_channels * self.out_channels
    }

    /// Bits of a weight code, the mean over positions.
    pub fn mean_bits(&self) -> f64 {
        self.pair_bits() as f64 / self.positions() as f64
    }

    /// Positions a weight tensor has for each (output, input) channel pair: taps, or kernel² for direct convolution.
    pub fn positions(&self) -> usize {
        match self.algorithm {
            Algorithm::Direct => self.kernel * self.kernel,
            algorithm => algorithm.taps(),
        }
    }

    /// The exponents in force at a tap (or kernel position).
    pub fn exponents(&self, position: usize) -> &[u8] {
        if self.weight_exponents.len() == 1 {
            &self.weight_exponents[0]
        } else {
            &self.weight_exponents[position]
        }
    }

    /// What a code at a tap (or kernel position) is worth, before the tap's shift.
    pub fn weight_value(&self, position: usize, code: i8) -> i64 {
        code_value(code, self.exponents(position), self.weight_offset)
    }

    /// The left shift of output channel `out` at a tap (or kernel position: direct convolution has one shift for all).
    pub fn tap_shift(&self, position: usize, out: usize) -> u8 {
        let row = if self.tap_shifts.len() == 1 { &self.tap_shifts[0] } else { &self.tap_shifts[position] };
        row[out]
    }

    /// The widest ring of any output channel.
    pub fn widest_ring(&self) -> u8 {
        self.ring_bits.iter().copied().max().unwrap_or(0)
    }
}
