//! A checkpoint's network by the gates of earlier work, step by step as EQO's ablation adds them. Every step puts out the
//! logits of [`crate::engine`].
//!
//! A layer has one ring, wide enough for the widest of its channels after all are brought to one right shift; rounding is
//! in the bias. Saturation is a comparison of its own.

use std::collections::BTreeMap;

use super::{
    Chooser, Code, Kind, LayerCodes, Multiplexer, OperandRing, Products, Program, ProgramWeights, Range,
    TensorId,
};
use crate::Error;
use crate::graph::{CheckedGraph, Conv, MaxPool, NodeId, Op, Output, Shortcut};
use crate::weights::Weights;
use crate::winograd::Algorithm;

/// Which optimizations of the paper are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// Neighbouring truncations and extensions are one: activations are extended once before the tile transform and truncated
    /// once after it. Else they are extended before the transform and again before the products, and truncated in the
    /// accumulator's ring, in which signs and saturation are found.
    pub fused: bool,
    /// Extensions use that activations are not negative.
    pub known_msb: bool,
    /// A residual is added in the accumulator's ring from the extension that its other reader has. Else both terms are
    /// extended for the sum.
    pub simplified_residual: bool,
}

/// `graph` with its weights as a program; the image is that of [`crate::engine::Engine::run`], centred.
///
/// # Errors
/// [`Error::Node`] for accumulators that need more than 62 bits this way.
pub fn quantized(
    name: &str,
    graph: &CheckedGraph,
    weights: &Weights,
    steps: Steps,
) -> Result<(Program, ProgramWeights), Error> {
    weights.check(graph)?;
    let program = Program { name: format!("{name} {}", graph.graph().name), ops: Vec::new() };
    let rings = rings(graph);
    let mut builder = Builder {
        graph,
        steps,
        rings,
        program,
        codes: BTreeMap::new(),
        narrow: Vec::new(),
        wide: BTreeMap::new(),
    };
    for id in 0..graph.nodes().len() {
        let tensor = builder.node(id, weights)?;
        builder.narrow.push(tensor);
    }
    let (program, mut codes) = (builder.program, builder.codes);
    let layers = (0..program.ops.len()).map(|id| codes.remove(&id).unwrap_or_default()).collect();
    Ok((program, ProgramWeights { layers }))
}

/// Right shift of all channels of an activation, 0 for accumulators.
fn common_shift(conv: &Conv) -> u8 {
    match &conv.output {
        Output::Activation { shifts, .. } => shifts.iter().copied().max().unwrap_or(0),
        Output::Accumulator => 0,
    }
}

/// By how much a channel is shifted left so that all have [`common_shift`].
fn lift(conv: &Conv, out: usize) -> u8 {
    match &conv.output {
        Output::Activation { shifts, .. } => common_shift(conv) - shifts[out],
        Output::Accumulator => 0,
    }
}

/// The ring of every convolution's products. Those of a projection are at least as wide as what they are added to.
fn rings(graph: &CheckedGraph) -> Vec<u32> {
    let own = |conv: &Conv| {
        let each = conv.ring_bits.iter().enumerate().map(|(out, &ring)| ring + lift(conv, out));
        u32::from(each.max().unwrap_or(1))
    };
    let mut rings: Vec<u32> =
        graph.nodes().iter().map(|node| if let Op::Conv(conv) = &node.op { own(conv) } else { 0 }).collect();
    for id in (0..rings.len()).rev() {
        if let Op::Conv(Conv { shortcut: Some(shortcut), .. }) = &graph.nodes()[id].op
            && rings[shortcut.input] > 0
            && is_accumulator(graph, shortcut.input)
        {
            // One bit more: sums that aren't simplified have it.
            rings[shortcut.input] = rings[shortcut.input].max(rings[id] + 1);
        }
    }
    rings
}

fn is_accumulator(graph: &CheckedGraph, id: NodeId) -> bool {
    matches!(&graph.nodes()[id].op, Op::Conv(Conv { output: Output::Accumulator, .. }))
}

struct Builder<'g> {
    graph: &'g CheckedGraph,
    steps: Steps,
    rings: Vec<u32>,
    program: Program,
    codes: BTreeMap<TensorId, LayerCodes>,
    /// Each node's tensor as it leaves the node.
    narrow: Vec<TensorId>,
    /// Extensions that may be read again, by node.
    wide: BTreeMap<NodeId, TensorId>,
}

impl Builder<'_> {
    fn node(&mut self, id: NodeId, weights: &Weights) -> Result<TensorId, Error> {
        let node = &self.graph.nodes()[id];
        match &node.op {
            // The image's owner may share it in any ring.
            Op::Input(_) => {
                Ok(self.program.push(&node.name, Kind::Input, self.graph.shape(id), self.widest(id)))
            }
            // Summed in the ring of whoever reads the sum.
            Op::SumPool { input } => {
                let bits = self.widest(id);
                let wide = self.extended(&node.name, *input, bits);
                Ok(self.program.push(&node.name, Kind::SumPool { input: wide }, self.graph.shape(id), bits))
            }
            Op::MaxPool(pool) => Ok(self.max_pool(&node.name, pool, self.graph.shape(id))),
            Op::Conv(conv) => self.convolution(id, conv, weights),
        }
    }

    /// In a ring whose top bit is 0, in which differences fit.
    fn max_pool(&mut self, name: &str, pool: &MaxPool, shape: [usize; 3]) -> TensorId {
        let narrow = self.narrow[pool.input];
        let (mut input, bits) = (narrow, self.program.ops[narrow].bits);
        if !self.steps.known_msb {
            let kind = Kind::Extend { input, range: Range::Unsigned };
            input = self.program.push_like(name, input, kind, bits + 1);
        }
        let window = [pool.kernel, pool.stride, pool.padding];
        let kind = Kind::MaxPool { input, window, multiplexer: Multiplexer::Correlated };
        let ring = self.program.ops[input].bits;
        let pooled = self.program.push(name, kind, shape, ring);
        self.reduced(name, pooled, bits)
    }

    fn convolution(&mut self, id: NodeId, conv: &Conv, weights: &Weights) -> Result<TensorId, Error> {
        let name = self.graph.nodes()[id].name.clone();
        let bits = self.rings[id];
        if bits > 61 {
            return Err(Error::node(&name, "bits of one ring for all channels", "at most 61", bits, NEXT));
        }
        let mut sum = self.products(&name, id, conv)?;
        self.codes.insert(sum, codes(conv, weights, &name));
        if let Some(shortcut) = &conv.shortcut {
            sum = self.residual(&name, (id, conv), sum, shortcut);
        }
        Ok(match conv.output {
            Output::Accumulator => sum,
            Output::Activation { bits, .. } => {
                self.requantize(&name, sum, (common_shift(conv).into(), bits.into()))
            }
        })
    }

    fn products(&mut self, name: &str, id: NodeId, conv: &Conv) -> Result<TensorId, Error> {
        let bits = self.rings[id];
        let (input, operand) = self.operand(name, conv, bits);
        let shifts = conv
            .tap_shifts
            .iter()
            .map(|row| row.iter().enumerate().map(|(out, &shift)| shift + lift(conv, out)).collect());
        let products = Products {
            input,
            in_channels: conv.in_channels,
            out_channels: conv.out_channels,
            groups: 1,
            kernel: conv.kernel,
            stride: conv.stride,
            padding: conv.padding,
            algorithm: conv.algorithm,
            code: Code { exponents: conv.weight_exponents.clone(), signed: true, offset: conv.weight_offset },
            tap_shifts: shifts.collect(),
            chooser: Chooser::Weights,
            operand,
        };
        Ok(self.program.push(name, Kind::Products(products), self.graph.shape(id), bits))
    }

    /// The tensor that the products read, and how it relates to their ring.
    fn operand(&mut self, name: &str, conv: &Conv, bits: u32) -> (TensorId, OperandRing) {
        let narrow = self.narrow[conv.input];
        let is_activation = matches!(self.graph.nodes()[conv.input].op, Op::Conv(_) | Op::MaxPool(_));
        if self.steps.fused || !is_activation {
            return (self.extended(name, conv.input, bits), OperandRing::Same);
        }
        if conv.algorithm == Algorithm::Direct && self.steps.known_msb {
            return (narrow, OperandRing::Narrower { top_bit_zero: true });
        }
        let width = self.program.ops[narrow].bits + growth(conv.algorithm);
        let kind = Kind::Extend { input: narrow, range: self.range() };
        let transformed = self.program.push_like(name, narrow, kind, width);
        (transformed, OperandRing::Narrower { top_bit_zero: false })
    }

    /// A node's tensor in a ring of `bits`; kept for the next reader, who only reduces it, if the residual is simplified.
    fn extended(&mut self, name: &str, id: NodeId, bits: u32) -> TensorId {
        let narrow = self.narrow[id];
        if self.program.ops[narrow].bits >= bits {
            return self.reduced(name, narrow, bits);
        }
        if !self.steps.simplified_residual {
            let kind = Kind::Extend { input: narrow, range: self.range() };
            return self.program.push_like(name, narrow, kind, bits);
        }
        let widest = self.widest(id).max(bits);
        let wide = match self.wide.get(&id) {
            Some(&wide) => wide,
            None => {
                let kind = Kind::Extend { input: narrow, range: self.range() };
                let wide = self.program.push_like(name, narrow, kind, widest);
                self.wide.insert(id, wide);
                wide
            }
        };
        self.reduced(name, wide, bits)
    }

    fn reduced(&mut self, name: &str, tensor: TensorId, bits: u32) -> TensorId {
        if self.program.ops[tensor].bits == bits {
            return tensor;
        }
        self.program.push_like(name, tensor, Kind::Reduce { input: tensor }, bits)
    }

    /// The widest ring that a reader of this node needs.
    fn widest(&self, id: NodeId) -> u32 {
        let reads = |node: NodeId| match &self.graph.nodes()[node].op {
            Op::Conv(conv) if conv.input == id || conv.shortcut.as_ref().is_some_and(|s| s.input == id) => {
                self.rings[node]
            }
            Op::SumPool { input } if *input == id => self.widest(node),
            _ => 0,
        };
        (id + 1..self.graph.nodes().len()).map(reads).max().unwrap_or(0)
    }

    fn residual(
        &mut self,
        name: &str,
        (id, conv): (NodeId, &Conv),
        sum: TensorId,
        shortcut: &Shortcut,
    ) -> TensorId {
        let (mut sum, mut bits) = (sum, self.rings[id]);
        if !self.steps.simplified_residual {
            bits += 1;
            sum = self.program.push_like(name, sum, Kind::Extend { input: sum, range: Range::Signed }, bits);
        }
        let added = self.extended(name, shortcut.input, bits);
        let shifts =
            shortcut.shifts.iter().enumerate().map(|(out, &shift)| shift + lift(conv, out)).collect();
        let spec = Shortcut { input: added, shifts, ..*shortcut };
        let shape = self.graph.shape(id);
        let added = self.program.push(name, Kind::Shortcut(spec), shape, bits);
        self.program.push(name, Kind::Add { inputs: [sum, added] }, shape, bits)
    }

    fn requantize(&mut self, name: &str, sum: TensorId, (shift, top): (u32, u32)) -> TensorId {
        let wide = self.program.ops[sum].bits;
        let mut bits = wide - shift;
        let kind = Kind::TruncateReduce { input: sum, shift };
        let mut tensor = self.program.push_like(name, sum, kind, bits);
        if !self.steps.fused {
            let kind = Kind::Extend { input: tensor, range: Range::Signed };
            (tensor, bits) = (self.program.push_like(name, tensor, kind, wide), wide);
        }
        let kind = Kind::Relu { input: tensor, multiplexer: Multiplexer::Correlated };
        tensor = self.program.push_like(name, tensor, kind, bits);
        if bits > top + 1 {
            tensor = self.program.push_like(name, tensor, Kind::Clamp { input: tensor, top }, bits);
        }
        self.reduced(name, tensor, top + u32::from(self.steps.known_msb))
    }

    fn range(&self) -> Range {
        if self.steps.known_msb { Range::TopBitZero } else { Range::Unsigned }
    }
}

const NEXT: &str = "Choose fewer bits or a smaller tile for this layer.";

/// Bits that a tile's input transform adds to unsigned integers, the sign included.
fn growth(algorithm: Algorithm) -> u32 {
    let Some(transform) = algorithm.transform() else { return 1 };
    let row = |row: &Vec<i64>| row.iter().map(|coefficient| coefficient.unsigned_abs()).sum::<u64>();
    let largest = transform.bt.iter().map(row).max().unwrap_or(1);
    (largest * largest).next_power_of_two().trailing_zeros() + 1
}

/// A layer's integers with its channels lifted to one shift and the rounding in the bias.
fn codes(conv: &Conv, weights: &Weights, name: &str) -> LayerCodes {
    let Some(layer) = weights.layers.get(name) else { return LayerCodes::default() };
    let shift = common_shift(conv);
    let rounding = if shift > 0 { 1_i64 << (shift - 1) } else { 0 };
    let bias = layer.bias.iter().enumerate().map(|(out, &bias)| (bias << lift(conv, out)) + rounding);
    LayerCodes { codes: layer.codes.iter().map(|&code| code.into()).collect(), bias: bias.collect() }
}
