//! What the profiles are and where they are from.

use serde::{Deserialize, Serialize};

use crate::args::TableProfile;

/// A profile in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProfileNote {
    pub(super) profile: String,
    /// What both parties compute.
    pub(super) computes: String,
    pub(super) source: String,
    /// What isn't published in a form that can be run and is modelled here.
    pub(super) modelled: Option<String>,
}

impl ProfileNote {
    pub(super) fn of(profile: TableProfile) -> Self {
        let (computes, source) = words(profile);
        let modelled = (profile == TableProfile::Coinn).then_some(
            "factored multiplication, as one correlated OT for each weight and bin; signs by SCI's comparison in place of a garbled circuit; a network without a published configuration has the means of those that have one",
        );
        Self {
            profile: profile.name().to_owned(),
            computes: computes.to_owned(),
            source: source.to_owned(),
            modelled: modelled.map(str::to_owned),
        }
    }
}

fn words(profile: TableProfile) -> (&'static str, &'static str) {
    match profile {
        TableProfile::Sirnn => (
            "W16A16, direct convolution in rings of 32 bits and guard bits, truncation, ReLU and extension one by one, IKNP and 1-of-N OT",
            "SiRNN, eprint 2021/459; gates of EzPC's SCI",
        ),
        TableProfile::Cryptflow2 => (
            "one ring of 37 bits, direct convolution, faithful truncation, IKNP and 1-of-N OT",
            "CrypTFlow2, eprint 2020/1002; gates of EzPC's SCI",
        ),
        TableProfile::Copriv => (
            "one ring of 41 bits, F(2, 3), otherwise as cryptflow2",
            "CoPriv, arXiv 2311.01737, and its artifact",
        ),
        TableProfile::Coinn => (
            "16 bits, clustered weights, bits of ReLUs and powers of two of residuals by layer",
            "COINN, CCS 2021, and its public configurations",
        ),
        TableProfile::Eqo => (
            "weights quantized in the Winograd domain, F(2, 3), products by weight bits in proven rings, fused requantization, IKNP",
            "EQO, arXiv 2404.09404; this repository's engine",
        ),
        TableProfile::EqoPlus => (
            "as eqo, with silent OT (Ferret), strided convolutions in tiles, and bits by layer and tap where a plan or checkpoint is given",
            "this repository",
        ),
    }
}
