//! Random networks of blocks.

use rand::RngExt;

use super::Block;
use super::network::{ConvSpec, Network};
use crate::graph::NodeId;
use crate::winograd::Algorithm;

/// First convolution, blocks, sum pooling and a linear layer.
pub(super) fn grow(network: &mut Network, blocks: &[Block], classes: usize) {
    winograd(network, 1, 4);
    for &block in blocks {
        grow_block(network, block);
    }
    let pooled = network.sum_pool("pool", network.last());
    let linear = direct(network, pooled, [1, 1, 0], classes);
    network.conv("linear", ConvSpec { act_bits: None, ..linear });
}

fn grow_block(network: &mut Network, block: Block) {
    let x = network.last();
    let channels = network.channels(x);
    let random = network.rng.random_range(1..=5);
    match block {
        Block::Winograd { padding } => winograd(network, padding, random),
        Block::Direct { kernel, stride } => {
            let spec = direct(network, x, [kernel, stride, kernel / 2], random);
            push(network, spec);
        }
        Block::Identity => {
            winograd(network, 1, channels);
            residual(network, [x, 1, 0], channels);
        }
        Block::OptionA => {
            let spec = direct(network, x, [3, 2, 1], channels + 2);
            push(network, spec);
            residual(network, [x, 2, 1], channels + 2);
        }
        Block::Projection => {
            let spec = direct(network, x, [1, 2, 0], random);
            let projected = push(network, ConvSpec { act_bits: None, ..spec });
            let spec = direct(network, x, [3, 2, 1], random);
            push(network, spec);
            residual(network, [projected, 1, 0], random);
        }
    }
}

/// A Winograd convolution of the last node.
fn winograd(network: &mut Network, padding: usize, out_channels: usize) {
    let spec = f2x2(network, padding, out_channels);
    push(network, spec);
}

/// A Winograd convolution of the last node with a residual `[node, stride, channel offset]`.
fn residual(network: &mut Network, shortcut: [usize; 3], out_channels: usize) {
    let spec = f2x2(network, 1, out_channels);
    push(network, ConvSpec { shortcut: Some(shortcut), ..spec });
}

fn push(network: &mut Network, spec: ConvSpec) -> NodeId {
    network.conv(&format!("conv{}", network.last() + 1), spec)
}

fn f2x2(network: &mut Network, padding: usize, out_channels: usize) -> ConvSpec {
    let spec = direct(network, network.last(), [3, 1, padding], out_channels);
    let exponents = exponents(network, Algorithm::F2x2.taps());
    ConvSpec { algorithm: Algorithm::F2x2, exponents, ..spec }
}

/// A direct convolution with `[kernel, stride, padding]`.
fn direct(network: &mut Network, input: NodeId, sizes: [usize; 3], out_channels: usize) -> ConvSpec {
    let [kernel, stride, padding] = sizes;
    ConvSpec {
        input,
        algorithm: Algorithm::Direct,
        kernel,
        stride,
        padding,
        out_channels,
        exponents: exponents(network, kernel * kernel),
        act_bits: Some(network.rng.random_range(2..=8)),
        shortcut: None,
    }
}

/// Two's complement or exponents with gaps, one list for the layer or one for every position.
fn exponents(network: &mut Network, positions: usize) -> Vec<Vec<u8>> {
    let rng = &mut network.rng;
    let bits = rng.random_range(2..=8_u8);
    let gap = if rng.random_bool(0.5) { 0.2 } else { 0.0 };
    let lists = if rng.random_bool(0.3) { positions } else { 1 };
    let mut list = || {
        let mut skipped = 0;
        let mut exponent = |bit| {
            skipped += u8::from(rng.random_bool(gap));
            bit + skipped
        };
        (0..bits).map(&mut exponent).collect()
    };
    (0..lists).map(|_| list()).collect()
}
