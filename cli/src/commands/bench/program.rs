//! Programs of earlier protocols that both parties make from the same few words.

use std::path::PathBuf;

use eqo_checkpoints::arch::Arch;
use eqo_checkpoints::baseline::{
    self, FixedPoint, LAYER_INPUT_LIMIT, Program, ProgramWeights, Steps, float_layers,
};
use eqo_checkpoints::engine::centre;
use eqo_checkpoints::winograd::Algorithm;
use eqo_checkpoints::{Checkpoint, random};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

use crate::exit::{Failure, Kind};

/// What a program computes: all that a server process is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ProgramSpec {
    network: Network,
    seed: u64,
    /// Only this layer.
    layer: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Network {
    /// An architecture with random weights.
    Random { protocol: Protocol, model: String },
    /// A quantized network by earlier gates.
    Quantized { checkpoint: PathBuf, fused: bool, known_msb: bool, simplified_residual: bool },
}

/// Earlier protocols, and a step between two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Protocol {
    Sirnn,
    /// With F(2, 3) where it fits.
    SirnnWinograd,
    Cryptflow2,
    Copriv,
    Coinn,
}

/// A program with the server's integers.
pub(super) struct Built {
    pub(super) program: Program,
    pub(super) weights: ProgramWeights,
    /// A random image for it, signed integers.
    pub(super) image: Vec<i64>,
    /// Logits of the integer engine, where the program is of a quantized network.
    engine: Option<Vec<i64>>,
}

impl ProgramSpec {
    /// `model` by an earlier protocol.
    pub(super) fn random(protocol: Protocol, model: &str, seed: u64) -> Self {
        Self { network: Network::Random { protocol, model: model.to_owned() }, seed, layer: None }
    }

    /// The network of this file by the gates of SCI.
    pub(super) fn quantized(checkpoint: PathBuf, steps: Steps, seed: u64) -> Self {
        let Steps { fused, known_msb, simplified_residual } = steps;
        Self {
            network: Network::Quantized { checkpoint, fused, known_msb, simplified_residual },
            seed,
            layer: None,
        }
    }

    /// One layer of the same.
    pub(super) fn layer(&self, name: &str) -> Self {
        Self { layer: Some(name.to_owned()), ..self.clone() }
    }

    /// What the server process is told.
    pub(super) fn to_json(&self) -> String {
        // Names and numbers only: there is nothing that JSON can't hold.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what [`to_json`](Self::to_json) wrote.
    pub(super) fn from_json(text: &str) -> Result<Self, Failure> {
        serde_json::from_str(text).map_err(|error| {
            let next = "let `eqo bench table` start this command";
            Failure::new(Kind::Usage, format!("--program: expected a program as JSON: {error}; {next}"))
        })
    }

    /// Program, weights and image; of one seed always the same.
    pub(super) fn build(&self) -> Result<Built, Failure> {
        let built = match &self.network {
            Network::Random { protocol, model } => random_network(*protocol, model, self.seed)?,
            Network::Quantized { checkpoint, fused, known_msb, simplified_residual } => {
                let steps =
                    Steps { fused: *fused, known_msb: *known_msb, simplified_residual: *simplified_residual };
                quantized_network(&Checkpoint::read(checkpoint)?, steps, self.seed)?
            }
        };
        match &self.layer {
            Some(name) => built.layer(name),
            None => Ok(built),
        }
    }
}

impl Built {
    /// The logits in the clear.
    pub(super) fn expected(&self) -> Result<Vec<i64>, Failure> {
        match &self.engine {
            Some(logits) => Ok(logits.clone()),
            None => Ok(self.program.evaluate(&self.weights, &self.image)?),
        }
    }

    fn layer(&self, name: &str) -> Result<Self, Failure> {
        let layer = self.program.layer(name).ok_or_else(|| {
            let message =
                format!("{}: expected a layer {name:?} that can be cut out, found none", self.program.name);
            Failure::new(Kind::Usage, message)
        })?;
        let inputs = (0..layer.program.len(0) as i64).map(|at| (at * at + at / 7) % LAYER_INPUT_LIMIT);
        let (image, weights) = (inputs.collect(), layer.weights(&self.weights));
        Ok(Self { program: layer.program, weights, image, engine: None })
    }
}

/// An architecture with as many classes as its usual images have.
pub(super) fn architecture(name: &str) -> Result<Arch, Failure> {
    Ok(Arch::by_name(name, Arch::usual_classes(name))?)
}

/// The program alone, which needs no weights.
pub(super) fn program(protocol: Protocol, arch: &Arch) -> Result<Program, Failure> {
    Ok(match style(protocol) {
        Some(style) => baseline::fixed_point(name(protocol), arch, style)?.program,
        None => baseline::coinn(arch).0,
    })
}

fn style(protocol: Protocol) -> Option<FixedPoint> {
    Some(match protocol {
        Protocol::Sirnn => FixedPoint::Mixed { algorithm: Algorithm::Direct },
        Protocol::SirnnWinograd => FixedPoint::Mixed { algorithm: Algorithm::F2x2 },
        Protocol::Cryptflow2 => FixedPoint::Uniform { bits: 37, algorithm: Algorithm::Direct },
        Protocol::Copriv => FixedPoint::Uniform { bits: 41, algorithm: Algorithm::F2x2 },
        Protocol::Coinn => return None,
    })
}

fn name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Sirnn => "sirnn",
        Protocol::SirnnWinograd => "sirnn with F(2, 3)",
        Protocol::Cryptflow2 => "cryptflow2",
        Protocol::Copriv => "copriv",
        Protocol::Coinn => "coinn",
    }
}

fn random_network(protocol: Protocol, model: &str, seed: u64) -> Result<Built, Failure> {
    let arch = architecture(model)?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (program, weights, fraction) = match style(protocol) {
        Some(style) => {
            let network = baseline::fixed_point(name(protocol), &arch, style)?;
            let weights = network.weights(&float_layers(&arch, &mut rng))?;
            let fraction = network.image_fraction();
            (network.program, weights, fraction)
        }
        None => {
            let (program, _) = baseline::coinn(&arch);
            let weights = baseline::coinn_weights(&program, &mut rng);
            (program, weights, PIXEL_FRACTION)
        }
    };
    let shape = program.ops.first().map_or([0; 3], |op| op.shape);
    let pixels = random::images(seed, 1, shape);
    let image = pixels.iter().map(|&pixel| (i64::from(pixel) - 128) << (fraction - PIXEL_FRACTION));
    let image = image.collect();
    Ok(Built { program, weights, image, engine: None })
}

/// A centred pixel is within ±2 when this many of its bits are fraction bits: as normalized images are.
const PIXEL_FRACTION: u32 = 6;

fn quantized_network(checkpoint: &Checkpoint, steps: Steps, seed: u64) -> Result<Built, Failure> {
    let (graph, weights) = (checkpoint.graph(), checkpoint.weights());
    let (program, weights) = baseline::quantized("quantized", graph, weights, steps)?;
    let pixels = random::images(seed, 1, graph.shape(0));
    let engine = Some(checkpoint.engine().run(&pixels)?);
    Ok(Built { program, weights, image: centre(graph.input(), &pixels), engine })
}
