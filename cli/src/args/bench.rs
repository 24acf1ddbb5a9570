//! Arguments of the measurements.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use eqo_protocol::transport::Link;

use super::values::{at_least_one, network, seconds};
use super::{Ot, PrivateArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Private inference of a network of random weights: its price before it is trained.
    Model(BenchModelArgs),
    /// Oblivious transfers and gates one by one, both parties on this machine.
    Primitives(BenchPrimitivesArgs),
}

#[derive(Debug, Args)]
pub(crate) struct BenchModelArgs {
    /// Architecture, such as cifar-resnet32 (`-b` appended: projection shortcuts), minionn, or resnet18 for 224x224 images.
    #[arg(long)]
    pub(crate) arch: String,
    /// Logits; as many as the architecture's usual images have classes if not given: 1000, 200 or 10.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) classes: Option<u16>,
    /// Bits of a weight; first and last layer have 8.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(2..=8))]
    pub(crate) weight_bits: u8,
    /// Bits of an activation.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u8).range(2..=8))]
    pub(crate) act_bits: u8,
    /// Outputs a Winograd tile yields in each direction, 0 for direct convolution.
    #[arg(long, value_enum, default_value_t = Tile::Two)]
    pub(crate) tile: Tile,
    /// Random images that are classified.
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    pub(crate) images: usize,
    #[command(flatten)]
    pub(crate) parameters: PrivateArgs,
    /// Longest wait for the other party, seconds.
    #[arg(long, default_value = "120", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// Slow the run down to a network: lan (377 MB/s, 0.3 ms round trip), wan (40 MB/s, 80 ms), or MB/s and ms.
    #[arg(long, value_name = "lan|wan|MB/S,MS", value_parser = network)]
    pub(crate) network: Option<Link>,
    /// Seed of the weights and of the images.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Keep the checkpoint in this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,
    /// One JSON object on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BenchPrimitivesArgs {
    /// Elements of each primitive at once, at most 2^22; products of a matrix are rounded up to whole rows.
    #[arg(long, default_value_t = 65536, value_parser = clap::value_parser!(u32).range(1..=1 << 22))]
    pub(crate) elements: u32,
    /// Only the primitive of this name; may be repeated.
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<String>,
    /// OT extension under the gates.
    #[arg(long, value_enum, default_value_t = Ot::Ferret)]
    pub(crate) ot: Ot,
    /// One JSON object on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

/// How 3x3 convolutions are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tile {
    /// Direct convolution.
    #[value(name = "0")]
    Direct,
    /// Winograd F(2x2, 3x3).
    #[value(name = "2")]
    Two,
    /// Winograd F(4x4, 3x3).
    #[value(name = "4")]
    Four,
    /// Winograd F(2x2, 3x3), those of stride 2 by phases.
    #[value(name = "2s")]
    Phases,
}
