//! COINN (Hussain et al., CCS 2021) as far as its public configurations tell.
//!
//! *Published*: shares are of 16 bits everywhere; a layer's weights are clustered into a number of bins or plain 16-bit integers
//! (`--bins`, `--bw` of github.com/ACESLabUCSD/COINN, `bash_files/*/server/commands.sh`); before a ReLU `--br` low bits are dropped
//! and `--ba` kept; a residual is multiplied by a power of two (`run_residual.py --multiplier`) and added.
//!
//! *Modelled*, because only executables are public: factored multiplication as one correlated OT of a row of 16-bit shares for
//! each weight and bin (its cluster in one-hot form), then a product of each bin's sum with its 16-bit centre; the
//! configurations bear this out, as no layer has 16 bins or more and all others are plain 16-bit. A plain layer
//! is multiplied bit by bit in shrinking rings. Signs are compared by SCI's gates (COINN garbles a circuit, which sends more).

use rand::{Rng, RngExt};

use super::{
    Chooser, Code, Kind, LayerCodes, Multiplexer, OperandRing, Products, Program, ProgramWeights, Range,
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

/// For networks without a published configuration: the means over those that have one, 9 bins and 9 bits.
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

/// `arch` in COINN's form. ResNet-32 for CIFAR has the published configuration of every layer, others its means; the second value
/// says which.
pub fn coinn(arch: &Arch) -> (Program, bool) {
    let published = arch.name.starts_with("cifar-resnet32");
    let configuration = if published { &RESNET32 } else { &MEAN };
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
        match &node.op {
            ArchOp::Input { shape } => self.program.push(name, Kind::Input, *shape, BITS),
            ArchOp::GlobalAvgPool { input } => {
                let input = self.tensors[*input];
                let sum = self.program.push(name, Kind::SumPool { input }, shape, BITS);
                self.relu(name, sum, self.configuration.pool)
            }
            ArchOp::MaxPool { input, kernel, stride, padding } => {
                let (input, window) = (self.tensors[*input], [*kernel, *stride, *padding]);
                let kind = Kind::MaxPool { input, window, multiplexer: Multiplexer::Correlated };
                self.program.push(name, kind, shape, BITS)
            }
            ArchOp::Conv(_) | ArchOp::Linear { .. } => match node.op.as_conv() {
                Some(conv) => {
                    let form = self.form(&node.op);
                    self.convolution(name, &conv, (form, shape))
                }
                None => unreachable!("both are convolutions"),
            },
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

    /// Clustered weights: sums by bin, then their products with the centres.
    fn products(&mut self, name: &str, product: Products, form: Form, shape: [usize; 3]) -> TensorId {
        let Bins(bins) = form else {
            return self.program.push(name, Kind::Products(product), shape, BITS);
        };
        let [channels, height, width] = shape;
        let code = Code { exponents: vec![vec![0]], signed: false, offset: 0 };
        let summed = Products { out_channels: channels * bins, code, ..product };
        let sums = self.program.push(name, Kind::Products(summed), [channels * bins, height, width], BITS);
        let centres = Products { groups: channels, ..one_by_one(sums, [channels * bins, channels]) };
        self.program.push(name, Kind::Products(centres), shape, BITS)
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

/// One-hot rows: of the bins of an output channel, one holds a weight.
fn clusters(program: &Program, (id, products): (TensorId, &Products), rng: &mut impl Rng) -> Vec<i64> {
    // Centres that read these sums are grouped by output channel.
    let groups = program.ops.iter().find_map(|op| match &op.kind {
        Kind::Products(centres) if centres.input == id => Some(centres.groups),
        _ => None,
    });
    let channels = groups.unwrap_or(1);
    let (bins, ins) = (products.out_channels / channels, products.in_channels);
    let mut codes = vec![0; products.codes()];
    for position in codes.chunks_exact_mut(products.out_channels * ins) {
        for channel in position.chunks_exact_mut(bins * ins) {
            (0..ins).for_each(|input| channel[rng.random_range(0..bins) * ins + input] = 1);
        }
    }
    codes
}
