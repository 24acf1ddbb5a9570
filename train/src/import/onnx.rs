//! Plain convolutional networks from ONNX files.
//!
//! The file is read by `prost` with the messages in [`proto`]; the nodes become the fused units that every other part of this
//! project knows. What has no place in them is refused by node and operation.

use std::collections::BTreeMap;
use std::path::Path;

use eqo_checkpoints::arch::{Arch, ArchNode, ArchOp, NodeId};
use ndarray::ArrayD;

use crate::tensors::NamedTensors;
use crate::{Error, Result};

mod attributes;
mod constants;
mod maps;
mod proto;
#[cfg(test)]
mod tests;
mod units;

use attributes::PLAIN;
use constants::Constants;
use proto::Graph;
use units::Units;

/// Most nodes of a graph; ResNet-152 has about 500.
const MOST_NODES: usize = 1 << 13;
/// Largest side of an image.
const LARGEST_SIDE: i64 = 1 << 12;

/// Why a node can't be imported.
pub(super) struct Refusal {
    node: String,
    expected: String,
    found: String,
    next: &'static str,
}

impl Refusal {
    fn new(node: &str, expected: String, found: String, next: &'static str) -> Self {
        Self { node: node.to_owned(), expected, found, next }
    }
}

/// The architecture and the float weights of a model for images `[batch, 3, height, width]` (normalized as the recipe says), which
/// puts out logits.
///
/// # Errors
/// [`Error::Io`], [`Error::Format`] for something else than ONNX, [`Error::Onnx`] for a network that isn't one of convolutions,
/// ReLUs, max pooling, residual sums, a global average and linear layers.
pub(super) fn read(path: &Path) -> Result<(Arch, NamedTensors)> {
    let bytes = super::read_bytes(path)?;
    let bad = |found| Error::Format { path: path.to_owned(), expected: "an ONNX model", found };
    let graph = proto::Model::read(&bytes).map_err(bad)?;
    drop(bytes);
    network(path, graph).map_err(|Refusal { node, expected, found, next }| Error::Onnx {
        path: path.to_owned(),
        node,
        expected,
        found,
        next,
    })
}

fn network(path: &Path, graph: Graph) -> Result<(Arch, NamedTensors), Refusal> {
    let of_graph =
        |expected: &str, found: String| Refusal::new("the graph", expected.to_owned(), found, PLAIN);
    if graph.node.len() > MOST_NODES {
        return Err(of_graph(&format!("at most {MOST_NODES} nodes"), graph.node.len().to_string()));
    }
    let mut uses = BTreeMap::new();
    let outputs = graph.output.iter().map(|output| &output.name);
    for name in graph.node.iter().flat_map(|node| &node.input).chain(outputs) {
        *uses.entry(name.clone()).or_insert(0) += 1;
    }
    let mut constants = Constants::beside(path);
    for tensor in graph.initializer {
        constants.insert(&tensor.name.clone(), tensor);
    }
    let images: Vec<_> = graph.input.iter().filter(|input| !constants.contains(&input.name)).collect();
    let ([image], [logits]) = (&images[..], &graph.output[..]) else {
        let found = format!("{} and {}", images.len(), graph.output.len());
        return Err(of_graph("one input and one output", found));
    };
    let shape = image_shape(image)?;
    let mut units = Units::new(constants, uses, (&image.name, shape));
    graph.node.iter().try_for_each(|node| units.add(node))?;
    let last = units.of_value(&logits.name);
    let last = last.ok_or_else(|| of_graph("an output computed from the image", logits.name.clone()))?;
    let name = path.file_stem().map_or("onnx".into(), |stem| stem.to_string_lossy());
    finish(units, last, &name)
}

/// `[3, height, width]` of the graph's input.
fn image_shape(image: &proto::Value) -> Result<[usize; 3], Refusal> {
    let tensor = image.r#type.as_ref().and_then(|of| of.tensor.as_ref());
    let dims = tensor.and_then(|tensor| tensor.shape.as_ref());
    let dims: Vec<i64> = dims.map_or(Vec::new(), |shape| shape.dim.iter().map(|dim| dim.dim_value).collect());
    let side = |side: i64| usize::try_from(side).ok().filter(|_| (1..=LARGEST_SIDE).contains(&side));
    match dims[..] {
        [_, 3, height, width] => side(height).zip(side(width)).map(|(height, width)| [3, height, width]),
        _ => None,
    }
    .ok_or_else(|| {
        let expected = "a shape [batch, 3, height, width] with a fixed height and width".to_owned();
        let next = "export the model for images of one size";
        Refusal::new(&format!("input {}", image.name), expected, format!("{dims:?} (0: not fixed)"), next)
    })
}

/// The nodes that `last` depends on, in an order in which every node follows its inputs and `last` comes last.
fn finish(units: Units, last: NodeId, name: &str) -> Result<(Arch, NamedTensors), Refusal> {
    check(&units, last)?;
    let order = order(&units, last);
    let place = |id: NodeId| order.iter().position(|&other| other == id).unwrap_or(0);
    let mut nodes: Vec<ArchNode> = Vec::with_capacity(order.len());
    for &id in &order {
        let mut node = units.units[id].node.clone();
        renumber(&mut node.op, &place);
        nodes.push(node);
    }
    let mut tensors = units.tensors;
    for node in &mut nodes {
        if let ArchOp::Conv(conv) = &mut node.op
            && conv.batch_norm.is_none()
            && !conv.bias
        {
            conv.bias = true;
            tensors.insert(format!("{}.bias", node.name), ArrayD::zeros(vec![conv.out_channels]));
        }
    }
    let arch = Arch { name: name.to_owned(), nodes };
    let expected = arch.state_dict();
    tensors.retain(|name, _| expected.contains_key(name));
    Ok((arch, tensors))
}

/// What joins units can't be seen while they are being put together: whether all that is read has its ReLU.
fn check(units: &Units, last: NodeId) -> Result<(), Refusal> {
    let refuse = |id: NodeId, expected: &str, found: &str| {
        Err(Refusal::new(&units.units[id].node.name, expected.to_owned(), found.to_owned(), PLAIN))
    };
    let logits = &units.units[last];
    if logits.node.op.as_conv().is_none_or(|conv| conv.relu) || logits.shape[1..] != [1, 1] {
        return refuse(last, "a linear layer without ReLU that gives the logits", "another output");
    }
    for (id, unit) in units.units.iter().enumerate() {
        let shortcut = match &unit.node.op {
            ArchOp::Conv(conv) => conv.shortcut.as_ref().map(|shortcut| shortcut.input),
            _ => None,
        };
        for input in inputs(&unit.node.op).into_iter().filter(|&input| Some(input) != shortcut) {
            let image = matches!(units.units[input].node.op, ArchOp::Input { .. });
            let weighted = unit.node.op.as_conv().is_some();
            if !(units.is_rectified(input) || image && weighted) {
                return refuse(
                    id,
                    "a ReLU on what it reads",
                    &format!("{} without one", units.units[input].node.name),
                );
            }
            if !weighted && matches!(units.units[input].node.op, ArchOp::GlobalAvgPool { .. }) {
                return refuse(id, "a layer with weights behind a global average", "another pooling");
            }
        }
    }
    Ok(())
}

fn order(units: &Units, last: NodeId) -> Vec<NodeId> {
    let mut needed = vec![false; units.units.len()];
    let mut open = vec![last];
    while let Some(id) = open.pop() {
        if !std::mem::replace(&mut needed[id], true) {
            open.extend(inputs(&units.units[id].node.op));
        }
    }
    let mut order: Vec<NodeId> = Vec::new();
    let mut placed = vec![false; units.units.len()];
    // Residuals may point to later units; there are few, so few rounds place all.
    while let Some(id) = (0..units.units.len()).find(|&id| {
        needed[id] && !placed[id] && inputs(&units.units[id].node.op).iter().all(|&input| placed[input])
    }) {
        placed[id] = true;
        order.push(id);
    }
    order
}

/// The units that an operation reads.
fn inputs(op: &ArchOp) -> Vec<NodeId> {
    match op {
        ArchOp::Input { .. } => Vec::new(),
        ArchOp::GlobalAvgPool { input } | ArchOp::MaxPool { input, .. } | ArchOp::Linear { input, .. } => {
            vec![*input]
        }
        ArchOp::Conv(conv) => {
            std::iter::once(conv.input).chain(conv.shortcut.iter().map(|s| s.input)).collect()
        }
    }
}

fn renumber(op: &mut ArchOp, place: &dyn Fn(NodeId) -> NodeId) {
    match op {
        ArchOp::Input { .. } => {}
        ArchOp::GlobalAvgPool { input } | ArchOp::MaxPool { input, .. } | ArchOp::Linear { input, .. } => {
            *input = place(*input);
        }
        ArchOp::Conv(conv) => {
            conv.input = place(conv.input);
            if let Some(shortcut) = &mut conv.shortcut {
                shortcut.input = place(shortcut.input);
            }
        }
    }
}
