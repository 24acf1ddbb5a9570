//! Arguments of the commands that read a checkpoint or talk to the other party.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use eqo_protocol::ot::OtKind;
use eqo_protocol::transport::Link;

use super::CredentialArgs;
use super::values::{at_least_one, channels, network, seconds};
use crate::party::parse_hash;

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// EQO checkpoint (.safetensors).
    pub(crate) checkpoint: PathBuf,
    #[command(flatten)]
    pub(crate) parameters: PrivateArgs,
    /// One JSON object on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Parameters of a private run that decide its bytes.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct PrivateArgs {
    /// Images that one private run answers at once.
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    pub(crate) batch: usize,
    /// Oblivious transfer; the profile's own if absent.
    #[arg(long, value_enum)]
    ot: Option<Ot>,
    /// Protocol.
    #[arg(long, value_enum, default_value_t = Profile::EqoPlus)]
    pub(crate) profile: Profile,
}

impl PrivateArgs {
    /// One image at a time by a profile as it is.
    pub(crate) fn of(profile: Profile) -> Self {
        Self { batch: 1, ot: None, profile }
    }

    /// What makes the random OTs.
    pub(crate) fn ot(&self) -> OtKind {
        self.ot.unwrap_or(self.profile.ot()).kind()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ot {
    /// SoftSpoken with k = 1, which is IKNP.
    Softspoken1,
    /// SoftSpoken with k = 2.
    Softspoken2,
    /// SoftSpoken with k = 4: the fastest on one machine.
    Softspoken4,
    /// SoftSpoken with k = 8.
    Softspoken8,
    /// Ferret, silent OT from LPN: the least traffic.
    Ferret,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// Winograd convolutions on weight bits, proven rings, fused requantization; OT extension as in the paper (IKNP).
    Eqo,
    /// The same on silent oblivious transfer (Ferret).
    #[value(name = "eqo+")]
    EqoPlus,
}

impl Profile {
    /// The name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Eqo => "eqo",
            Self::EqoPlus => "eqo+",
        }
    }

    /// The oblivious transfer it stands for.
    fn ot(self) -> Ot {
        match self {
            Self::Eqo => Ot::Softspoken1,
            Self::EqoPlus => Ot::Ferret,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// EQO checkpoint, or with --arch float weights (.safetensors, .th, .pth).
    pub(crate) checkpoint: PathBuf,
    /// Image folder with one sub-folder a class, folder of the CIFAR binaries, or `synthetic`.
    #[arg(long)]
    pub(crate) data: PathBuf,
    /// Architecture of float weights, such as cifar-resnet20.
    #[arg(long)]
    pub(crate) arch: Option<String>,
    /// Mean of each channel of x/255 (with --arch; a checkpoint brings its own).
    #[arg(long, value_name = "R,G,B", default_value = "0.485,0.456,0.406", value_parser = channels)]
    pub(crate) mean: [f32; 3],
    /// Standard deviation of each channel of x/255, likewise.
    #[arg(long, value_name = "R,G,B", default_value = "0.229,0.224,0.225", value_parser = channels)]
    pub(crate) std: [f32; 3],
    /// Run both parties as two processes over TCP and compare every logit with the integer engine.
    #[arg(long, conflicts_with = "arch")]
    pub(crate) private: bool,
    /// Use only this many images, classes in proportion; all if absent.
    #[arg(long, value_parser = at_least_one)]
    pub(crate) images: Option<usize>,
    #[command(flatten)]
    pub(crate) parameters: PrivateArgs,
    /// Longest wait for the other party, seconds.
    #[arg(long, default_value = "120", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// Slow the private run down to a network: lan (377 MB/s, 0.3 ms round trip), wan (40 MB/s, 80 ms), or MB/s and ms.
    #[arg(long, value_name = "lan|wan|MB/S,MS", value_parser = network, requires = "private")]
    pub(crate) network: Option<Link>,
    /// Leave undecodable images out and count them, instead of stopping.
    #[arg(long)]
    pub(crate) skip_corrupt: bool,
    /// Seed of `--data synthetic`.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// One JSON object on stdout.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct InferArgs {
    /// Address of the server.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) server: String,
    #[command(flatten)]
    pub(crate) credentials: CredentialArgs,
    /// The name that the server's certificate is for; the host of --server if absent.
    #[arg(long, value_name = "NAME", requires = "tls_cert")]
    pub(crate) tls_name: Option<String>,
    /// How often to connect again when the connection breaks; what is prepared is kept if the server still has it.
    #[arg(long, value_name = "TIMES", default_value_t = 3)]
    pub(crate) reconnect: u32,
    /// Images (JPEG, PNG) of the network's size; a single - reads their paths from standard input, a line each.
    #[arg(required = true)]
    pub(crate) images: Vec<PathBuf>,
    /// Inferences to keep prepared while no line comes (with -), as far as the server's budget goes.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) stock: usize,
    /// Refuse a server whose graph has another hash (`eqo inspect` prints it).
    #[arg(long, value_name = "HASH", value_parser = parse_hash)]
    pub(crate) expect_graph: Option<[u8; 32]>,
    #[command(flatten)]
    pub(crate) parameters: PrivateArgs,
    /// Threads that make random OTs (Ferret).
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    pub(crate) threads: usize,
    /// Learn the class of each image and nothing else of its logits.
    #[arg(long)]
    pub(crate) top1: bool,
    /// Longest wait for the server's next message, seconds.
    #[arg(long, default_value = "60", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// Send no faster than a network would, to try it on one machine (as in `eqo eval`; the server needs the same).
    #[arg(long, value_name = "lan|wan|MB/S,MS", value_parser = network)]
    pub(crate) network: Option<Link>,
    /// One JSON object a line, one line an image.
    #[arg(long)]
    pub(crate) json: bool,
}
