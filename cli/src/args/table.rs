//! Arguments of the comparison of protocols.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use eqo_protocol::transport::Link;

use super::values::{at_least_one, network, seconds};
use super::{Profile, Tile};

#[derive(Debug, Args)]
pub(crate) struct TableArgs {
    /// Architectures, such as cifar-resnet32.
    #[arg(long, value_name = "NAME", value_delimiter = ',', required_unless_present = "from")]
    pub(crate) models: Vec<String>,
    /// Protocols.
    #[arg(long, value_enum, value_delimiter = ',', required_unless_present = "from")]
    pub(crate) profiles: Vec<TableProfile>,
    /// Networks that both parties imitate.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "loopback")]
    pub(crate) network: Vec<NamedNetwork>,
    /// Bits of a weight in eqo and eqo+; first and last layer have 8.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=8))]
    pub(crate) weight_bits: u8,
    /// Bits of an activation in eqo and eqo+.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u8).range(2..=8))]
    pub(crate) act_bits: u8,
    /// Plan (TOML) of the random network of eqo or eqo+, in place of the bits; for the model with its layers.
    #[arg(long, value_name = "PROFILE=FILE", value_parser = given)]
    pub(crate) plan: Vec<Given>,
    /// Trained checkpoint or run folder for eqo or eqo+, in place of random weights; its report.json has the accuracy.
    #[arg(long, value_name = "PROFILE=FILE", value_parser = given)]
    pub(crate) checkpoint: Vec<Given>,
    /// Don't run these protocols: their rows are the cost model's.
    #[arg(long, value_enum, value_name = "PROFILE", value_delimiter = ',')]
    pub(crate) modelled: Vec<TableProfile>,
    /// Rows of more bytes aren't run either.
    #[arg(long, value_name = "BYTES", default_value_t = 20_000_000_000)]
    pub(crate) execute_up_to: u64,
    /// Run one layer of every shape of those rows.
    #[arg(long)]
    pub(crate) layers: bool,
    /// Runs of each row; times are medians.
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    pub(crate) repeat: usize,
    #[command(flatten)]
    pub(crate) measurement: MeasurementArgs,
    /// Read a table that was written as JSON instead of measuring one.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["models", "profiles"])]
    pub(crate) from: Option<PathBuf>,
}

/// What every comparison takes.
#[derive(Debug, Args)]
pub(crate) struct MeasurementArgs {
    /// Longest wait for the other party, seconds.
    #[arg(long, default_value = "600", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// Seed of weights and images.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Folder for the result as JSON, as Markdown and as a page with plots.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
    /// One JSON object on stdout.
    #[arg(long)]
    pub(crate) json: bool,
    /// Markdown on stdout.
    #[arg(long, conflicts_with = "json")]
    pub(crate) markdown: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StudyArgs {
    /// Architecture, such as cifar-resnet32.
    #[arg(long, value_name = "NAME", required_unless_present = "from")]
    pub(crate) arch: Option<String>,
    /// Bits of a weight; first and last layer have 8.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=7))]
    pub(crate) weight_bits: u8,
    /// Bits of an activation.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u8).range(2..=8))]
    pub(crate) act_bits: u8,
    /// Plan (TOML) of the step to mixed precision, which is left out without one.
    #[arg(long, value_name = "FILE")]
    pub(crate) plan: Option<PathBuf>,
    /// Network that both parties imitate.
    #[arg(long, value_enum, default_value_t = NamedNetwork::Loopback)]
    pub(crate) network: NamedNetwork,
    #[command(flatten)]
    pub(crate) measurement: MeasurementArgs,
    /// Read a study that was written as JSON instead of measuring one.
    #[arg(long, value_name = "FILE", conflicts_with = "arch")]
    pub(crate) from: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PartyArgs {
    /// What is computed, as JSON.
    #[arg(long)]
    pub(crate) program: String,
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: String,
    /// Longest wait for the client's next message, seconds.
    #[arg(long, default_value = "600", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// Send no faster than a network would.
    #[arg(long, value_name = "lan|wan|MB/S,MS", value_parser = network)]
    pub(crate) network: Option<Link>,
    /// Stop when standard input ends.
    #[arg(long)]
    pub(crate) until_stdin_ends: bool,
}

/// Protocols of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableProfile {
    /// SiRNN: W16A16 in rings of 16 and 32 bits, direct convolution, nothing fused, IKNP.
    Sirnn,
    /// CrypTFlow2: one ring of 37 bits, direct convolution, faithful truncation, IKNP.
    Cryptflow2,
    /// CoPriv: one ring of 41 bits, F(2, 3), IKNP.
    Copriv,
    /// COINN: 16 bits, clustered weights, bits by layer; its multiplication is modelled.
    Coinn,
    /// EQO as in its paper: F(2, 3) on weight bits, fused requantization, IKNP.
    Eqo,
    /// EQO with silent OT, strided tiles and plans.
    #[value(name = "eqo+")]
    EqoPlus,
}

impl TableProfile {
    /// The name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sirnn => "sirnn",
            Self::Cryptflow2 => "cryptflow2",
            Self::Copriv => "copriv",
            Self::Coinn => "coinn",
            Self::Eqo => "eqo",
            Self::EqoPlus => "eqo+",
        }
    }

    /// Ours, and how the convolutions of its random networks are computed.
    pub(crate) fn ours(self) -> Option<(Profile, Tile)> {
        match self {
            Self::Eqo => Some((Profile::Eqo, Tile::Two)),
            Self::EqoPlus => Some((Profile::EqoPlus, Tile::Phases)),
            Self::Sirnn | Self::Cryptflow2 | Self::Copriv | Self::Coinn => None,
        }
    }
}

/// Networks that have a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NamedNetwork {
    /// The machine's own.
    Loopback,
    /// 377 MB/s, 0.3 ms round trip.
    Lan,
    /// 40 MB/s, 80 ms round trip.
    Wan,
}

impl NamedNetwork {
    /// The name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Lan => "lan",
            Self::Wan => "wan",
        }
    }

    /// What the parties imitate; nothing for the machine's own.
    pub(crate) fn link(self) -> Option<Link> {
        match self {
            Self::Loopback => None,
            Self::Lan => Some(Link::LAN),
            Self::Wan => Some(Link::WAN),
        }
    }
}

/// A file for one of our profiles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) profile: TableProfile,
    pub(crate) file: PathBuf,
}

fn given(text: &str) -> Result<Given, String> {
    let parts = text.split_once('=').filter(|(_, file)| !file.is_empty());
    let (name, file) = parts.ok_or_else(|| "expected PROFILE=FILE, such as eqo+=plan.toml".to_owned())?;
    let profile = TableProfile::from_str(name, false).ok().filter(|profile| profile.ours().is_some());
    let profile = profile.ok_or_else(|| format!("expected eqo or eqo+ before the file, found {name:?}"))?;
    Ok(Given { profile, file: file.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_given_to_our_profiles_only() {
        let found = given("eqo+=a=b.toml");
        assert_eq!(found, Ok(Given { profile: TableProfile::EqoPlus, file: "a=b.toml".into() }));
        for wrong in ["", "eqo", "eqo=", "sirnn=a", "=a", "a.toml"] {
            assert!(given(wrong).is_err(), "{wrong}");
        }
    }
}
