//! The private half of a checkpoint: the server's integers.

use std::collections::BTreeMap;

use crate::Error;
use crate::graph::{CheckedGraph, Conv, Op};

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

impl Weights {
    /// Whether there is exactly one layer for every convolution, of the right size, with codes of its bits.
    ///
    /// # Errors
    /// [`Error::Node`] for the first layer that differs.
    pub fn check(&self, graph: &CheckedGraph) -> Result<(), Error> {
        let mut convs = 0;
        for node in graph.nodes() {
            if let Op::Conv(conv) = &node.op {
                convs += 1;
                let layer = self.layers.get(&node.name).ok_or_else(|| {
                    Error::node(&node.name, "weights", "a layer of this name", "none", NEXT)
                })?;
                layer.check(&node.name, conv)?;
            }
        }
        if self.layers.len() != convs {
            let names: Vec<_> = graph.nodes().iter().map(|node| node.name.as_str()).collect();
            let extra = self.layers.keys().find(|key| !names.contains(&key.as_str()));
            let extra = extra.map_or("graph", String::as_str);
            return Err(Error::node(extra, "weights", format!("{convs} layers"), self.layers.len(), NEXT));
        }
        Ok(())
    }
}

impl LayerWeights {
    fn check(&self, node: &str, conv: &Conv) -> Result<(), Error> {
        let codes = conv.positions() * conv.out_channels * conv.in_channels;
        if self.codes.len() != codes {
            return Err(Error::node(node, "weight codes", codes, self.codes.len(), NEXT));
        }
        if self.bias.len() != conv.out_channels {
            return Err(Error::node(node, "biases", conv.out_channels, self.bias.len(), NEXT));
        }
        let pairs = conv.out_channels * conv.in_channels;
        for (position, codes) in self.codes.chunks(pairs).enumerate() {
            let bits = conv.exponents(position).len();
            let half = 1_i16 << bits >> 1;
            let fits = |code: i8| (-half..half.max(1)).contains(&code.into());
            if let Some(code) = codes.iter().find(|&&code| !fits(code)) {
                let expected = format!("a signed integer of {bits} bits at position {position}");
                return Err(Error::node(node, "weight code", expected, code, NEXT));
            }
        }
        Ok(())
    }
}

const NEXT: &str = "Export the checkpoint again with `eqo quantize`.";
