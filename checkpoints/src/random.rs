//! Networks of random weights whose integers look like a trained network's: the price of a network before its training.
//!
//! Bytes and rounds follow from the public graph alone, and all that graph knows of the weights are scales: shifts and
//! rings. So weights are drawn with the variance that training starts from (He et al. 2015, arXiv 1502.01852, eq. 10),
//! with smooth kernels and spread gains as training leaves them; batch normalization is folded in with the statistics
//! of a few random images; and everything is quantized as `eqo quantize` does it: powers of two of least squared error,
//! by tap and output channel for weights, by tensor for activations ([`crate::scales`]). Each layer is calibrated on
//! the integers of the layers before it, so activations neither vanish nor saturate at any depth and any bits.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::arch::{Arch, ArchNode, ArchOp};
use crate::engine::centre;
use crate::format::{Checkpoint, Metadata};
use crate::graph::{Graph, Input, MaxPool, Node, Op};
use crate::layout::Tournament;
use crate::plan::BitPlan;
use crate::weights::Weights;
use crate::{Error, layout, range};

mod fold;
mod images;
mod quantize;
mod taps;

use fold::Statistics;
use quantize::{Ends, Quantized, Sources, Unit};
use taps::Taps;

/// Mean and standard deviation of each channel of x/255: ImageNet's, the default of recipes.
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STD: [f32; 3] = [0.229, 0.224, 0.225];

/// Images that choose scales: the smallest map of a CIFAR network still gives every channel 256 values.
const IMAGES: usize = 4;

/// Standard deviation of the logarithm of a channel's gain. Training spreads the gains of batch normalization, and weak
/// channels need wider rings. This and the likeness of a kernel's elements bring a ResNet-20 W4A6 within 1% of the
/// bytes of a trained one; with neither, rings were a bit narrower and bytes 2% fewer.
const SPREAD: f32 = 0.5;

const NEXT: &str = "Plan the network again, such as with `BitPlan::uniform`.";

/// An architecture at a plan's bits with random weights, scales as training chooses them and the smallest rings that
/// [`range`] proves.
///
/// The same seed gives the same checkpoint. Classes are named by their numbers. `progress` is told (nodes done, nodes
/// in all).
///
/// # Errors
/// [`Error::Node`] for an image without 3 channels, and for a layer that the plan lacks, gives other than 2 to 8 bits
/// or an algorithm that doesn't suit its kernel.
pub fn checkpoint(
    arch: &Arch,
    plan: &BitPlan,
    seed: u64,
    progress: &dyn Fn(usize, usize),
) -> Result<Checkpoint, Error> {
    let mut network = Network {
        arch,
        plan,
        shapes: arch.shapes(),
        rng: ChaCha8Rng::seed_from_u64(seed),
        nodes: Vec::new(),
        weights: Weights::default(),
        values: Vec::new(),
    };
    for (id, node) in arch.nodes.iter().enumerate() {
        progress(id, arch.nodes.len());
        let op = network.node(node)?;
        network.nodes.push(Node { name: node.name.clone(), op });
    }
    network.finish(seed)
}

/// `count` random images `[images][channels][height][width]` for a network of this input shape, neighbouring pixels alike
/// as in photographs. The same seed gives the same images; a longer row starts with the shorter one.
pub fn images(seed: u64, count: usize, shape: [usize; 3]) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).flat_map(|_| images::draw(&mut rng, shape)).collect()
}

/// What a node puts out for the calibrating images.
struct Values {
    /// Integers `[image][channel][height][width]`.
    images: Vec<Vec<i64>>,
    /// Of each channel: an integer is worth `2^exponent`.
    exponents: Vec<i32>,
}

/// The network so far.
struct Network<'a> {
    arch: &'a Arch,
    plan: &'a BitPlan,
    shapes: Vec<[usize; 3]>,
    rng: ChaCha8Rng,
    nodes: Vec<Node>,
    weights: Weights,
    values: Vec<Values>,
}

impl Network<'_> {
    fn node(&mut self, node: &ArchNode) -> Result<Op, Error> {
        match &node.op {
            ArchOp::Input { shape } => self.input(node, *shape),
            ArchOp::GlobalAvgPool { input } => Ok(self.pool(*input)),
            ArchOp::MaxPool { input, kernel, stride, padding } => {
                let (kernel, stride, padding) = (*kernel, *stride, *padding);
                Ok(self.max_pool(MaxPool { input: *input, kernel, stride, padding }))
            }
            ArchOp::Conv(_) | ArchOp::Linear { .. } => self.weighted(node),
        }
    }

    fn input(&mut self, node: &ArchNode, [channels, height, width]: [usize; 3]) -> Result<Op, Error> {
        if channels != MEAN.len() {
            let next = "Describe the network for colour images.";
            return Err(Error::node(&node.name, "channels", MEAN.len(), channels, next));
        }
        let offsets: Vec<i16> = MEAN.iter().map(|mean| (255.0 * mean).round() as i16).collect();
        let input = Input { height, width, offsets };
        let shape = [channels, height, width];
        let images = (0..IMAGES).map(|_| centre(&input, &images::draw(&mut self.rng, shape))).collect();
        self.values.push(Values { images, exponents: vec![0; channels] });
        Ok(Op::Input(input))
    }

    fn max_pool(&mut self, pool: MaxPool) -> Op {
        let source = &self.values[pool.input];
        let tournament = Tournament::new(&pool, self.shapes[pool.input]);
        let images = source.images.iter().map(|image| layout::max_pool(&tournament, image)).collect();
        self.values.push(Values { images, exponents: source.exponents.clone() });
        Op::MaxPool(pool)
    }

    fn pool(&mut self, input: usize) -> Op {
        let [_, height, width] = self.shapes[input];
        let source = &self.values[input];
        let images = source.images.iter().map(|image| layout::sum_pool(height * width, image)).collect();
        self.values.push(Values { images, exponents: source.exponents.clone() });
        Op::SumPool { input }
    }

    /// A convolution or linear layer: drawn, folded, quantized, run.
    fn weighted(&mut self, node: &ArchNode) -> Result<Op, Error> {
        let unit = Unit::new(self.arch, self.plan, &self.shapes, self.nodes.len())?;
        let factors = self.factors(&unit);
        let mut taps = Taps::draw(&mut self.rng, &unit, &factors);
        let sources = Sources { shapes: &self.shapes, values: &self.values };
        let mut bias = vec![0.0; unit.conv.out_channels];
        if unit.conv.batch_norm.is_some() {
            // Of the quantized products, as quantization-aware training sees them: coarse codes lose some variance.
            let drawn = quantize::run(&unit, &taps, &Ends::products(&bias), sources)?;
            let deviations = Statistics::new(&drawn.values).deviations;
            let gains = deviations.iter().map(|_| (SPREAD * taps::normal(&mut self.rng)).exp());
            taps.scale_channels(&gains.zip(&deviations).map(|(gain, d)| gain / d).collect::<Vec<_>>());
            let folded = quantize::run(&unit, &taps, &Ends::products(&bias), sources)?;
            bias = Statistics::new(&folded.values).means.iter().map(|mean| -mean).collect();
        }
        let mut ends = Ends { bias: &bias, shortcut: true, output: None };
        if unit.conv.relu {
            let before = quantize::run(&unit, &taps, &ends, sources)?;
            ends.output = Some(fold::activation_exponent(&before.values, unit.plan.act_bits));
        }
        let Quantized { conv, weights, values } = quantize::run(&unit, &taps, &ends, sources)?;
        self.values.push(values);
        self.weights.layers.insert(node.name.clone(), weights);
        Ok(Op::Conv(conv))
    }

    /// What one integer step of each input channel is worth beyond its exponent, as in training: the image's standard
    /// deviation, the average's division by its area.
    fn factors(&self, unit: &Unit<'_>) -> Vec<f32> {
        match &self.arch.node(unit.conv.input).op {
            ArchOp::Input { .. } => STD.iter().map(|std| 1.0 / (255.0 * std)).collect(),
            ArchOp::GlobalAvgPool { input } => {
                let [_, height, width] = self.shapes[*input];
                vec![1.0 / (height * width) as f32; unit.conv.in_channels]
            }
            ArchOp::Conv(_) | ArchOp::MaxPool { .. } | ArchOp::Linear { .. } => {
                vec![1.0; unit.conv.in_channels]
            }
        }
    }

    fn finish(self, seed: u64) -> Result<Checkpoint, Error> {
        let logits = self.values.last().map_or(&[][..], |values| &values.exponents);
        let graph = Graph {
            name: self.arch.name.clone(),
            classes: (0..logits.len()).map(|class| class.to_string()).collect(),
            logit_exponent: logits.first().copied().unwrap_or(0),
            nodes: self.nodes,
        };
        let metadata = Metadata { dataset: "random".to_owned(), seed, ..Metadata::default() };
        Checkpoint::new(range::fit_rings(graph, &self.weights)?, self.weights, metadata)
    }
}
