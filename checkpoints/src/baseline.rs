//! Networks as earlier protocols compute them: SiRNN, CrypTFlow2, CoPriv, COINN, and a quantized network by their gates.
//!
//! A [`Program`] is public and says tensor by tensor what is computed in which ring; both parties of `eqo-protocol`'s
//! `baseline` run it by the gates of SCI (EzPC), [`Program::evaluate`] computes the same in the clear, and
//! [`crate::cost::baseline`] foretells every byte. So ratios to these protocols come from one engine.
//!
//! A tensor is `[channels, height, width]` of one image; its values are classes of Z_{2^bits}, and each operation says whether
//! it reads them as signed.

mod check;
mod coinn;
mod direction;
mod fixed;
mod layer;
mod plain;
mod products;
mod quantized;
mod random;

pub use coinn::{coinn, coinn_weights};
pub use fixed::{FixedNetwork, FixedPoint, FloatLayer, fixed_point};
pub use layer::{LAYER_INPUT_LIMIT, Layer};
pub use plain::{window_sums, windows};
pub use products::{Chooser, Code, OperandRing, Products};
pub use quantized::{Steps, quantized};
pub use random::float_layers;

use serde::Serialize;

use crate::graph::Shortcut;

/// Index of an operation in [`Program::ops`], and of the tensor that it puts out.
pub type TensorId = usize;

/// What both parties compute. The first operation is the input, the last one's tensor is opened to the client.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Program {
    /// Profile and network, such as `sirnn cifar-resnet32`.
    pub name: String,
    /// Operations in order; each reads tensors of earlier ones.
    pub ops: Vec<Op>,
}

/// One operation and the tensor that it puts out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Op {
    /// The layer of the network that it belongs to.
    pub layer: String,
    /// What it computes.
    pub kind: Kind,
    /// Channels, height and width of its tensor.
    pub shape: [usize; 3],
    /// Its tensor's ring Z_{2^bits}, 1 to 62.
    pub bits: u32,
}

/// What an [`Op`] computes from tensors of earlier ones.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Kind {
    /// The client's image.
    Input,
    /// A convolution or linear layer, with the server's bias.
    Products(Products),
    /// The same integers in a wider ring.
    Extend {
        /// The tensor it reads.
        input: TensorId,
        /// What is known of the integers.
        range: Range,
    },
    /// Classes of a narrower ring. Local.
    Reduce {
        /// The tensor it reads.
        input: TensorId,
    },
    /// `x >> shift` in the ring of `shift` bits fewer (truncate-and-reduce; SiRNN, §3.2).
    TruncateReduce {
        /// The tensor it reads.
        input: TensorId,
        /// At least 1.
        shift: u32,
    },
    /// `x >> shift` in the same ring (faithful truncation; CrypTFlow2, §5.1), of signed integers or of those after a ReLU.
    Truncate {
        /// The tensor it reads.
        input: TensorId,
        /// At least 1, less than `bits`.
        shift: u32,
        /// What is known of the integers; they are not of [`Range::Unsigned`].
        range: Range,
    },
    /// `max(x, 0)` of signed integers.
    Relu {
        /// The tensor it reads.
        input: TensorId,
        /// The multiplexer's messages.
        multiplexer: Multiplexer,
    },
    /// `min(x, 2^top − 1)` of integers whose top bit is 0.
    Clamp {
        /// The tensor it reads.
        input: TensorId,
        /// At least 1, less than `bits`.
        top: u32,
    },
    /// Sum of two tensors of one shape and ring. Local.
    Add {
        /// Both tensors.
        inputs: [TensorId; 2],
    },
    /// A residual input as [`crate::layout::shortcut`] gives it, in the ring of its tensor. Local.
    Shortcut(Shortcut),
    /// Sum over the channels and the kernel of every window of a convolution of this kernel, stride and zero padding: one
    /// channel. Local.
    WindowSum {
        /// The tensor it reads.
        input: TensorId,
        /// Kernel, stride and zero padding.
        window: [usize; 3],
    },
    /// Sum over height and width. Local.
    SumPool {
        /// The tensor it reads.
        input: TensorId,
    },
    /// The largest integer of every window; all of them have a top bit of 0, and so has the padding.
    MaxPool {
        /// The tensor it reads.
        input: TensorId,
        /// Kernel, stride and zero padding, in both directions.
        window: [usize; 3],
        /// The messages of the multiplexers.
        multiplexer: Multiplexer,
    },
}

/// What is known of the integers that are extended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Range {
    /// Anything, read as signed.
    Signed,
    /// Anything, read as unsigned.
    Unsigned,
    /// The top bit is 0 (after ReLU).
    TopBitZero,
}

/// How a shared bit meets a shared integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Multiplexer {
    /// Two messages an OT (CrypTFlow2).
    Chosen,
    /// Correlated OT, one message (SiRNN).
    Correlated,
}

/// The server's integers for every [`Kind::Products`], by the index of its operation. No `Debug`: they are secret.
#[derive(Clone, PartialEq, Default)]
pub struct ProgramWeights {
    /// One entry for each operation; empty where it has no weights.
    pub layers: Vec<LayerCodes>,
}

/// Weights of one operation.
#[derive(Clone, PartialEq, Default)]
pub struct LayerCodes {
    /// `[positions][out][in of a group]`, see [`Code`] for what they stand for.
    pub codes: Vec<i64>,
    /// `[out]`, classes of the result's ring.
    pub bias: Vec<i64>,
}

impl Program {
    /// Number of elements of a tensor.
    pub fn len(&self, id: TensorId) -> usize {
        self.ops[id].shape.iter().product()
    }

    /// Whether there is nothing to compute.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// The last operation that reads each tensor, after which it can be forgotten; the program's end for the result.
    pub fn last_uses(&self) -> Vec<TensorId> {
        let mut last: Vec<TensorId> = (0..self.ops.len()).collect();
        for (id, op) in self.ops.iter().enumerate() {
            op.kind.inputs().into_iter().for_each(|input| last[input] = id);
        }
        if let Some(result) = last.last_mut() {
            *result = self.ops.len();
        }
        last
    }

    /// A name that no other program has: what both parties compare before they start.
    pub fn hash(&self) -> [u8; 32] {
        // A program holds no maps and no floats, so it serializes and always alike.
        let json = serde_json::to_vec(self).unwrap_or_default();
        blake3::hash(&json).into()
    }

    fn push(&mut self, layer: &str, kind: Kind, shape: [usize; 3], bits: u32) -> TensorId {
        self.ops.push(Op { layer: layer.to_owned(), kind, shape, bits });
        self.ops.len() - 1
    }

    /// An operation that keeps its input's shape.
    fn push_like(&mut self, layer: &str, like: TensorId, kind: Kind, bits: u32) -> TensorId {
        let shape = self.ops[like].shape;
        self.push(layer, kind, shape, bits)
    }
}

impl Op {
    /// How many of the server's integers it reads.
    pub fn codes(&self) -> usize {
        if let Kind::Products(products) = &self.kind { products.codes() } else { 0 }
    }

    /// How its products are arranged; empty where there are none.
    pub fn algorithm(&self) -> &'static str {
        if let Kind::Products(products) = &self.kind { products.algorithm.name() } else { "" }
    }

    /// What reports call it.
    pub fn operator(&self) -> &'static str {
        match &self.kind {
            Kind::Input => "input",
            Kind::Products(products) if products.is_linear(self.shape) => "linear",
            Kind::Products(_) => "convolution",
            Kind::Extend { .. } => "extension",
            Kind::TruncateReduce { .. } | Kind::Truncate { .. } => "truncation",
            Kind::Relu { .. } => "relu",
            Kind::Clamp { .. } => "clamp",
            Kind::Add { .. } | Kind::Shortcut(_) => "residual",
            Kind::Reduce { .. } => "reduction",
            Kind::WindowSum { .. } => "convolution",
            Kind::SumPool { .. } | Kind::MaxPool { .. } => "pooling",
        }
    }
}
