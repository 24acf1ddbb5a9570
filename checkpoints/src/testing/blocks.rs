//! Random networks of blocks.

use rand::RngExt;

use super::network::{ConvSpec, Network};
use super::{Block, Spec};
use crate::graph::NodeId;
use crate::winograd::Algorithm;

/// First convolution, blocks, sum pooling and a linear layer.
pub(super) fn grow(network: &mut Network, spec: &Spec) {
    let stride_1 = spec.algorithms.iter().copied().filter(|algorithm| algorithm.fits(3, 1));
    let strided = spec.algorithms.iter().find(|algorithm| **algorithm == Algorithm::P2x2);
    let strided = strided.copied().unwrap_or(Algorithm::Direct);
    let mut blocks = Blocks { network, tiles: stride_1.cycle(), strided };
    blocks.winograd(1, 4);
    spec.blocks.iter().for_each(|&block| blocks.grow(block));
    let pooled = network.sum_pool("pool", network.last());
    let linear = direct(network, pooled, [1, 1, 0], spec.classes);
    network.conv("linear", ConvSpec { act_bits: None, ..linear });
}

struct Blocks<'a, Tiles> {
    network: &'a mut Network,
    /// Of convolutions of stride 1, in turn.
    tiles: Tiles,
    /// Of 3x3 convolutions of stride 2.
    strided: Algorithm,
}

impl<Tiles: Iterator<Item = Algorithm>> Blocks<'_, Tiles> {
    fn grow(&mut self, block: Block) {
        let x = self.network.last();
        let channels = self.network.channels(x);
        let random = self.network.rng.random_range(1..=5);
        match block {
            Block::Winograd { padding } => self.winograd(padding, random),
            Block::Direct { kernel, stride } => {
                let spec = direct(self.network, x, [kernel, stride, kernel / 2], random);
                push(self.network, spec);
            }
            Block::MaxPool { kernel, stride, padding } => {
                let name = format!("pool{}", x + 1);
                self.network.max_pool(&name, x, [kernel, stride, padding]);
            }
            Block::Identity => {
                self.winograd(1, channels);
                self.residual([x, 1, 0], channels);
            }
            Block::OptionA => {
                self.halve(x, channels + 2);
                self.residual([x, 2, 1], channels + 2);
            }
            Block::Projection => {
                let spec = direct(self.network, x, [1, 2, 0], random);
                let projected = push(self.network, ConvSpec { act_bits: None, ..spec });
                self.halve(x, random);
                self.residual([projected, 1, 0], random);
            }
        }
    }

    /// A 3x3 convolution of stride 2.
    fn halve(&mut self, input: NodeId, out_channels: usize) {
        let spec = self.tiled(self.strided, (input, 2, 1), out_channels);
        push(self.network, spec);
    }

    /// A Winograd convolution of the last node.
    fn winograd(&mut self, padding: usize, out_channels: usize) {
        let spec = self.next_tiled(padding, out_channels);
        push(self.network, spec);
    }

    /// A Winograd convolution of the last node with a residual `[node, stride, channel offset]`.
    fn residual(&mut self, shortcut: [usize; 3], out_channels: usize) {
        let spec = self.next_tiled(1, out_channels);
        push(self.network, ConvSpec { shortcut: Some(shortcut), ..spec });
    }

    fn next_tiled(&mut self, padding: usize, out_channels: usize) -> ConvSpec {
        let algorithm = self.tiles.next().unwrap_or(Algorithm::F2x2);
        self.tiled(algorithm, (self.network.last(), 1, padding), out_channels)
    }

    /// A 3x3 convolution of `(node, stride, padding)`.
    fn tiled(
        &mut self,
        algorithm: Algorithm,
        (input, stride, padding): (NodeId, usize, usize),
        out_channels: usize,
    ) -> ConvSpec {
        let spec = direct(self.network, input, [3, stride, padding], out_channels);
        if algorithm == Algorithm::Direct {
            return spec;
        }
        let exponents = exponents(self.network, algorithm.taps());
        ConvSpec { algorithm, offset: offset(self.network, &exponents), exponents, ..spec }
    }
}

fn push(network: &mut Network, spec: ConvSpec) -> NodeId {
    network.conv(&format!("conv{}", network.last() + 1), spec)
}

/// A direct convolution with `[kernel, stride, padding]`.
fn direct(network: &mut Network, input: NodeId, sizes: [usize; 3], out_channels: usize) -> ConvSpec {
    let [kernel, stride, padding] = sizes;
    let exponents = exponents(network, kernel * kernel);
    ConvSpec {
        input,
        algorithm: Algorithm::Direct,
        kernel,
        stride,
        padding,
        out_channels,
        offset: offset(network, &exponents),
        exponents,
        act_bits: Some(network.rng.random_range(2..=8)),
        shortcut: None,
    }
}

fn offset(network: &Network, exponents: &[Vec<u8>]) -> u8 {
    let single = exponents.iter().any(|list| list.len() == 1);
    u8::from(network.mid_rise && (single || exponents[0].len() % 2 == 1))
}

/// Two's complement or exponents with gaps, one list for the layer or one, of its own bits, for every position; top bits are
/// worth about the same everywhere, as those of taps that are quantized by their range.
fn exponents(network: &mut Network, positions: usize) -> Vec<Vec<u8>> {
    // A single bit needs an offset, see there.
    let (rng, mid_rise) = (&mut network.rng, network.mid_rise);
    let gap = if rng.random_bool(0.5) { 0.2 } else { 0.0 };
    let lists = if rng.random_bool(0.3) { positions } else { 1 };
    let bits = |place: usize| match rng.random_range(0..16) {
        0 if place > 0 => 0,
        1..=3 if mid_rise && lists > 1 => 1,
        _ => rng.random_range(2..=8_u8),
    };
    let bits: Vec<u8> = (0..lists).map(bits).collect();
    let most = bits.iter().copied().max().unwrap_or(0);
    let list = |bits: u8| {
        let mut skipped = most - bits;
        let mut exponent = |bit| {
            skipped += u8::from(rng.random_bool(gap));
            bit + skipped
        };
        (0..bits).map(&mut exponent).collect()
    };
    bits.into_iter().map(list).collect()
}
