//! What a party is willing to hold in memory, whatever graph the other one names.

use eqo_checkpoints::cost::{self, Comparison, Group, groups};
use eqo_checkpoints::graph::{CheckedGraph, Conv, MaxPool, NodeId, Op, Output};
use eqo_checkpoints::layout::{self, ConvLayout};

use crate::Error;
use crate::layers::last_uses;

/// Largest batch a session may allow.
pub(super) const MAX_BATCH: usize = 1024;

/// Weight bits of one layer.
const MAX_WEIGHT_BITS: usize = 1 << 27;

/// Elements of one layer's gathered input or products, and of all outputs that are still to be read: 8 bytes each.
const MAX_ELEMENTS: usize = 1 << 27;

/// Bytes of all prepared inferences.
const MAX_PREPARED: usize = 1 << 32;

/// Different trees of one layer: each takes microseconds to build, and is built for every node and request.
const MAX_GROUPS: usize = 256;

/// Random OTs of one node or of a class: some 40 bytes each while they are drawn.
const MAX_OTS: u64 = 1 << 27;

/// The largest batch up to `wanted` that this party is willing to hold, by halving.
///
/// # Errors
/// [`Error::Config`] if not even one image fits, or `wanted` is no batch size.
pub fn largest_batch(graph: &CheckedGraph, wanted: usize) -> Result<usize, Error> {
    let mut batch = wanted;
    while batch > 1 && batch <= MAX_BATCH && check(graph, batch).is_err() {
        batch /= 2;
    }
    check(graph, batch).map(|()| batch)
}

/// Images that a session may keep prepared, of one inference or several.
pub(super) fn most_prepared(graph: &CheckedGraph) -> usize {
    MAX_PREPARED / image_bytes(graph).max(1)
}

/// What a party keeps of a prepared inference for each image.
pub(super) fn image_bytes(graph: &CheckedGraph) -> usize {
    (0..graph.nodes().len()).map(|id| prepared_bytes(graph, id)).sum()
}

/// What a party keeps of a node for one image: masks and shares of 8 bytes, and for each activation what its
/// requantization takes.
fn prepared_bytes(graph: &CheckedGraph, id: NodeId) -> usize {
    let [channels, height, width] = graph.shape(id);
    let masks = 16 * channels * height * width;
    masks
        + match &graph.nodes()[id].op {
            Op::Conv(conv) => requantization_bytes(conv, height * width),
            Op::MaxPool(pool) => pooling_bytes(graph, id, pool),
            Op::Input(_) | Op::SumPool { .. } => 0,
        }
}

fn requantization_bytes(conv: &Conv, plane: usize) -> usize {
    let Output::Activation { bits, .. } = conv.output else { return 0 };
    let of_group = |group: &Group| {
        // The masks, the multipliers and the wrap.
        group.channels.len() * plane * (comparison_bytes(&group.comparison(bits)) + 40)
    };
    groups(conv).iter().map(of_group).sum()
}

fn pooling_bytes(graph: &CheckedGraph, id: NodeId, pool: &MaxPool) -> usize {
    let [channels, height, width] = graph.shape(id);
    let tree = Comparison::carry_only(graph.activation_bits(id).unwrap_or(1));
    let input = graph.shape(pool.input);
    let matches: usize = layout::pooling_matches(pool, input).iter().sum();
    // A copy of the mask, of each match the multiplier, the lead and the winner's mask, the wraps.
    let copy = 8 * input.iter().product::<usize>();
    copy + channels * matches * (comparison_bytes(&tree) + 20) + 10 * channels * height * width
}

/// Of one element: leaves, and a triple of three bytes for each joint AND.
fn comparison_bytes(tree: &Comparison) -> usize {
    tree.leaf_message_bits() / 8 + tree.digits.len() + 3 * tree.joints.len()
}

/// # Errors
/// [`Error::Config`] for a graph or batch that would need too much memory.
pub(super) fn check(graph: &CheckedGraph, batch: usize) -> Result<(), Error> {
    if batch == 0 || batch > MAX_BATCH {
        return Err(refuse("batch", format!("1 to {MAX_BATCH} images"), batch));
    }
    let [_, height, width] = graph.shape(graph.nodes().len() - 1);
    if height * width != 1 {
        return Err(refuse("pixels of the logits", "1".to_owned(), height * width));
    }
    for (id, node) in graph.nodes().iter().enumerate() {
        if let Op::Conv(conv) = &node.op {
            check_conv(graph, id, conv, batch)?;
        }
        let ots = cost::ots(graph, id, batch);
        let ots = ots.server_sends.saturating_add(ots.client_sends);
        if ots > MAX_OTS {
            return Err(refuse("oblivious transfers of a layer", format!("at most {MAX_OTS}"), ots as usize));
        }
        if let (Op::Conv(conv), true) = (&node.op, id + 1 == graph.nodes().len()) {
            let ots = cost::top1(conv, batch).ots().server_sends;
            if ots > MAX_OTS {
                let expected = format!("at most {MAX_OTS}");
                return Err(refuse("oblivious transfers of a class", expected, ots as usize));
            }
        }
    }
    let held = most_held(graph, batch);
    if held > MAX_ELEMENTS {
        return Err(refuse("elements of all outputs held at once", format!("at most {MAX_ELEMENTS}"), held));
    }
    let prepared = most_prepared(graph);
    if batch > prepared {
        return Err(refuse("images of a prepared inference", format!("at most {prepared}"), batch));
    }
    Ok(())
}

fn check_conv(graph: &CheckedGraph, id: NodeId, conv: &Conv, batch: usize) -> Result<(), Error> {
    let groups = groups(conv).len();
    if groups > MAX_GROUPS {
        return Err(refuse("rings and shifts of a layer", format!("at most {MAX_GROUPS}"), groups));
    }
    let lanes = ConvLayout::new(conv, graph.shape(conv.input), graph.shape(id)).columns() * batch;
    let weights = conv.weight_bits();
    if weights > MAX_WEIGHT_BITS {
        return Err(refuse("weight bits of a layer", format!("at most {MAX_WEIGHT_BITS}"), weights));
    }
    let elements = conv.positions() * conv.in_channels.max(conv.out_channels) * lanes;
    if elements > MAX_ELEMENTS {
        return Err(refuse("elements of a layer", format!("at most {MAX_ELEMENTS}"), elements));
    }
    Ok(())
}

/// The most elements of node outputs that are held at any time.
pub(super) fn most_held(graph: &CheckedGraph, batch: usize) -> usize {
    let last_uses = last_uses(graph);
    let size = |id| graph.shape(id).iter().product::<usize>() * batch;
    let (mut held, mut most) = (0, 0);
    for id in 0..last_uses.len() {
        held += size(id);
        most = most.max(held);
        let read = last_uses.iter().enumerate().filter(|(_, last)| **last == id);
        held -= read.map(|(earlier, _)| size(earlier)).sum::<usize>();
    }
    most
}

fn refuse(what: &'static str, expected: String, found: usize) -> Error {
    Error::Config { what, expected, found: found.to_string(), next: "take a smaller batch or network" }
}

#[cfg(test)]
mod tests {
    use eqo_checkpoints::graph::{Graph, Input, Node, Shortcut};
    use eqo_checkpoints::winograd::Algorithm;

    use super::*;

    /// 2^13 pixels to `channels` accumulators each.
    fn conv(channels: usize, shortcut: Option<usize>) -> Op {
        let shortcut =
            shortcut.map(|input| Shortcut { input, stride: 1, channel_offset: 0, shifts: vec![0; channels] });
        Op::Conv(Conv {
            input: 0,
            in_channels: 1,
            out_channels: channels,
            kernel: 1,
            stride: 1,
            padding: 0,
            algorithm: Algorithm::Direct,
            weight_exponents: vec![vec![0, 1]],
            weight_offset: 0,
            tap_shifts: vec![vec![0; channels]],
            shortcut,
            ring_bits: vec![12; channels],
            output: Output::Accumulator,
        })
    }

    /// An activation of 2^13 pixels, their sum, and a logit of it: three nodes from `first` on.
    fn ending(first: usize) -> [Op; 3] {
        let (Op::Conv(narrow), Op::Conv(logit)) = (conv(1, None), conv(1, None)) else { unreachable!() };
        let activation = Output::Activation { bits: 4, shifts: vec![2] };
        [
            Op::Conv(Conv { output: activation, ..narrow }),
            Op::SumPool { input: first },
            Op::Conv(Conv { input: first + 1, ..logit }),
        ]
    }

    /// `count` layers of 2^25 accumulators each, which as many further layers read later.
    fn hoarder(count: usize) -> CheckedGraph {
        let input = Op::Input(Input { height: 1, width: 1 << 13, offsets: vec![0] });
        let writers = (0..count).map(|_| conv(1 << 12, None));
        let readers = (0..count).map(|at| conv(1 << 12, Some(1 + at)));
        let ops = [input].into_iter().chain(writers).chain(readers).chain(ending(1 + 2 * count));
        let nodes = ops.enumerate().map(|(id, op)| Node { name: format!("n{id}"), op }).collect();
        let classes = vec!["only".to_owned()];
        Graph { name: "hoarder".to_owned(), classes, logit_exponent: 0, nodes }.check().unwrap()
    }

    #[test]
    fn more_activations_than_a_session_may_prepare_are_refused_though_every_layer_is_small() {
        let wide = |bits| {
            let Op::Conv(conv) = conv(1 << 7, None) else { unreachable!() };
            Op::Conv(Conv { output: Output::Activation { bits, shifts: vec![2; 1 << 7] }, ..conv })
        };
        let graph = |count: usize| {
            let input = Op::Input(Input { height: 1, width: 1 << 13, offsets: vec![0] });
            let ops = [input].into_iter().chain((0..count).map(|_| wide(4))).chain(ending(1 + count));
            let nodes = ops.enumerate().map(|(id, op)| Node { name: format!("n{id}"), op }).collect();
            let classes = vec!["only".to_owned()];
            Graph { name: "wide".to_owned(), classes, logit_exponent: 0, nodes }.check().unwrap()
        };
        assert!(check(&graph(10), 1).is_ok());
        let error = check(&graph(100), 1).unwrap_err().to_string();
        assert!(error.contains("images of a prepared inference"), "{error}");
    }

    #[test]
    fn thousands_of_poolings_of_a_large_map_are_weighed_at_once() {
        let poolings = 4000;
        let pool = |input| Op::MaxPool(MaxPool { input, kernel: 15, stride: 1, padding: 7 });
        let [activation, sum, logit] = ending(1);
        let (Op::SumPool { .. }, Op::Conv(logit)) = (sum, logit) else { unreachable!() };
        let input = Op::Input(Input { height: 1, width: 1 << 13, offsets: vec![0] });
        let ends = [Op::SumPool { input: 1 + poolings }, Op::Conv(Conv { input: 2 + poolings, ..logit })];
        let ops = [input, activation].into_iter().chain((1..=poolings).map(pool)).chain(ends);
        let nodes = ops.enumerate().map(|(id, op)| Node { name: format!("n{id}"), op }).collect();
        let classes = vec!["only".to_owned()];
        let graph = Graph { name: "pools".to_owned(), classes, logit_exponent: 0, nodes }.check().unwrap();
        // Each took half a minute while every window was drawn up to be counted.
        for _ in 0..3 {
            let error = largest_batch(&graph, 64).unwrap_err().to_string();
            assert!(error.contains("images of a prepared inference"), "{error}");
        }
    }

    #[test]
    fn logits_of_more_than_one_pixel_are_refused() {
        let mut graph = hoarder(1).graph().clone();
        graph.nodes.last_mut().unwrap().op = conv(1, None);
        assert!(check(&graph.check().unwrap(), 1).unwrap_err().to_string().contains("pixels of the logits"));
    }

    #[test]
    fn many_outputs_held_at_once_are_refused_though_every_layer_is_small() {
        assert!(check(&hoarder(2), 1).is_ok());
        for (layers, batch) in [(40, 1), (2, 2)] {
            let error = check(&hoarder(layers), batch).unwrap_err().to_string();
            assert!(error.contains("held at once"), "{error}");
        }
    }
}
