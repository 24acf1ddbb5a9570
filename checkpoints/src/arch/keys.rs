//! State-dict keys: PyTorch's names and shapes.

use std::collections::BTreeMap;

use super::{Arch, ArchNode, ArchOp};

/// The tensors of a node with weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Key of the weights.
    pub weight: String,
    /// `[out, in, k, k]` of a convolution, `[out, in]` of a linear layer.
    pub weight_shape: Vec<usize>,
    /// Key of the bias `[out]`.
    pub bias: Option<String>,
    /// Keys of a batch normalization's gamma, beta, running mean and running variance, each `[out]`.
    pub norm: Option<[String; 4]>,
}

impl Keys {
    /// The keys of a node; `None` if it has no weights.
    pub fn of(node: &ArchNode) -> Option<Self> {
        let conv = node.op.as_conv()?;
        let weight_shape = match &node.op {
            ArchOp::Linear { in_features, out_features, .. } => vec![*out_features, *in_features],
            _ => vec![conv.out_channels, conv.in_channels, conv.kernel, conv.kernel],
        };
        let parts = ["weight", "bias", "running_mean", "running_var"];
        Some(Self {
            weight: format!("{}.weight", node.name),
            weight_shape,
            bias: conv.bias.then(|| format!("{}.bias", node.name)),
            norm: conv.batch_norm.map(|prefix| parts.map(|part| format!("{prefix}.{part}"))),
        })
    }

    /// Key and shape of each tensor.
    pub fn shapes(&self) -> impl Iterator<Item = (&str, Vec<usize>)> {
        let out = self.weight_shape[0];
        let vectors = self.bias.iter().chain(self.norm.iter().flatten());
        let vectors = vectors.map(move |key| (key.as_str(), vec![out]));
        vectors.chain([(self.weight.as_str(), self.weight_shape.clone())])
    }
}

impl Arch {
    /// Key and shape of every tensor of the float network.
    pub fn state_dict(&self) -> BTreeMap<String, Vec<usize>> {
        let keys: Vec<Keys> = self.nodes.iter().filter_map(Keys::of).collect();
        let shapes = keys.iter().flat_map(Keys::shapes);
        shapes.map(|(key, shape)| (key.to_owned(), shape)).collect()
    }
}
