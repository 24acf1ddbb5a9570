//! Random but sound checkpoints: every kind of node, proven rings, reproducible from a seed. For tests and the
//! committed fixtures only.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::arch::Arch;
use crate::format::Checkpoint;
use crate::plan::BitPlan;
use crate::winograd::Algorithm;

mod blocks;
mod network;
mod planned;

use network::Network;

/// What a random network looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Channels, height and width of the image.
    pub image: [usize; 3],
    /// Logits.
    pub classes: usize,
    /// Blocks after the first convolution; sum pooling and a linear layer follow them.
    pub blocks: Vec<Block>,
    /// What the Winograd convolutions of stride 1 compute with, taken in turn, F(2x2, 3x3) if none is given; with
    /// [`Algorithm::P2x2`] among them blocks' 3x3 convolutions of stride 2, which are direct otherwise, are too.
    pub algorithms: Vec<Algorithm>,
    /// Whether weights of an odd number of bits are offset by one.
    pub mid_rise: bool,
}

/// A block of a random network; widths, bits, shifts and exponents are drawn at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// Winograd convolution with this padding.
    Winograd {
        /// 0, 1 or 2.
        padding: usize,
    },
    /// Direct convolution.
    Direct {
        /// Kernel size.
        kernel: usize,
        /// Stride; the padding is `kernel / 2`.
        stride: usize,
    },
    /// Max pooling.
    MaxPool {
        /// Height and width of a window.
        kernel: usize,
        /// Stride.
        stride: usize,
        /// Padding, at most half of `kernel`.
        padding: usize,
    },
    /// Two Winograd convolutions with the identity added.
    Identity,
    /// A strided and a Winograd convolution with an option-A shortcut (He et al. 2015, §3.3).
    OptionA,
    /// A strided and a Winograd convolution with a 1x1 projection shortcut, an accumulator of its own.
    Projection,
}

impl Spec {
    /// All Winograd convolutions are F(2x2, 3x3).
    pub fn new(image: [usize; 3], classes: usize, blocks: Vec<Block>) -> Self {
        Self { image, classes, blocks, algorithms: vec![Algorithm::F2x2], mid_rise: false }
    }

    /// The same network of other tiles.
    #[must_use]
    pub fn with_tiles(self, algorithms: &[Algorithm]) -> Self {
        Self { algorithms: algorithms.to_vec(), ..self }
    }

    /// The same network with an offset on weights of an odd number of bits.
    #[must_use]
    pub fn with_mid_rise(self) -> Self {
        Self { mid_rise: true, ..self }
    }

    /// Every kind of node once, on an odd-sized image.
    pub fn every_kind() -> Self {
        use Block::{Direct, Identity, MaxPool, OptionA, Projection, Winograd};
        let blocks = vec![
            Winograd { padding: 1 },
            OptionA,
            MaxPool { kernel: 2, stride: 1, padding: 0 },
            Identity,
            Projection,
            Winograd { padding: 2 },
            Direct { kernel: 1, stride: 1 },
        ];
        Self::new([3, 9, 8], 5, blocks)
    }

    /// Max poolings one after the other, behind and before residual blocks, with and without padding.
    pub fn pools() -> Self {
        use Block::{Identity, MaxPool, OptionA};
        let blocks = vec![
            MaxPool { kernel: 3, stride: 2, padding: 1 },
            Identity,
            MaxPool { kernel: 2, stride: 1, padding: 0 },
            MaxPool { kernel: 2, stride: 1, padding: 1 },
            OptionA,
            MaxPool { kernel: 2, stride: 2, padding: 0 },
        ];
        Self::new([2, 11, 9], 4, blocks)
    }

    /// A small network: images up to 12x12, up to three blocks, tiles of one size or of both; offset weights for odd seeds.
    pub fn random(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let image = [rng.random_range(1..=3), rng.random_range(1..=12), rng.random_range(1..=12)];
        let blocks = (0..rng.random_range(0..=3)).map(|_| Block::random(&mut rng)).collect();
        use Algorithm::{F2x2, F4x4, P2x2};
        let tiles = [&[F2x2][..], &[F4x4], &[F4x4, F2x2], &[P2x2], &[F4x4, P2x2]];
        let spec = Self::new(image, rng.random_range(1..=10), blocks);
        let spec = spec.with_tiles(tiles[rng.random_range(0..tiles.len())]);
        Self { mid_rise: seed % 2 == 1, ..spec }
    }
}

impl Block {
    fn random(rng: &mut ChaCha8Rng) -> Self {
        match rng.random_range(0..6) {
            0 => Self::Winograd { padding: rng.random_range(1..=2) },
            1 => Self::Direct { kernel: rng.random_range(1..=5), stride: rng.random_range(1..=3) },
            2 => Self::Identity,
            3 => Self::OptionA,
            4 => {
                let kernel = rng.random_range(2..=4);
                Self::MaxPool { kernel, stride: rng.random_range(1..=3), padding: kernel / 2 }
            }
            _ => Self::Projection,
        }
    }
}

/// A network of this shape with random integer weights, tap shifts, bit exponents and output shifts; rings are the
/// proven ones. The same seed and spec give the same checkpoint.
///
/// A few seeds (about 1 in 100 of [`Spec::every_kind`], 1 in 20 with 6x6 tiles and of [`Spec::random`]) give logits that ignore the image:
/// test many seeds, or use the fixtures, whose logits are checked to differ.
///
/// # Panics
/// If the spec makes an impossible network, such as a kernel larger than its padded input.
pub fn random_checkpoint(seed: u64, spec: &Spec) -> Checkpoint {
    let mut network = Network::new(seed, spec.image);
    network.mid_rise = spec.mid_rise;
    blocks::grow(&mut network, spec);
    network.finish("random")
}

/// An architecture at a plan's bits with random weights, for measurements that don't depend on accuracy.
///
/// # Panics
/// If the plan lacks a layer, or puts Winograd where it can't be.
pub fn random_arch(seed: u64, arch: &Arch, plan: &BitPlan) -> Checkpoint {
    planned::grow(seed, arch, plan).finish(&arch.name)
}

/// Pixels for a checkpoint's graph, `[channels][height][width]`; every fourth image holds extremes only.
pub fn random_image(seed: u64, checkpoint: &Checkpoint) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut image = vec![0; checkpoint.graph().shape(0).iter().product()];
    rng.fill_bytes(&mut image);
    if seed.is_multiple_of(4) {
        image.iter_mut().for_each(|pixel| *pixel = if *pixel < 128 { 0 } else { 255 });
    }
    image
}
