//! Structural check of a graph: what must hold whatever the weights are.

use std::collections::BTreeSet;

use super::{Conv, Graph, Input, Node, NodeId, Op, Output, Shortcut};
use crate::Error;

/// Largest side of an image or feature map, and largest channel count; bounds every allocation made from a graph.
const MAX_SIZE: usize = 1 << 13;
/// Largest number of values in one tensor.
const MAX_ELEMENTS: usize = 1 << 26;
const MAX_NODES: usize = 4096;
const MAX_CLASSES: usize = 1 << 16;

/// A [`Graph`] whose structure is sound: only this can be run, priced or sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedGraph {
    graph: Graph,
    shapes: Vec<[usize; 3]>,
    extension_bits: Vec<u8>,
}

impl Graph {
    /// Checks names, order, shapes and bit widths.
    ///
    /// # Errors
    /// [`Error::Node`] for the first broken rule.
    pub fn check(self) -> Result<CheckedGraph, Error> {
        bounded("graph", "nodes", self.nodes.len(), 2, MAX_NODES)?;
        bounded("graph", "classes", self.classes.len(), 1, MAX_CLASSES)?;
        let mut names = BTreeSet::new();
        let mut shapes = Vec::with_capacity(self.nodes.len());
        for (id, node) in self.nodes.iter().enumerate() {
            let plain = node.name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
            if node.name.is_empty() || node.name.len() > 128 || !plain {
                return Err(fault(
                    node,
                    "name",
                    "1 to 128 letters, digits, '.', '_' or '-'",
                    node.name.len(),
                ));
            }
            if !names.insert(node.name.as_str()) {
                return Err(fault(node, "name", "unique", "a second node of that name"));
            }
            shapes.push(shape(&self, id, &shapes)?);
        }
        check_logits(&self)?;
        let extension_bits = (0..self.nodes.len()).map(|id| widest_use(&self, id)).collect();
        Ok(CheckedGraph { graph: self, shapes, extension_bits })
    }
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
        Op::SumPool { input } => {
            let [channels, ..] = earlier(node, *input, shapes)?;
            if !is_activation(&graph.nodes[*input].op) {
                return Err(fault(node, "input", "an activation", "the image, a sum or an accumulator"));
            }
            Ok([channels, 1, 1])
        }
    }
}

fn conv_shape(graph: &Graph, node: &Node, conv: &Conv, shapes: &[[usize; 3]]) -> Result<[usize; 3], Error> {
    let [channels, height, width] = earlier(node, conv.input, shapes)?;
    if matches!(&graph.nodes[conv.input].op, Op::Conv(Conv { output: Output::Accumulator, .. })) {
        return Err(fault(node, "input", "the image, an activation or a sum", "an accumulator"));
    }
    if channels != conv.in_channels {
        return Err(fault(node, "in_channels", channels, conv.in_channels));
    }
    bounded(&node.name, "out_channels", conv.out_channels, 1, MAX_SIZE)?;
    bounded(&node.name, "kernel", conv.kernel, 1, 15)?;
    bounded(&node.name, "stride", conv.stride, 1, 8)?;
    bounded(&node.name, "padding", conv.padding, 0, 7)?;
    if conv.algorithm.transform().is_some() && (conv.kernel != 3 || conv.stride != 1) {
        return Err(fault(
            node,
            "algorithm",
            "direct, for any kernel but 3 at stride 1",
            conv.algorithm.name(),
        ));
    }
    let out =
        |size: usize| (size + 2 * conv.padding).checked_sub(conv.kernel).map(|room| room / conv.stride + 1);
    let (Some(out_height), Some(out_width)) = (out(height), out(width)) else {
        return Err(fault(
            node,
            "kernel",
            format!("at most {}", height.min(width) + 2 * conv.padding),
            conv.kernel,
        ));
    };
    let shape = bounded_shape(node, [conv.out_channels, out_height, out_width])?;
    check_exponents(node, conv)?;
    check_channels(node, conv)?;
    if let Some(shortcut) = &conv.shortcut {
        check_shortcut(graph, node, conv, shortcut, (shape, shapes))?;
    }
    Ok(shape)
}

fn check_exponents(node: &Node, conv: &Conv) -> Result<(), Error> {
    let lists = conv.weight_exponents.len();
    if lists != 1 && lists != conv.positions() {
        return Err(fault(node, "weight_exponents", format!("1 or {} lists", conv.positions()), lists));
    }
    for list in &conv.weight_exponents {
        if list.len() != conv.weight_bits() || !(2..=8).contains(&list.len()) {
            return Err(fault(node, "weight bits", "2 to 8, the same at every tap", list.len()));
        }
        if !list.is_sorted_by(|a, b| a < b) || list.last().is_some_and(|&top| top > 24) {
            return Err(fault(
                node,
                "weight_exponents",
                "strictly increasing, at most 24",
                format!("{list:?}"),
            ));
        }
    }
    Ok(())
}

fn check_channels(node: &Node, conv: &Conv) -> Result<(), Error> {
    let out = conv.out_channels;
    if conv.ring_bits.len() != out || conv.ring_bits.iter().any(|bits| !(2..=62).contains(bits)) {
        return Err(fault(
            node,
            "ring_bits",
            format!("{out} widths of 2 to 62"),
            format!("{:?}", conv.ring_bits),
        ));
    }
    let taps = conv.algorithm.taps();
    if conv.tap_shifts.len() != taps || conv.tap_shifts.iter().any(|row| row.len() != out) {
        return Err(fault(node, "tap_shifts", format!("{taps} rows of {out}"), conv.tap_shifts.len()));
    }
    for position in 0..conv.positions() {
        let top = conv.exponents(position).last().copied().unwrap_or(0);
        for channel in 0..out {
            let (shift, ring) = (conv.tap_shift(position, channel), conv.ring_bits[channel]);
            if u32::from(shift) + u32::from(top) >= u32::from(ring) {
                return Err(fault(
                    node,
                    "tap shift plus top exponent",
                    format!("below the ring of {ring} bits"),
                    shift,
                ));
            }
        }
    }
    if let Output::Activation { bits, shifts } = &conv.output {
        if !(2..=8).contains(bits) {
            return Err(fault(node, "activation bits", "2 to 8", bits));
        }
        let fits =
            |(&shift, &ring): (&u8, &u8)| shift >= 1 && u32::from(shift) + u32::from(*bits) < u32::from(ring);
        if shifts.len() != out || !shifts.iter().zip(&conv.ring_bits).all(fits) {
            return Err(fault(
                node,
                "output shifts",
                format!("{out} of 1 to ring - {bits} - 1"),
                format!("{shifts:?}"),
            ));
        }
    }
    Ok(())
}

type Shapes<'a> = ([usize; 3], &'a [[usize; 3]]);

fn check_shortcut(
    graph: &Graph,
    node: &Node,
    conv: &Conv,
    shortcut: &Shortcut,
    at: Shapes,
) -> Result<(), Error> {
    let (shape, shapes) = at;
    let [channels, height, width] = earlier(node, shortcut.input, shapes)?;
    bounded(&node.name, "shortcut stride", shortcut.stride, 1, 8)?;
    let strided = [height.div_ceil(shortcut.stride), width.div_ceil(shortcut.stride)];
    if strided != shape[1..] {
        return Err(fault(node, "shortcut shape", format!("{:?}", &shape[1..]), format!("{strided:?}")));
    }
    if shortcut.channel_offset > conv.out_channels || channels > conv.out_channels - shortcut.channel_offset {
        return Err(fault(node, "shortcut channels", format!("at most {}", conv.out_channels), channels));
    }
    let fits = |(&shift, &ring): (&u8, &u8)| shift < ring;
    if shortcut.shifts.len() != conv.out_channels || !shortcut.shifts.iter().zip(&conv.ring_bits).all(fits) {
        return Err(fault(
            node,
            "shortcut shifts",
            "one below the ring for each output channel",
            shortcut.shifts.len(),
        ));
    }
    match &graph.nodes[shortcut.input].op {
        Op::Conv(Conv { output: Output::Activation { .. }, .. }) => Ok(()),
        Op::Conv(inner) => (0..channels).try_for_each(|channel| {
            let out = channel + shortcut.channel_offset;
            let needed = conv.ring_bits[out] - shortcut.shifts[out];
            if inner.ring_bits[channel] >= needed {
                return Ok(());
            }
            Err(fault(
                node,
                "shortcut accumulator ring",
                format!("at least {needed} bits"),
                inner.ring_bits[channel],
            ))
        }),
        Op::Input(_) | Op::SumPool { .. } => {
            Err(fault(node, "shortcut", "an activation or accumulator", "another"))
        }
    }
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
            Op::SumPool { input } if *input == id => widest = widest.max(widest_use(graph, consumer)),
            Op::SumPool { .. } | Op::Input(_) => {}
        }
    }
    widest
}

fn is_activation(op: &Op) -> bool {
    matches!(op, Op::Conv(Conv { output: Output::Activation { .. }, .. }))
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
