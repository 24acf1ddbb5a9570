//! A network node by node, for finding the one that went wrong.

use burn::tensor::Tensor;
use eqo_checkpoints::arch::Arch;

use crate::QatNet;
use crate::classifier::Classifier;
use crate::interpret::weighted_nodes;
use crate::net::Net;

/// A classifier that interprets an [`Arch`].
///
/// Its parameters sit in a list with one element for each convolution or linear layer, in the architecture's order.
pub trait Layers: Classifier {
    /// What it interprets.
    fn architecture(&self) -> &Arch;

    /// Output of every node of the architecture for raw pixels `[batch, 3, height, width]`, in whatever layout the network
    /// works in.
    fn node_outputs(&self, pixels: Tensor<4>) -> Vec<Tensor<4>>;

    /// Names of the layers with parameters, in order.
    fn layer_names(&self) -> Vec<String> {
        weighted_nodes(self.architecture()).map(|node| node.name.clone()).collect()
    }
}

impl Layers for Net {
    fn architecture(&self) -> &Arch {
        self.arch()
    }

    fn node_outputs(&self, pixels: Tensor<4>) -> Vec<Tensor<4>> {
        self.trace(pixels)
    }
}

impl Layers for QatNet {
    fn architecture(&self) -> &Arch {
        self.arch()
    }

    fn node_outputs(&self, pixels: Tensor<4>) -> Vec<Tensor<4>> {
        self.outputs(pixels)
    }
}
