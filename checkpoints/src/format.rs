//! The checkpoint file, format version 1 (specification: `docs/checkpoint-format.md`).
//!
//! One safetensors file. Its metadata holds the public half, the graph as JSON with every shift and ring; its
//! tensors hold the private half, weight codes and biases. Reading proves every range, so a [`Checkpoint`] can be run.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use safetensors::Dtype;

use crate::engine::Engine;
use crate::graph::{CheckedGraph, Conv, Op};
use crate::range;
use crate::weights::Weights;
use crate::{Error, winograd::Algorithm};

mod read;
mod unique;
mod write;

/// The version this crate reads and writes.
pub const VERSION: &str = "1";

/// Longest file that is read: one gibibyte, some twenty times ResNet-50.
pub const MAX_FILE: u64 = 1 << 30;

/// Graph and weights that fit together, with proven rings. No `Debug`: it holds the server's weights.
#[derive(Clone, PartialEq)]
pub struct Checkpoint {
    graph: CheckedGraph,
    weights: Weights,
    metadata: Metadata,
}

/// Where a checkpoint comes from; nothing computes with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// The recipe, as TOML text.
    pub recipe: String,
    /// Name of the dataset it was fine-tuned on.
    pub dataset: String,
    /// Seed of the training run.
    pub seed: u64,
    /// Share of test images the integer engine gets right, 0 to 1, if measured.
    pub accuracy: Option<f64>,
}

impl Checkpoint {
    /// Puts graph and weights together.
    ///
    /// # Errors
    /// [`Error::Node`] for logits of more than one pixel; those of [`range::prove`].
    pub fn new(graph: CheckedGraph, weights: Weights, metadata: Metadata) -> Result<Self, Error> {
        let logits = graph.nodes().len() - 1;
        let (shape, expected) = (graph.shape(logits), [graph.graph().classes.len(), 1, 1]);
        if shape != expected {
            let next = "End the network in a pooling and a linear layer, one logit a class.";
            let (name, [expected, shape]) =
                (&graph.nodes()[logits].name, [expected, shape].map(|shape| format!("{shape:?}")));
            return Err(Error::node(name, "shape of the logits", expected, shape, next));
        }
        range::prove(&graph, &weights)?;
        Ok(Self { graph, weights, metadata })
    }

    /// Reads and proves a file.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::File`] for what isn't a checkpoint of version 1, [`Error::InFile`] for one whose graph
    /// or weights break a rule.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io { path: path.to_owned(), action: "read", source };
        let mut bytes = Vec::new();
        File::open(path).map_err(io)?.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(io)?;
        read::checkpoint(&path.display().to_string(), &bytes)
    }

    /// Reads and proves a file's bytes; errors call the file "checkpoint".
    ///
    /// # Errors
    /// Those of [`Checkpoint::read`] except [`Error::Io`].
    pub fn read_bytes(bytes: &[u8]) -> Result<Self, Error> {
        read::checkpoint("checkpoint", bytes)
    }

    /// Writes `path` through `path.part`: a failure leaves an existing file as it was.
    ///
    /// # Errors
    /// [`Error::Io`] when the file can't be written, flushed to disk or renamed.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        write::file(path, &self.to_bytes())
    }

    /// The file's bytes; equal checkpoints give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        write::bytes(self)
    }

    /// The plain integer engine of this checkpoint.
    pub fn engine(&self) -> Engine {
        Engine::compile(self.graph.clone(), &self.weights)
    }

    /// The public half.
    pub fn graph(&self) -> &CheckedGraph {
        &self.graph
    }

    /// The private half.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// Where it comes from.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}

/// Name, type and shape of one tensor of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TensorSpec {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
}

/// The two tensors of a convolution: codes and bias.
fn tensors_of(node: &str, conv: &Conv) -> [TensorSpec; 2] {
    let kind = if conv.algorithm == Algorithm::Direct { "w" } else { "u" };
    let codes = vec![conv.positions(), conv.out_channels, conv.in_channels];
    [
        TensorSpec { name: format!("{node}.{kind}"), dtype: Dtype::I8, shape: codes },
        TensorSpec { name: format!("{node}.bias"), dtype: Dtype::I64, shape: vec![conv.out_channels] },
    ]
}

/// Convolutions of a graph with their names.
fn convolutions(graph: &CheckedGraph) -> impl Iterator<Item = (&str, &Conv)> {
    graph.nodes().iter().filter_map(|node| match &node.op {
        Op::Conv(conv) => Some((node.name.as_str(), conv)),
        Op::Input(_) | Op::MaxPool(_) | Op::SumPool { .. } => None,
    })
}

/// The checksum `weights_blake3`: BLAKE3 over all tensors in ascending order of their names, each as name, type and
/// decimal shape with a zero byte after each, then its little-endian data.
fn weights_hash(tensors: &BTreeMap<String, (TensorSpec, Vec<u8>)>) -> String {
    let mut hasher = blake3::Hasher::new();
    for (spec, data) in tensors.values() {
        let shape = spec.shape.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        for text in [&spec.name, &spec.dtype.to_string(), &shape] {
            hasher.update(text.as_bytes());
            hasher.update(&[0]);
        }
        hasher.update(data);
    }
    hasher.finalize().to_hex().to_string()
}
