//! Plain integer inference: what a checkpoint means. The private protocol must reproduce it bit for bit.
//!
//! Winograd convolutions are computed as the protocol does, by tile transforms and one matrix product a tap;
//! nothing here depends on floating point.

use crate::arith::requantize;
use crate::graph::{CheckedGraph, Conv, Input, NodeId, Op, Output};
use crate::layout::{Tournament, max_pool, shortcut, sum_pool};
use crate::weights::{LayerWeights, Weights};
use crate::{Error, range};

mod batch;
mod conv;
mod product;

pub use batch::class_of;
use conv::CompiledConv;

/// Integers of one node, `[channels, height, width]`, row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntTensor {
    /// Channels, height and width.
    pub shape: [usize; 3],
    /// The integers.
    pub values: Vec<i64>,
}

/// A graph with its weights, ready to run; [`crate::Checkpoint::engine`] makes one too. No `Debug`: it holds the
/// server's weights.
pub struct Engine {
    graph: CheckedGraph,
    layers: Vec<Option<CompiledConv>>,
}

impl Engine {
    /// Checks the weights against the graph, proves every accumulator's ring and prepares the matrices.
    ///
    /// # Errors
    /// Those of [`range::prove`].
    pub fn new(graph: CheckedGraph, weights: &Weights) -> Result<Self, Error> {
        range::prove(&graph, weights)?;
        Ok(Self::compile(graph, weights))
    }

    /// Graph and weights are already proven.
    pub(crate) fn compile(graph: CheckedGraph, weights: &Weights) -> Self {
        let layers = graph
            .nodes()
            .iter()
            .enumerate()
            .map(|(id, node)| match &node.op {
                Op::Conv(conv) => weights
                    .layers
                    .get(&node.name)
                    .map(|layer| CompiledConv::new(conv, layer, graph.shape(conv.input), graph.shape(id))),
                Op::Input(_) | Op::MaxPool(_) | Op::SumPool { .. } => None,
            })
            .collect();
        Self { graph, layers }
    }

    /// The graph that runs.
    pub fn graph(&self) -> &CheckedGraph {
        &self.graph
    }

    /// The logits of an image `[channels][height][width]` of pixels 0 to 255, in class order.
    ///
    /// # Errors
    /// [`Error::Image`] unless the image has the graph's shape.
    pub fn run(&self, image: &[u8]) -> Result<Vec<i64>, Error> {
        Ok(self.trace(image)?.pop().map_or_else(Vec::new, |logits| logits.values))
    }

    /// Every node's output in graph order: the offset image, activations, sums, and accumulators where a
    /// convolution ends in one.
    ///
    /// # Errors
    /// [`Error::Image`] unless the image has the graph's shape.
    pub fn trace(&self, image: &[u8]) -> Result<Vec<IntTensor>, Error> {
        let expected = self.graph.shape(0);
        if image.len() != expected.iter().product::<usize>() {
            return Err(Error::Image { expected, found: image.len() });
        }
        let mut tensors: Vec<IntTensor> = Vec::with_capacity(self.layers.len());
        for id in 0..self.layers.len() {
            let values = self.evaluate(id, image, &tensors);
            tensors.push(IntTensor { shape: self.graph.shape(id), values });
        }
        Ok(tensors)
    }

    fn evaluate(&self, id: NodeId, image: &[u8], tensors: &[IntTensor]) -> Vec<i64> {
        match (&self.graph.nodes()[id].op, &self.layers[id]) {
            (Op::Conv(conv), Some(compiled)) => self.convolve(conv, compiled, id, tensors),
            (Op::MaxPool(pool), _) => {
                let input = &tensors[pool.input];
                max_pool(&Tournament::new(pool, input.shape), &input.values)
            }
            (Op::SumPool { input }, _) => {
                let [_, height, width] = tensors[*input].shape;
                sum_pool(height * width, &tensors[*input].values)
            }
            (Op::Input(input), _) => centre(input, image),
            (Op::Conv(_), None) => unreachable!("every convolution of a proven graph has weights"),
        }
    }

    fn convolve(&self, conv: &Conv, compiled: &CompiledConv, id: NodeId, tensors: &[IntTensor]) -> Vec<i64> {
        let shape = self.graph.shape(id);
        let residual = conv.shortcut.as_ref().map(|residual| {
            let from = &tensors[residual.input];
            shortcut(residual, from.shape, shape, &from.values)
        });
        let mut accumulators = compiled.accumulate(&tensors[conv.input].values, residual.as_deref());
        if let Output::Activation { bits, shifts } = &conv.output {
            for (plane, &shift) in accumulators.chunks_exact_mut(shape[1] * shape[2]).zip(shifts) {
                plane.iter_mut().for_each(|value| *value = requantize(*value, shift, *bits));
            }
        }
        accumulators
    }
}

/// Exact accumulators of one convolution for each of `images`, and for each of the `residuals` if there are any; the
/// shapes are those of its input and its output. For calibration, before there is a graph.
pub(crate) fn accumulators(
    conv: &Conv,
    layer: &LayerWeights,
    [input, output]: [[usize; 3]; 2],
    images: &[Vec<i64>],
    residuals: Option<&[Vec<i64>]>,
) -> Vec<Vec<i64>> {
    let compiled = CompiledConv::new(conv, layer, input, output);
    let residual = |index: usize| residuals.map(|residuals| residuals[index].as_slice());
    images.iter().enumerate().map(|(index, image)| compiled.accumulate(image, residual(index))).collect()
}

/// `pixel - offset` of each channel.
pub(crate) fn centre(input: &Input, image: &[u8]) -> Vec<i64> {
    image
        .chunks_exact(input.height * input.width)
        .zip(&input.offsets)
        .flat_map(|(plane, &offset)| plane.iter().map(move |&pixel| i64::from(pixel) - i64::from(offset)))
        .collect()
}
