//! The private half of a checkpoint: the server's integers.

use std::collections::BTreeMap;

/// Weights by node name. Never leaves the server; no `Debug`, so that it can't reach a log.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Weights {
    /// One entry for each [`crate::graph::Conv`] node.
    pub layers: BTreeMap<String, LayerWeights>,
}

/// Weights of one convolution (or linear layer, a 1x1 convolution on a 1x1 image).
#[derive(Clone, PartialEq, Eq)]
pub struct LayerWeights {
    /// Signed `b`-bit codes; see [`crate::arith::code_value`] for what they stand for.
    ///
    /// Winograd: `[taps, out, in]` (tensor `<node>.u`). Direct: `[kernel², out, in]`, kernel positions row by row
    /// (tensor `<node>.w`). Row-major.
    pub codes: Vec<i8>,
    /// One integer per output channel at the accumulator's scale (tensor `<node>.bias`).
    pub bias: Vec<i64>,
}
