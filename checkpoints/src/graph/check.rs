//! Structural check of a graph: what must hold whatever the weights are.

use std::collections::BTreeSet;

use super::{Conv, Graph, Input, MaxPool, Node, NodeId, Op, Output};
use crate::Error;

mod conv;

use conv::{conv_shape, output_size};

/// Largest side of an image or feature map, and largest channel count; bounds every allocation made from a graph.
const MAX_SIZE: usize = 1 << 13;
/// Largest number of values in one tensor.
const MAX_ELEMENTS: usize = 1 << 26;
/// Largest number of matches of a max pooling.
const MAX_MATCHES: usize = 1 << 28;
const MAX_NODES: usize = 4096;
const MAX_CLASSES: usize = 1 << 16;
/// Bytes of a node's, class's or graph's name.
const MAX_NAME: usize = 128;

/// A [`Graph`] whose structure is sound: only this can be run, priced or sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedGraph {
    graph: Graph,
    shapes: Vec<[usize; 3]>,
    extension_bits: Vec<u8>,
    activation_bits: Vec<Option<u8>>,
}

impl Graph {
    /// Checks names, order, shapes and bit widths.
    ///
    /// # Errors
    /// [`Error::Node`] for the first broken rule.
    pub fn check(self) -> Result<CheckedGraph, Error> {
        bounded("graph", "nodes", self.nodes.len(), 2, MAX_NODES)?;
        bounded("graph", "classes", self.classes.len(), 1, MAX_CLASSES)?;
        check_names(&self)?;
        let mut shapes = Vec::with_capacity(self.nodes.len());
        for id in 0..self.nodes.len() {
            shapes.push(shape(&self, id, &shapes)?);
        }
        check_logits(&self)?;
        let extension_bits = (0..self.nodes.len()).map(|id| widest_use(&self, id)).collect();
        // Looked up often, and a pooling of a pooling of a pooling has to look far.
        let activation_bits = (0..self.nodes.len()).map(|id| activation_bits(&self, id)).collect();
        Ok(CheckedGraph { graph: self, shapes, extension_bits, activation_bits })
    }
}

/// Names that are unique, and that can be shown in a terminal or used in a file name whoever sent them.
fn check_names(graph: &Graph) -> Result<(), Error> {
    let mut names = BTreeSet::new();
    for node in &graph.nodes {
        let plain = node.name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if node.name.is_empty() || node.name.len() > MAX_NAME || !plain {
            return Err(fault(node, "name", "1 to 128 letters, digits, '.', '_' or '-'", node.name.len()));
        }
        if !names.insert(node.name.as_str()) {
            return Err(fault(node, "name", "unique", "a second node of that name"));
        }
    }
    for name in graph.classes.iter().chain([&graph.name]) {
        if name.len() > MAX_NAME || name.chars().any(char::is_control) {
            let expected = "at most 128 bytes, no control characters";
            return Err(Error::node("graph", "name or class name", expected, name.escape_debug(), NEXT));
        }
    }
    Ok(())
}

impl CheckedGraph {
    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Its nodes in topological order.
    pub fn nodes(&self) -> &[Node] {
        &self.graph.nodes
    }

    /// Output shape `[channels, height, width]` of a node.
    pub fn shape(&self, id: NodeId) -> [usize; 3] {
        self.shapes[id]
    }

    /// The ring that all consumers of a node's output can work in: the widest of theirs.
    /// An activation is extended once, to this ring (DESIGN §4).
    pub fn extension_bits(&self, id: NodeId) -> u8 {
        self.extension_bits[id]
    }

    /// The image node.
    pub fn input(&self) -> &Input {
        match &self.graph.nodes[0].op {
            Op::Input(input) => input,
            // `shape` refuses every graph whose first node isn't the input.
            _ => unreachable!("a checked graph starts with its input"),
        }
    }

    /// Bits of a node's activations, whether a convolution or a max pooling puts them out; `None` for other nodes.
    pub fn activation_bits(&self, id: NodeId) -> Option<u8> {
        self.activation_bits[id]
    }

    /// Smallest and largest value of every channel of a node that isn't an accumulator; `None` for accumulators,
    /// whose range depends on the weights (see [`crate::range`]).
    pub fn value_range(&self, id: NodeId) -> Option<Vec<(i64, i64)>> {
        match &self.graph.nodes[id].op {
            Op::Input(input) => {
                Some(input.offsets.iter().map(|&o| (-i64::from(o), 255 - i64::from(o))).collect())
            }
            Op::Conv(conv) => match conv.output {
                Output::Activation { bits, .. } => Some(vec![(0, (1 << bits) - 1); conv.out_channels]),
                Output::Accumulator => None,
            },
            Op::MaxPool(pool) => self.value_range(pool.input),
            Op::SumPool { input } => {
                let [_, height, width] = self.shapes[*input];
                let window = (height * width) as i64;
                self.value_range(*input)
                    .map(|ranges| ranges.iter().map(|r| (r.0 * window, r.1 * window)).collect())
            }
        }
    }
}

fn shape(graph: &Graph, id: NodeId, shapes: &[[usize; 3]]) -> Result<[usize; 3], Error> {
    let node = &graph.nodes[id];
    match &node.op {
        Op::Input(_) if id != 0 => Err(fault(node, "position", "the first node", id)),
        _ if id == 0 && !matches!(node.op, Op::Input(_)) => {
            Err(fault(node, "operation", "the input first", "another"))
        }
        Op::Input(input) => {
            let shape = [input.offsets.len(), input.height, input.width];
            if let Some(offset) = input.offsets.iter().find(|&&offset| !(0..=255).contains(&offset)) {
                return Err(fault(node, "offsets", "0 to 255", offset));
            }
            bounded_shape(node, shape)
        }
        Op::Conv(conv) => conv_shape(graph, node, conv, shapes),
        Op::MaxPool(pool) => pooled_shape(graph, node, pool, shapes),
        Op::SumPool { input } => {
            let [channels, ..] = read_activation(graph, node, *input, shapes)?;
            Ok([channels, 1, 1])
        }
    }
}

/// The shape of an activation that a pooling reads.
fn read_activation(
    graph: &Graph,
    node: &Node,
    input: NodeId,
    shapes: &[[usize; 3]],
) -> Result<[usize; 3], Error> {
    let shape = earlier(node, input, shapes)?;
    match activation_bits(graph, input) {
        Some(_) => Ok(shape),
        None => Err(fault(node, "input", "an activation", "the image, a sum or an accumulator")),
    }
}

fn pooled_shape(
    graph: &Graph,
    node: &Node,
    pool: &MaxPool,
    shapes: &[[usize; 3]],
) -> Result<[usize; 3], Error> {
    let shape = read_activation(graph, node, pool.input, shapes)?;
    bounded(&node.name, "kernel", pool.kernel, 2, 15)?;
    bounded(&node.name, "stride", pool.stride, 1, 8)?;
    bounded(&node.name, "padding", pool.padding, 0, pool.kernel / 2)?;
    let [height, width] = output_size(node, [pool.kernel, pool.stride, pool.padding], [shape[1], shape[2]])?;
    // Rows come first: `crate::layout::Tournament`.
    let matches = shape[0] * width * (shape[1] + height) * (pool.kernel - 1);
    bounded(&node.name, "matches", matches, 1, MAX_MATCHES)?;
    bounded_shape(node, [shape[0], height, width])
}

fn check_logits(graph: &Graph) -> Result<(), Error> {
    let Some(last) = graph.nodes.last() else { return Ok(()) };
    match &last.op {
        Op::Conv(conv) if conv.output == Output::Accumulator && conv.out_channels == graph.classes.len() => {
            Ok(())
        }
        _ => Err(fault(
            last,
            "last node",
            format!("accumulators, one for each of {} classes", graph.classes.len()),
            "another",
        )),
    }
}

/// The widest ring any consumer of node `id` computes in; 0 when nothing reads it.
fn widest_use(graph: &Graph, id: NodeId) -> u8 {
    let mut widest = 0;
    for (consumer, node) in graph.nodes.iter().enumerate() {
        match &node.op {
            Op::Conv(conv) => {
                if conv.input == id {
                    widest = widest.max(conv.widest_ring());
                }
                if let Some(shortcut) = conv.shortcut.as_ref().filter(|shortcut| shortcut.input == id) {
                    let needed =
                        conv.ring_bits.iter().zip(&shortcut.shifts).map(|(ring, shift)| ring - shift).max();
                    widest = widest.max(needed.unwrap_or(0));
                }
            }
            Op::MaxPool(pool) if pool.input == id => {
                // Differences of two values need a sign.
                widest = widest.max(activation_bits(graph, id).map_or(0, |bits| bits + 1));
            }
            Op::SumPool { input } if *input == id => widest = widest.max(widest_use(graph, consumer)),
            Op::MaxPool(_) | Op::SumPool { .. } | Op::Input(_) => {}
        }
    }
    widest
}

/// Bits of an activation: a convolution's own, or those that a max pooling reads; `None` for everything else.
///
/// A pooling's input is an earlier node once its shape is known, so this ends.
fn activation_bits(graph: &Graph, id: NodeId) -> Option<u8> {
    match &graph.nodes[id].op {
        Op::Conv(Conv { output: Output::Activation { bits, .. }, .. }) => Some(*bits),
        Op::MaxPool(pool) => activation_bits(graph, pool.input),
        Op::Conv(_) | Op::Input(_) | Op::SumPool { .. } => None,
    }
}

fn earlier(node: &Node, input: NodeId, shapes: &[[usize; 3]]) -> Result<[usize; 3], Error> {
    shapes.get(input).copied().ok_or_else(|| fault(node, "input", "an earlier node (no cycles)", input))
}

fn bounded_shape(node: &Node, shape: [usize; 3]) -> Result<[usize; 3], Error> {
    for size in shape {
        bounded(&node.name, "shape", size, 1, MAX_SIZE)?;
    }
    bounded(&node.name, "elements", shape.iter().product(), 1, MAX_ELEMENTS)?;
    Ok(shape)
}

fn bounded(node: &str, what: &'static str, found: usize, low: usize, high: usize) -> Result<(), Error> {
    if (low..=high).contains(&found) {
        Ok(())
    } else {
        Err(Error::node(node, what, format!("{low} to {high}"), found, NEXT))
    }
}

fn fault(node: &Node, what: &'static str, expected: impl ToString, found: impl ToString) -> Error {
    Error::node(&node.name, what, expected, found, NEXT)
}

const NEXT: &str = "Export the checkpoint again with `eqo quantize`.";
