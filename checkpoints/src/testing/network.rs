//! Grows a random integer network node by node.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::format::{Checkpoint, Metadata};
use crate::graph::{Conv, Graph, Input, MaxPool, Node, NodeId, Op, Output, Shortcut};
use crate::range::{conv_bounds, fit_rings};
use crate::weights::{LayerWeights, Weights};
use crate::winograd::Algorithm;

pub(super) struct Network {
    pub(super) rng: ChaCha8Rng,
    seed: u64,
    nodes: Vec<Node>,
    shapes: Vec<[usize; 3]>,
    /// Range of every node's channels; for accumulators, which only shortcuts read, 0 to their typical size.
    ranges: Vec<Vec<(i64, i64)>>,
    weights: Weights,
    /// Whether weights of an odd number of bits are offset.
    pub(super) mid_rise: bool,
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
    /// What is added to the value of every code, 0 or 1.
    pub(super) offset: u8,
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
        Self { rng, seed, nodes: vec![input], shapes, ranges, weights: Weights::default(), mid_rise: false }
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
        let tap_shifts = balancing_shifts(spec.algorithm)
            .into_iter()
            .map(|least| self.shifts(spec.out_channels, least..=least + 3))
            .collect();
        let mut conv = Conv {
            input: spec.input,
            in_channels,
            out_channels: spec.out_channels,
            kernel: spec.kernel,
            stride: spec.stride,
            padding: spec.padding,
            algorithm: spec.algorithm,
            weight_exponents: spec.exponents,
            weight_offset: spec.offset,
            tap_shifts,
            shortcut: None,
            ring_bits: vec![0; spec.out_channels],
            output: Output::Accumulator,
        };
        let mut layer = self.codes(&conv);
        let bounds = conv_bounds(&conv, &layer, shape, &self.ranges[spec.input]);
        let typical = typical_sizes(&bounds, in_channels * spec.kernel * spec.kernel);
        layer.bias = bounds.iter().zip(&typical).map(|(bound, &size)| self.bias(*bound, size)).collect();
        conv.shortcut = spec.shortcut.map(|at| self.shortcut(at, &typical));
        let mut range: Vec<(i64, i64)> = typical.iter().map(|&size| (0, size)).collect();
        if let Some(bits) = spec.act_bits {
            range.fill((0, (1 << bits) - 1));
            let shifts = typical.iter().map(|&size| self.shift_to(size, bits)).collect();
            conv.output = Output::Activation { bits, shifts };
        }
        self.weights.layers.insert(name.to_owned(), layer);
        self.push(name, Op::Conv(conv), shape, range)
    }

    /// Max pooling with `[kernel, stride, padding]`.
    pub(super) fn max_pool(
        &mut self,
        name: &str,
        input: NodeId,
        [kernel, stride, padding]: [usize; 3],
    ) -> NodeId {
        let [channels, height, width] = self.shapes[input];
        let out = |size: usize| (size + 2 * padding - kernel) / stride + 1;
        let (shape, range) = ([channels, out(height), out(width)], self.ranges[input].clone());
        self.push(name, Op::MaxPool(MaxPool { input, kernel, stride, padding }), shape, range)
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

    /// Random codes; biases follow from them.
    fn codes(&mut self, conv: &Conv) -> LayerWeights {
        let pairs = conv.out_channels * conv.in_channels;
        let mut codes = Vec::new();
        for position in 0..conv.positions() {
            let half = 1_i16 << conv.exponents(position).len() >> 1;
            codes.extend((0..pairs).map(|_| self.rng.random_range(-half..half.max(1)) as i8));
        }
        LayerWeights { codes, bias: vec![0; conv.out_channels] }
    }

    /// Moves the middle of a channel's range near 0, so that inputs and not the bias decide its sign.
    fn bias(&mut self, (low, high): (i128, i128), typical: i64) -> i64 {
        let middle = ((low + high) / 2) as i64;
        self.rng.random_range(0..=typical / 2) - middle
    }

    /// A residual `[node, stride, channel offset]` at most as large as the sums it is added to.
    fn shortcut(&mut self, [input, stride, channel_offset]: [usize; 3], typical: &[i64]) -> Shortcut {
        let ranges = &self.ranges[input];
        let shift = |(out, &size): (usize, &i64)| {
            let channel = out.checked_sub(channel_offset).and_then(|channel| ranges.get(channel));
            let residual = channel.map_or(1, |range| range.1.max(1));
            let room = size.ilog2().saturating_sub(residual.ilog2() + 1) as u8;
            room.saturating_sub(self.rng.random_range(0..=1))
        };
        Shortcut { input, stride, channel_offset, shifts: typical.iter().enumerate().map(shift).collect() }
    }

    /// The shift that brings values of this size near the top of an activation.
    fn shift_to(&mut self, size: i64, act_bits: u8) -> u8 {
        (size.ilog2() as u8 + self.rng.random_range(0..=1)).saturating_sub(act_bits).max(1)
    }

    fn shifts(&mut self, count: usize, range: std::ops::RangeInclusive<u8>) -> Vec<u8> {
        (0..count).map(|_| self.rng.random_range(range.clone())).collect()
    }
}

/// Shifts that let every tap add about the same to a tile's outputs at most: as in a trained network, taps that the
/// transforms enlarge have fine scales. Without them the outputs of a tile of F(4x4, 3x3) differ by up to 2^6 in size.
fn balancing_shifts(algorithm: Algorithm) -> Vec<u8> {
    let Some(transform) = algorithm.transform() else { return vec![0] };
    let (output, input) = (transform.output_coefficients(), transform.input_coefficients());
    let gain = |(tap, row): (usize, &Vec<i64>)| {
        let length = (row.iter().map(|b| b * b).sum::<i64>() as f32).sqrt();
        output.iter().map(|row| row[tap].abs()).max().unwrap_or(0) as f32 * length
    };
    let gains: Vec<f32> = input.iter().enumerate().map(gain).collect();
    let largest = gains.iter().copied().fold(0.0, f32::max);
    gains.iter().map(|gain| (largest / gain).log2().round() as u8).collect()
}

/// A sum of n random terms strays about `width / (2·√n)` from the middle of its range; at least 1. Without that
/// factor activations are all zero or all saturated, and a deep network forgets its image.
fn typical_sizes(bounds: &[(i128, i128)], terms: usize) -> Vec<i64> {
    bounds.iter().map(|&(low, high)| (((high - low) as i64) / (2 * terms.isqrt() as i64)).max(1)).collect()
}
