//! COINN (Hussain et al., CCS 2021) as far as its public configurations tell.
//!
//! *Published*: shares are of 16 bits everywhere; a layer's weights are clustered into a number of bins or plain 16-bit integers
//! (`--bins`, `--bw` of github.com/ACESLabUCSD/COINN, `bash_files/*/server/commands.sh`); before a ReLU `--br` low bits are dropped
//! and `--ba` kept; a residual is multiplied by a power of two (`run_residual.py --multiplier`) and added. Two details don't
//! change what is sent and are left out: in blocks 4 and 12 of ResNet-32 it is the convolution that is multiplied. Block 9 adds inside
//! its ReLU (`-f 6`), interactively; here the addition is free.
//!
//! *Modelled*, because only executables are public: factored multiplication as a correlated OT of a row of 16-bit shares for each
//! weight and bin (its cluster in one-hot form) but one, whose sum is what the others leave of the window's; then a product of each
//! bin's sum with its 16-bit centre. A plain layer is multiplied bit by bit in shrinking rings. Signs are compared by SCI's gates
//! (COINN garbles a circuit, which sends more). In this model nine bins cost about what a plain layer does, while the
//! configurations have up to 14: COINN's own products differ, in whose favour isn't known.

use rand::{Rng, RngExt};

use super::{
    Chooser, Code, Kind, LayerCodes, Multiplexer, Op, OperandRing, Products, Program, ProgramWeights, Range,
    TensorId,
};
use crate::arch::{Arch, ArchNode, ArchOp, Conv};
use crate::graph::Shortcut;
use crate::winograd::Algorithm;

/// Ring of all shares.
const BITS: u32 = 16;

/// What multiplies a layer's weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Weights are one of so many centres.
    Bins(usize),
    /// Plain 16-bit integers.
    Plain,
}

use Form::{Bins, Plain};

/// Bits that a ReLU keeps, and low bits that it drops.
type Kept = (u32, u32);

/// The configuration of a network, its layers in order of computation.
struct Configuration {
    convolutions: &'static [Form],
    projections: &'static [Form],
    linear: Form,
    relus: &'static [Kept],
    /// Before the linear layer.
    pool: Kept,
    /// log2 of each residual's multiplier.
    residuals: &'static [u8],
}

/// `bash_files/cifar100-resnet32`: 31 convolutions, two projections, 31 ReLUs.
#[rustfmt::skip]
const RESNET32: Configuration = Configuration {
    convolutions: &[
        Bins(8), Bins(12), Plain, Bins(9), Bins(13), Bins(11), Bins(14), Bins(6), Bins(3), Bins(11), Bins(10),
        Plain, Bins(8), Bins(7), Bins(9), Bins(12), Bins(7), Plain, Bins(4), Bins(10), Bins(5),
        Plain, Bins(11), Plain, Bins(5), Bins(8), Bins(10), Plain, Bins(6), Bins(8), Bins(8),
    ],
    projections: &[Plain, Bins(8)],
    linear: Plain,
    relus: &[
        (8, 7), (8, 6), (10, 4), (7, 8), (11, 2), (5, 10), (10, 1), (10, 5), (8, 8), (10, 4), (10, 5),
        (9, 5), (10, 6), (6, 9), (10, 4), (11, 3), (9, 7), (8, 5), (10, 2), (11, 4), (9, 6),
        (9, 5), (8, 6), (10, 6), (11, 5), (9, 5), (8, 8), (7, 7), (9, 6), (7, 8), (8, 5),
    ],
    pool: (8, 6),
    residuals: &[6, 3, 1, 6, 6, 1, 4, 0, 3, 5, 0, 7, 5, 6, 4],
};

/// `bash_files/cifar10-BC1`: MiniONN's network, whose pooling layers compare in the same step as their ReLU.
#[rustfmt::skip]
const MINIONN: Configuration = Configuration {
    convolutions: &[Bins(14), Bins(5), Bins(8), Bins(5), Bins(9), Plain, Plain],
    projections: &[Plain],
    linear: Bins(9),
    relus: &[(12, 2), (9, 7), (7, 9), (9, 5), (9, 7), (8, 6), (7, 8)],
    pool: (8, 6),
    residuals: &[0],
};

/// For networks whose configuration isn't here: the means over the published ones, 9 bins and 9 bits.
const MEAN: Configuration = Configuration {
    convolutions: &[Bins(9)],
    projections: &[Bins(9)],
    linear: Plain,
    relus: &[(9, 6)],
    pool: (9, 6),
    residuals: &[4],
};

/// A list's entry for the layer with this number; lists that end repeat their last entry.
fn entry<T: Copy>(list: &[T], index: usize) -> T {
    list[index.min(list.len() - 1)]
}

/// `arch` in COINN's form. ResNet-32 for CIFAR and MiniONN's network have the published configuration of every layer, others means;
/// the second value says which.
pub fn coinn(arch: &Arch) -> (Program, bool) {
    let (configuration, published) = match arch.name.as_str() {
        "cifar-resnet32" | "cifar-resnet32-b" => (&RESNET32, true),
        "minionn" => (&MINIONN, true),
        _ => (&MEAN, false),
    };
    let program = Program { name: format!("coinn {}", arch.name), ops: Vec::new() };
    let mut builder = Builder { program, configuration, tensors: Vec::new(), counts: Counts::default() };
    for (node, shape) in arch.nodes.iter().zip(arch.shapes()) {
        let tensor = builder.node(node, shape);
        builder.tensors.push(tensor);
    }
    (builder.program, published)
}

#[derive(Default)]
struct Counts {
    convolutions: usize,
    projections: usize,
    relus: usize,
    residuals: usize,
}

struct Builder {
    program: Program,
    configuration: &'static Configuration,
    tensors: Vec<TensorId>,
    counts: Counts,
}

fn next(count: &mut usize) -> usize {
    *count += 1;
    *count - 1
}

impl Builder {
    fn node(&mut self, node: &ArchNode, shape: [usize; 3]) -> TensorId {
        let name = node.name.as_str();
        if let Some(conv) = node.op.as_conv() {
            let form = self.form(&node.op);
            return self.convolution(name, &conv, (form, shape));
        }
        match &node.op {
            ArchOp::GlobalAvgPool { input } => {
                let input = self.tensors[*input];
                let sum = self.program.push(name, Kind::SumPool { input }, shape, BITS);
                self.relu(name, sum, self.configuration.pool)
            }
            ArchOp::MaxPool { input, kernel, stride, padding } => {
                self.max_pool(name, self.tensors[*input], ([*kernel, *stride, *padding], shape))
            }
            _ => self.program.push(name, Kind::Input, shape, BITS),
        }
    }

    fn form(&mut self, op: &ArchOp) -> Form {
        let (counts, configuration) = (&mut self.counts, self.configuration);
        match op {
            ArchOp::Conv(conv) if conv.relu => {
                entry(configuration.convolutions, next(&mut counts.convolutions))
            }
            ArchOp::Conv(_) => entry(configuration.projections, next(&mut counts.projections)),
            _ => configuration.linear,
        }
    }

    fn convolution(&mut self, name: &str, conv: &Conv, (form, shape): (Form, [usize; 3])) -> TensorId {
        let product = Products {
            kernel: conv.kernel,
            stride: conv.stride,
            padding: conv.padding,
            ..one_by_one(self.tensors[conv.input], [conv.in_channels, conv.out_channels])
        };
        let mut sum = self.products(name, product, form, shape);
        if let Some(shortcut) = &conv.shortcut {
            let shift = entry(self.configuration.residuals, next(&mut self.counts.residuals));
            let spec = Shortcut {
                input: self.tensors[shortcut.input],
                stride: shortcut.stride,
                channel_offset: shortcut.channel_offset,
                shifts: vec![shift; shape[0]],
            };
            let added = self.program.push(name, Kind::Shortcut(spec), shape, BITS);
            sum = self.program.push(name, Kind::Add { inputs: [sum, added] }, shape, BITS);
        }
        if !conv.relu {
            return sum;
        }
        let kept = entry(self.configuration.relus, next(&mut self.counts.relus));
        self.relu(name, sum, kept)
    }

    /// Clustered weights: sums by bin, all but the last; their products with the centres' distances from the last one's; and the
    /// window's sum times the last centre.
    fn products(&mut self, name: &str, product: Products, form: Form, shape: [usize; 3]) -> TensorId {
        let Bins(bins) = form else {
            return self.program.push(name, Kind::Products(product), shape, BITS);
        };
        let [channels, height, width] = shape;
        let window = [product.kernel, product.stride, product.padding];
        let kind = Kind::WindowSum { input: product.input, window };
        let whole = self.program.push(name, kind, [1, height, width], BITS);
        let code = Code { exponents: vec![vec![0]], signed: false, offset: 0 };
        let rows = channels * (bins - 1);
        let summed = Products { out_channels: rows, code, ..product };
        let sums = self.program.push(name, Kind::Products(summed), [rows, height, width], BITS);
        let distances = Products { groups: channels, ..one_by_one(sums, [rows, channels]) };
        let distances = self.program.push(name, Kind::Products(distances), shape, BITS);
        let last = self.program.push(name, Kind::Products(one_by_one(whole, [1, channels])), shape, BITS);
        self.program.push(name, Kind::Add { inputs: [distances, last] }, shape, BITS)
    }

    /// Compared with the bits that the ReLU before it keeps, and extended afterwards.
    fn max_pool(
        &mut self,
        name: &str,
        input: TensorId,
        (window, shape): ([usize; 3], [usize; 3]),
    ) -> TensorId {
        let (mut input, multiplexer) = (input, Multiplexer::Correlated);
        if let Some(Op { kind: Kind::Extend { input: kept, .. }, .. }) = self.program.ops.last()
            && input + 1 == self.program.ops.len()
        {
            input = *kept;
            self.program.ops.pop();
        }
        let bits = self.program.ops[input].bits;
        let kind = Kind::MaxPool { input, window, multiplexer };
        let pooled = self.program.push(name, kind, shape, bits);
        if bits == BITS {
            return pooled;
        }
        let kind = Kind::Extend { input: pooled, range: Range::TopBitZero };
        self.program.push_like(name, pooled, kind, BITS)
    }

    fn relu(&mut self, name: &str, input: TensorId, (kept, dropped): Kept) -> TensorId {
        let program = &mut self.program;
        let mut tensor = input;
        if kept + dropped < BITS {
            tensor = program.push_like(name, tensor, Kind::Reduce { input: tensor }, kept + dropped);
        }
        tensor =
            program.push_like(name, tensor, Kind::TruncateReduce { input: tensor, shift: dropped }, kept);
        let kind = Kind::Relu { input: tensor, multiplexer: Multiplexer::Correlated };
        tensor = program.push_like(name, tensor, kind, kept);
        program.push_like(name, tensor, Kind::Extend { input: tensor, range: Range::TopBitZero }, BITS)
    }
}

fn one_by_one(input: TensorId, [in_channels, out_channels]: [usize; 2]) -> Products {
    Products {
        input,
        in_channels,
        out_channels,
        groups: 1,
        kernel: 1,
        stride: 1,
        padding: 0,
        algorithm: Algorithm::Direct,
        code: Code::twos_complement(BITS as u8),
        tap_shifts: Vec::new(),
        chooser: Chooser::Weights,
        operand: OperandRing::Same,
    }
}

/// Random clusters, centres and integers of a program that [`coinn`] made.
pub fn coinn_weights(program: &Program, rng: &mut impl Rng) -> ProgramWeights {
    let layers = program.ops.iter().enumerate().map(|(id, op)| match &op.kind {
        Kind::Products(products) => {
            let codes = if products.code.signed {
                integers(products, rng)
            } else {
                clusters(program, (id, products), rng)
            };
            LayerCodes { codes, bias: vec![0; products.out_channels] }
        }
        _ => LayerCodes::default(),
    });
    ProgramWeights { layers: layers.collect() }
}

fn integers(products: &Products, rng: &mut impl Rng) -> Vec<i64> {
    (0..products.codes()).map(|_| i64::from(rng.random::<i16>() >> 8)).collect()
}

/// One-hot rows: of the bins of an output channel, one holds a weight, or the last one, which has no row.
fn clusters(program: &Program, (id, products): (TensorId, &Products), rng: &mut impl Rng) -> Vec<i64> {
    // Centres that read these sums are grouped by output channel.
    let groups = program.ops.iter().find_map(|op| match &op.kind {
        Kind::Products(centres) if centres.input == id => Some(centres.groups),
        _ => None,
    });
    let channels = groups.unwrap_or(1);
    let (rows, ins) = (products.out_channels / channels, products.in_channels);
    let mut codes = vec![0; products.codes()];
    for position in codes.chunks_exact_mut(products.out_channels * ins) {
        for channel in position.chunks_exact_mut(rows * ins) {
            for input in 0..ins {
                let bin = rng.random_range(0..=rows);
                if bin < rows {
                    channel[bin * ins + input] = 1;
                }
            }
        }
    }
    codes
}
