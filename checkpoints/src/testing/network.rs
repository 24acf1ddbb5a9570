//! Grows a random integer network node by node.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::format::{Checkpoint, Metadata};
use crate::graph::{Conv, Graph, Input, Node, NodeId, Op, Output, Shortcut};
use crate::range::{conv_bounds, fit_rings};
use crate::weights::{LayerWeights, Weights};
use crate::winograd::Algorithm;

pub(super) struct Network {
    pub(super) rng: ChaCha8Rng,
    seed: u64,
    nodes: Vec<Node>,
    shapes: Vec<[usize; 3]>,
    /// Range of every node's channels; accumulators hold (0, 0), nothing but shortcuts reads them.
    ranges: Vec<Vec<(i64, i64)>>,
    weights: Weights,
}

/// What a convolution must look like; weights, shifts and biases are drawn at random.
pub(super) struct ConvSpec {
    pub(super) input: NodeId,
    pub(super) algorithm: Algorithm,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) padding: usize,
    pub(super) out_channels: usize,
    /// Exponents of the weight bits, one list or one a position.
    pub(super) exponents: Vec<Vec<u8>>,
    /// Bits of the activation; `None` leaves the accumulators.
    pub(super) act_bits: Option<u8>,
    /// Node, stride and channel offset of the residual.
    pub(super) shortcut: Option<[usize; 3]>,
}

impl Network {
    pub(super) fn new(seed: u64, [channels, height, width]: [usize; 3]) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let offsets: Vec<i16> = (0..channels).map(|_| rng.random_range(0..=255)).collect();
        let ranges = vec![offsets.iter().map(|&o| (-i64::from(o), 255 - i64::from(o))).collect()];
        let input = Node { name: "input".to_owned(), op: Op::Input(Input { height, width, offsets }) };
        let shapes = vec![[channels, height, width]];
        Self { rng, seed, nodes: vec![input], shapes, ranges, weights: Weights::default() }
    }

    pub(super) fn last(&self) -> NodeId {
        self.nodes.len() - 1
    }

    pub(super) fn channels(&self, node: NodeId) -> usize {
        self.shapes[node][0]
    }

    pub(super) fn conv(&mut self, name: &str, spec: ConvSpec) -> NodeId {
        let [in_channels, height, width] = self.shapes[spec.input];
        let out = |size: usize| (size + 2 * spec.padding - spec.kernel) / spec.stride + 1;
        let shape = [spec.out_channels, out(height), out(width)];
        let tap_shifts = (0..spec.algorithm.taps()).map(|_| self.shifts(spec.out_channels, 0..=3)).collect();
        let shortcut = spec.shortcut.map(|[input, stride, channel_offset]| Shortcut {
            input,
            stride,
            channel_offset,
            shifts: self.shifts(spec.out_channels, 0..=6),
        });
        let mut conv = Conv {
            input: spec.input,
            in_channels,
            out_channels: spec.out_channels,
            kernel: spec.kernel,
            stride: spec.stride,
            padding: spec.padding,
            algorithm: spec.algorithm,
            weight_exponents: spec.exponents,
            tap_shifts,
            shortcut,
            ring_bits: vec![0; spec.out_channels],
            output: Output::Accumulator,
        };
        let layer = self.layer(&conv);
        let mut range = vec![(0, 0); spec.out_channels];
        if let Some(bits) = spec.act_bits {
            let bounds = conv_bounds(&conv, &layer, shape, &self.ranges[spec.input]);
            range.fill((0, (1 << bits) - 1));
            conv.output = Output::Activation { bits, shifts: self.output_shifts(&bounds, bits) };
        }
        self.weights.layers.insert(name.to_owned(), layer);
        self.push(name, Op::Conv(conv), shape, range)
    }

    pub(super) fn sum_pool(&mut self, name: &str, input: NodeId) -> NodeId {
        let [channels, height, width] = self.shapes[input];
        let pixels = (height * width) as i64;
        let sums = self.ranges[input].iter().map(|&(low, high)| (low * pixels, high * pixels)).collect();
        self.push(name, Op::SumPool { input }, [channels, 1, 1], sums)
    }

    #[expect(clippy::expect_used, reason = "test code; documented under Panics of its callers")]
    pub(super) fn finish(self, name: &str) -> Checkpoint {
        let classes = self.channels(self.last());
        let graph = Graph {
            name: name.to_owned(),
            classes: (0..classes).map(|class| format!("class {class}")).collect(),
            logit_exponent: -8,
            nodes: self.nodes,
        };
        let graph = fit_rings(graph, &self.weights).expect("a sound network");
        let (recipe, dataset) = ("random".to_owned(), "none".to_owned());
        let metadata = Metadata { recipe, dataset, seed: self.seed, accuracy: None };
        Checkpoint::new(graph, self.weights, metadata).expect("fitted rings are proven")
    }

    fn push(&mut self, name: &str, op: Op, shape: [usize; 3], range: Vec<(i64, i64)>) -> NodeId {
        self.nodes.push(Node { name: name.to_owned(), op });
        self.shapes.push(shape);
        self.ranges.push(range);
        self.last()
    }

    fn layer(&mut self, conv: &Conv) -> LayerWeights {
        let half = 1_i16 << (conv.weight_bits() - 1);
        let count = conv.positions() * conv.out_channels * conv.in_channels;
        let codes = (0..count).map(|_| self.rng.random_range(-half..half) as i8).collect();
        let bias = (0..conv.out_channels).map(|_| self.rng.random_range(-2000..=2000)).collect();
        LayerWeights { codes, bias }
    }

    /// Shifts that leave most activations between the clamps: typical sums are a few bits below their bounds.
    fn output_shifts(&mut self, bounds: &[(i128, i128)], act_bits: u8) -> Vec<u8> {
        let shift = |&(low, high): &(i128, i128)| {
            let magnitude = (128 - low.unsigned_abs().max(high.unsigned_abs()).leading_zeros()) as u8;
            magnitude.saturating_sub(act_bits + self.rng.random_range(0..=3)).max(1)
        };
        bounds.iter().map(shift).collect()
    }

    fn shifts(&mut self, count: usize, range: std::ops::RangeInclusive<u8>) -> Vec<u8> {
        (0..count).map(|_| self.rng.random_range(range.clone())).collect()
    }
}
