//! Networks in fixed point: CrypTFlow2 and CoPriv in one ring, SiRNN in rings of 16 and 32 bits.

mod weights;

pub use weights::{FixedNetwork, FloatLayer};

use super::{Chooser, Code, Kind, Multiplexer, OperandRing, Products, Program, Range, TensorId};
use crate::Error;
use crate::arch::{self, Arch, ArchNode, ArchOp, Conv};
use crate::graph::Shortcut;
use crate::winograd::Algorithm;

/// How a network is computed in fixed point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FixedPoint {
    /// One ring for everything, faithful truncation after each ReLU (CrypTFlow2, eprint 2020/1002; with [`Algorithm::F2x2`]
    /// CoPriv, arXiv 2311.01737).
    Uniform {
        /// The ring's bits: 37 as EzPC runs CrypTFlow2's ResNet-32, 41 in CoPriv's artifact.
        bits: u32,
        /// How 3x3 convolutions of stride 1 are computed.
        algorithm: Algorithm,
    },
    /// 16-bit activations and weights, products of 32 bits and guard bits (SiRNN, eprint 2021/459): the products' guard bits are
    /// truncated, then the rest of the scale, then the sign is found: nothing is fused.
    Mixed {
        /// How 3x3 convolutions of stride 1 are computed; tile transforms need two bits more before and four after.
        algorithm: Algorithm,
    },
}

/// Fraction bits of an activation: 2^15 / 2^11 = 16 is the largest one of 16 bits.
const MIXED_FRACTION: u32 = 11;
/// Fraction bits of a 16-bit weight, unless guard bits need more.
const MIXED_WEIGHT_FRACTION: u32 = 14;
/// Fraction bits of activations and weights of one ring, as in EzPC's networks and CoPriv's artifact.
const UNIFORM_FRACTION: u32 = 12;

const MIXED_BITS: u32 = 16;
const MIXED_PRODUCT_BITS: u32 = 32;

/// `arch` in fixed point. Batch normalization is folded into the convolutions, averages are sums and a power of two, the rest
/// of the division is in the next layer's weights.
///
/// # Errors
/// [`Error::Node`] for rings that would need more than 62 bits.
pub fn fixed_point(name: &str, arch: &Arch, style: FixedPoint) -> Result<FixedNetwork, Error> {
    let program = Program { name: format!("{name} {}", arch.name), ops: Vec::new() };
    let mut builder =
        Builder { network: FixedNetwork { program, scales: Vec::new() }, style, tensors: Vec::new() };
    for (node, shape) in arch.nodes.iter().zip(arch.shapes()) {
        let tensor = builder.node(node, shape, arch.nodes.len())?;
        builder.tensors.push(tensor);
    }
    builder.network.scales.resize(builder.network.program.ops.len(), None);
    Ok(builder.network)
}

struct Builder {
    network: FixedNetwork,
    style: FixedPoint,
    /// The tensor of every node, and whether its top bit is 0.
    tensors: Vec<(TensorId, bool)>,
}

impl Builder {
    fn node(&mut self, node: &ArchNode, shape: [usize; 3], nodes: usize) -> Result<(TensorId, bool), Error> {
        let name = node.name.as_str();
        if let Some(conv) = node.op.as_conv() {
            // Logits keep the products' scale.
            let last = self.tensors.len() + 1 == nodes;
            return if last {
                Ok((self.products(name, &conv, shape)?.0, false))
            } else {
                self.convolution(name, &conv, shape)
            };
        }
        match &node.op {
            ArchOp::GlobalAvgPool { input } => self.average(name, *input, shape),
            ArchOp::MaxPool { input, kernel, stride, padding } => {
                let (input, window) = (self.after_relu(name, *input)?, [*kernel, *stride, *padding]);
                let kind = Kind::MaxPool { input, window, multiplexer: self.multiplexer() };
                Ok((self.push(name, kind, shape, self.activation_bits()), true))
            }
            _ => Ok((self.push(name, Kind::Input, shape, self.activation_bits()), false)),
        }
    }

    /// A tensor whose top bit is 0.
    fn after_relu(&self, name: &str, input: usize) -> Result<TensorId, Error> {
        let (tensor, top_bit_zero) = self.tensors[input];
        if top_bit_zero {
            return Ok(tensor);
        }
        let next = "Put a ReLU before the pooling.";
        Err(Error::node(name, "what is pooled", "a tensor after a ReLU", "one that may be negative", next))
    }

    fn convolution(&mut self, name: &str, conv: &Conv, shape: [usize; 3]) -> Result<(TensorId, bool), Error> {
        let (mut sum, fraction) = self.products(name, conv, shape)?;
        // One ring has room for the residual at the products' scale: EzPC truncates once, after the ReLU.
        let uniform = matches!(self.style, FixedPoint::Uniform { .. });
        if !uniform {
            sum = self.rescale(name, sum, (fraction, Range::Signed));
        }
        if let Some(shortcut) = &conv.shortcut {
            let scale = if uniform { fraction as u8 } else { 0 };
            sum = self.residual(name, (sum, shortcut, scale), shape);
        }
        if conv.relu {
            let kind = Kind::Relu { input: sum, multiplexer: self.multiplexer() };
            sum = self.push(name, kind, shape, self.activation_bits());
        }
        if uniform {
            let range = if conv.relu { Range::TopBitZero } else { Range::Signed };
            sum = self.rescale(name, sum, (fraction, range));
        }
        Ok((sum, conv.relu))
    }

    fn residual(
        &mut self,
        name: &str,
        (sum, shortcut, scale): (TensorId, &arch::Shortcut, u8),
        shape: [usize; 3],
    ) -> TensorId {
        let mut added = self.tensors[shortcut.input].0;
        if scale > 0 || self.network.program.ops[added].shape != shape {
            let spec = Shortcut {
                input: added,
                stride: shortcut.stride,
                channel_offset: shortcut.channel_offset,
                shifts: vec![scale; shape[0]],
            };
            added = self.push(name, Kind::Shortcut(spec), shape, self.activation_bits());
        }
        self.push(name, Kind::Add { inputs: [sum, added] }, shape, self.activation_bits())
    }

    /// The products of a layer and the fraction bits of its weights.
    fn products(&mut self, name: &str, conv: &Conv, shape: [usize; 3]) -> Result<(TensorId, u32), Error> {
        let (mut input, top_bit_zero) = self.tensors[conv.input];
        let (bits, fraction, weight_bits) = self.ring(name, conv)?;
        let algorithm = self.algorithm(conv);
        let mut operand = OperandRing::Same;
        if matches!(self.style, FixedPoint::Mixed { .. }) {
            operand = OperandRing::Narrower { top_bit_zero: top_bit_zero && algorithm == Algorithm::Direct };
            if algorithm != Algorithm::Direct {
                let range = if top_bit_zero { Range::TopBitZero } else { Range::Signed };
                let like = self.network.program.ops[input].shape;
                input = self.push(name, Kind::Extend { input, range }, like, MIXED_BITS + INPUT_GROWTH);
            }
        }
        let products = Products {
            input,
            in_channels: conv.in_channels,
            out_channels: conv.out_channels,
            groups: 1,
            kernel: conv.kernel,
            stride: conv.stride,
            padding: conv.padding,
            algorithm,
            code: Code::twos_complement(weight_bits as u8),
            tap_shifts: Vec::new(),
            chooser: Chooser::Activations,
            operand,
        };
        let id = self.push(name, Kind::Products(products), shape, bits);
        self.network.scales[id] = Some([fraction, fraction + self.activation_fraction()]);
        Ok((id, fraction))
    }

    /// Bits of the products' ring, fraction bits and bits of the weights.
    fn ring(&self, name: &str, conv: &Conv) -> Result<(u32, u32, u32), Error> {
        if let FixedPoint::Uniform { bits, .. } = self.style {
            return Ok((bits, UNIFORM_FRACTION, bits));
        }
        let guard = self.guard_bits(conv);
        let bits = MIXED_PRODUCT_BITS + guard;
        if bits > 62 {
            return Err(Error::node(
                name,
                "bits of the products",
                "at most 62",
                bits,
                "Choose fewer channels.",
            ));
        }
        Ok((bits, MIXED_WEIGHT_FRACTION.max(guard + 1), MIXED_BITS))
    }

    /// Bits by which sums of products can outgrow one product.
    fn guard_bits(&self, conv: &Conv) -> u32 {
        let log2 = |count: usize| count.next_power_of_two().trailing_zeros();
        match self.algorithm(conv) {
            Algorithm::Direct => log2(conv.in_channels * conv.kernel * conv.kernel),
            _ => log2(conv.in_channels) + INPUT_GROWTH + OUTPUT_GROWTH,
        }
    }

    /// From the products' scale back to that of activations.
    fn rescale(&mut self, name: &str, products: TensorId, (fraction, range): (u32, Range)) -> TensorId {
        let program = &mut self.network.program;
        if let FixedPoint::Uniform { bits, .. } = self.style {
            return program.push_like(
                name,
                products,
                Kind::Truncate { input: products, shift: fraction, range },
                bits,
            );
        }
        let guard = program.ops[products].bits - MIXED_PRODUCT_BITS;
        let mut sum = products;
        if guard > 0 {
            let kind = Kind::TruncateReduce { input: sum, shift: guard };
            sum = program.push_like(name, sum, kind, MIXED_PRODUCT_BITS);
        }
        let shift = fraction - guard;
        let kind = Kind::TruncateReduce { input: sum, shift };
        sum = program.push_like(name, sum, kind, MIXED_PRODUCT_BITS - shift);
        program.push_like(name, sum, Kind::Reduce { input: sum }, MIXED_BITS)
    }

    /// The mean as a sum and a shift by the next power of two; [`FixedNetwork::weights`] makes good for the rest.
    fn average(&mut self, name: &str, input: usize, shape: [usize; 3]) -> Result<(TensorId, bool), Error> {
        let mut tensor = self.after_relu(name, input)?;
        let bits = self.activation_bits();
        let shift = average_shift(self.network.program.ops[tensor].shape);
        if shift == 0 {
            return Ok((tensor, true));
        }
        let mixed = matches!(self.style, FixedPoint::Mixed { .. });
        if mixed {
            let kind = Kind::Extend { input: tensor, range: Range::TopBitZero };
            tensor = self.network.program.push_like(name, tensor, kind, bits + shift);
        }
        let wide = self.network.program.ops[tensor].bits;
        let sum = self.push(name, Kind::SumPool { input: tensor }, shape, wide);
        let kind = if mixed {
            Kind::TruncateReduce { input: sum, shift }
        } else {
            Kind::Truncate { input: sum, shift, range: Range::TopBitZero }
        };
        Ok((self.push(name, kind, shape, bits), true))
    }

    fn push(&mut self, name: &str, kind: Kind, shape: [usize; 3], bits: u32) -> TensorId {
        let id = self.network.program.push(name, kind, shape, bits);
        self.network.scales.resize(id + 1, None);
        id
    }

    fn algorithm(&self, conv: &Conv) -> Algorithm {
        let (FixedPoint::Uniform { algorithm, .. } | FixedPoint::Mixed { algorithm }) = self.style;
        algorithm.beside(conv.kernel, conv.stride)
    }

    fn activation_bits(&self) -> u32 {
        match self.style {
            FixedPoint::Uniform { bits, .. } => bits,
            FixedPoint::Mixed { .. } => MIXED_BITS,
        }
    }

    fn activation_fraction(&self) -> u32 {
        match self.style {
            FixedPoint::Uniform { .. } => UNIFORM_FRACTION,
            FixedPoint::Mixed { .. } => MIXED_FRACTION,
        }
    }

    fn multiplexer(&self) -> Multiplexer {
        match self.style {
            FixedPoint::Uniform { .. } => Multiplexer::Chosen,
            FixedPoint::Mixed { .. } => Multiplexer::Correlated,
        }
    }
}

/// Bits that the input transform of F(2, 3) adds: every coefficient of Bᵀ is 0 or ±1, two in a row.
const INPUT_GROWTH: u32 = 2;
/// Bits that its output transform adds: sums of nine.
const OUTPUT_GROWTH: u32 = 4;

/// log2 of the next power of two of a tensor's pixels.
fn average_shift([_, height, width]: [usize; 3]) -> u32 {
    (height * width).next_power_of_two().trailing_zeros()
}
