//! The proof that every accumulator fits its ring (DESIGN §2, "Accumulator width").
//!
//! A convolution's output is a dot product with an effective integer kernel (for Winograd
//! `K[pq] = B[(A_p ⊗ A_q) ⊙ U]Bᵀ`), so its exact bounds over all inputs are the kernel's positive parts at one end of
//! the input's range and its negative parts at the other, plus bias, plus the shortcut's range times its power of
//! two. What overflows inside the transforms doesn't matter: all of it is linear in Z_{2^l}.
//!
//! The ring must also hold what requantization adds: it compares `y + 2^(s-1)` and `y + 2^(s-1) - 2^(a+s)` with zero,
//! so `y - 2^(a+s) >= -2^(l-1)` and `y + 2^(s-1) < 2^(l-1)`.

use crate::Error;
use crate::graph::{CheckedGraph, Conv, Graph, Node, Op, Output};
use crate::weights::Weights;

mod kernel;

pub use kernel::conv_bounds;

/// What [`prove`] found about one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRange {
    /// Smallest and largest value of every channel: of the accumulators for a convolution (before any
    /// requantization), of the output for the image and for sums.
    pub bounds: Vec<(i64, i64)>,
    /// Smallest ring of every output channel of a convolution; empty for other nodes.
    pub needed_bits: Vec<u8>,
}

/// Proves every accumulator against the graph's rings; one result a node, in graph order.
///
/// # Errors
/// [`Error::Node`] when weights and graph don't match, or names the first channel whose ring is too small.
pub fn prove(graph: &CheckedGraph, weights: &Weights) -> Result<Vec<NodeRange>, Error> {
    let ranges = ranges(graph, weights)?;
    for (node, range) in graph.nodes().iter().zip(&ranges) {
        let Op::Conv(conv) = &node.op else { continue };
        for (channel, (&found, &needed)) in conv.ring_bits.iter().zip(&range.needed_bits).enumerate() {
            if found < needed {
                let expected = format!("at least {needed} bits for channel {channel}");
                return Err(Error::node(&node.name, "ring_bits", expected, found, NEXT));
            }
        }
    }
    Ok(ranges)
}

/// Replaces every ring of `graph` by the smallest proven one and checks the result. For the lowering: whatever is in
/// `ring_bits` is ignored.
///
/// # Errors
/// [`Error::Node`] when the graph is unsound, the weights don't match it, or a channel needs more than 62 bits.
pub fn fit_rings(mut graph: Graph, weights: &Weights) -> Result<CheckedGraph, Error> {
    for node in &mut graph.nodes {
        if let Op::Conv(conv) = &mut node.op {
            conv.ring_bits = vec![MAX_RING; conv.out_channels];
        }
    }
    let widest = graph.check()?;
    let ranges = ranges(&widest, weights)?;
    let mut graph = widest.graph().clone();
    // Later nodes first: a ring that reads an accumulator must not be wider than the accumulator's (DESIGN §4).
    let mut floors: Vec<Vec<u8>> = ranges.iter().map(|range| vec![0; range.bounds.len()]).collect();
    for id in (0..graph.nodes.len()).rev() {
        let Op::Conv(conv) = &mut graph.nodes[id].op else { continue };
        conv.ring_bits = (0..conv.out_channels)
            .map(|channel| structural_bits(conv, channel).max(ranges[id].needed_bits[channel]))
            .zip(&floors[id])
            .map(|(bits, &floor)| bits.max(floor))
            .collect();
        let Some(shortcut) = &conv.shortcut else { continue };
        if widest.value_range(shortcut.input).is_none() {
            for (channel, floor) in floors[shortcut.input].iter_mut().enumerate() {
                let out = channel + shortcut.channel_offset;
                *floor = (*floor).max(conv.ring_bits[out] - shortcut.shifts[out]);
            }
        }
    }
    graph.check()
}

/// The smallest signed ring that holds the accumulators `bounds` of output channel `channel` and what its
/// [`Output`] adds to them; `None` when more than 62 bits are needed. The output must be one that
/// [`Graph::check`] accepts, with such a channel.
pub fn needed_ring_bits(output: &Output, channel: usize, bounds: (i128, i128)) -> Option<u8> {
    let (low, high) = match output {
        Output::Accumulator => bounds,
        Output::Activation { bits, shifts } => {
            let (act_bits, shift) = (u32::from(*bits), u32::from(shifts[channel]));
            (bounds.0.saturating_sub(1 << (act_bits + shift)), bounds.1.saturating_add(1 << (shift - 1)))
        }
    };
    (2..=MAX_RING).find(|bits| low >= -(1 << (bits - 1)) && high < 1 << (bits - 1))
}

fn ranges(graph: &CheckedGraph, weights: &Weights) -> Result<Vec<NodeRange>, Error> {
    weights.check(graph)?;
    let mut ranges: Vec<NodeRange> = Vec::with_capacity(graph.nodes().len());
    for (id, node) in graph.nodes().iter().enumerate() {
        let values = graph.value_range(id).unwrap_or_default();
        let range = match (&node.op, weights.layers.get(&node.name)) {
            (Op::Conv(conv), Some(layer)) => {
                let input = graph.value_range(conv.input).unwrap_or_default();
                let bounds = conv_bounds(conv, layer, graph.shape(id), &input);
                let shortcut = conv.shortcut.as_ref().map(|shortcut| {
                    graph.value_range(shortcut.input).unwrap_or_else(|| ranges[shortcut.input].bounds.clone())
                });
                with_shortcut(node, conv, bounds, shortcut.as_deref())?
            }
            _ => NodeRange { bounds: values, needed_bits: Vec::new() },
        };
        ranges.push(range);
    }
    Ok(ranges)
}

/// Adds the shortcut's range and finds the rings.
fn with_shortcut(
    node: &Node,
    conv: &Conv,
    mut bounds: Vec<(i128, i128)>,
    shortcut: Option<&[(i64, i64)]>,
) -> Result<NodeRange, Error> {
    if let (Some(spec), Some(values)) = (&conv.shortcut, shortcut) {
        for (channel, &(low, high)) in values.iter().enumerate() {
            let out = channel + spec.channel_offset;
            let factor = 1_i128 << spec.shifts[out];
            bounds[out].0 = bounds[out].0.saturating_add(i128::from(low) * factor);
            bounds[out].1 = bounds[out].1.saturating_add(i128::from(high) * factor);
        }
    }
    let needed = |(channel, &bound): (usize, &(i128, i128))| {
        needed_ring_bits(&conv.output, channel, bound).ok_or_else(|| {
            let expected = format!("accumulators of at most {MAX_RING} bits in channel {channel}");
            Error::node(&node.name, "ring_bits", expected, format!("{} to {}", bound.0, bound.1), NEXT)
        })
    };
    let needed_bits = bounds.iter().enumerate().map(needed).collect::<Result<_, _>>()?;
    // Bounds that fit 62 bits fit an i64.
    let bounds = bounds.into_iter().map(|(low, high)| (low as i64, high as i64)).collect();
    Ok(NodeRange { bounds, needed_bits })
}

/// What [`Graph::check`] asks of a ring whatever the values: room for every shift.
fn structural_bits(conv: &Conv, channel: usize) -> u8 {
    let tap =
        |position| conv.tap_shift(position, channel) + conv.exponents(position).last().map_or(0, |&k| k);
    let products = (0..conv.positions()).map(tap).max().unwrap_or(0);
    let output = match &conv.output {
        Output::Accumulator => 0,
        Output::Activation { bits, shifts } => bits + shifts[channel],
    };
    let shortcut = conv.shortcut.as_ref().map_or(0, |shortcut| shortcut.shifts[channel]);
    products.max(output).max(shortcut) + 1
}

/// The widest ring a graph may use: products of two shares' halves and rounding constants stay inside an i64.
const MAX_RING: u8 = 62;
const NEXT: &str = "Lower the network again: `eqo quantize` proves and sets the rings.";
