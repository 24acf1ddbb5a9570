//! The steps from SiRNN to all of our optimizations.

use eqo_checkpoints::Checkpoint;
use eqo_checkpoints::baseline::Steps;

use super::networks::{FIXED, Network, Networks, RETILED, REWEIGHTED, UNIFORM, with_rings_by_layer};
use crate::args::{PrivateArgs, Profile};
use crate::commands::bench::program::{ProgramSpec, Protocol};
use crate::exit::Failure;

/// One row of the study.
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) what: String,
    /// Letter of the network.
    pub(super) weights: &'static str,
    pub(super) runs: Runs,
}

/// What a step runs.
pub(super) enum Runs {
    /// By the gates of SCI.
    Earlier(ProgramSpec),
    /// By our own.
    Ours { checkpoint: Box<Checkpoint>, parameters: PrivateArgs },
}

/// All steps in order.
pub(super) fn steps(networks: &Networks) -> Result<Vec<Step>, Failure> {
    let mut steps = by_earlier_gates(networks);
    let (chosen, letter) = networks.chosen();
    let by_layer = |network: &Network| with_rings_by_layer(&network.checkpoint);
    let [iknp, silent] = [Profile::Eqo, Profile::EqoPlus].map(PrivateArgs::of);
    let mut ours = |name, what: &str, weights, (checkpoint, parameters)| {
        let runs = Runs::Ours { checkpoint: Box::new(checkpoint), parameters };
        steps.push(Step { name, what: what.to_owned(), weights, runs });
    };
    let what =
        "random OTs, bit triples and products with a mask offline; one requantization gate in place of three";
    ours("our gates", what, letter, (by_layer(chosen)?, iknp));
    ours("silent OT", "Ferret in place of IKNP", letter, (by_layer(chosen)?, silent));
    let (last, letter) = match &networks.retiled {
        Some(retiled) => {
            let what = "F(4, 3) and strided tiles in the layers where they send less";
            ours("tiles", what, RETILED, (by_layer(retiled)?, silent));
            (retiled, RETILED)
        }
        None => (chosen, letter),
    };
    let what = "every output channel in the smallest ring that is proven, every tap in what its shift leaves of it; before: the layer's widest";
    ours("proven rings", what, letter, (last.checkpoint.clone(), silent));
    Ok(steps)
}

fn by_earlier_gates(networks: &Networks) -> Vec<Step> {
    let Networks { seed, arch, .. } = networks;
    let fixed = |protocol| Runs::Earlier(ProgramSpec::random(protocol, &arch.name, *seed));
    let quantized = |network: &Network, steps| {
        Runs::Earlier(ProgramSpec::quantized(network.file.path.clone(), steps, *seed))
    };
    let [none, fused, known_msb, simplified_residual] = [0, 1, 2, 3].map(|count| Steps {
        fused: count > 0,
        known_msb: count > 1,
        simplified_residual: count > 2,
    });
    let all = simplified_residual;
    let uniform = |steps| quantized(&networks.uniform, steps);
    let step = |name, what: &str, weights, runs| Step { name, what: what.to_owned(), weights, runs };
    let mut steps = vec![
        step("SiRNN", "W16A16, direct convolution", FIXED, fixed(Protocol::Sirnn)),
        step("Winograd", "F(2, 3) in fixed point", FIXED, fixed(Protocol::SirnnWinograd)),
        step(
            "quantization",
            "weights and activations of few bits, weight bits choose",
            UNIFORM,
            uniform(none),
        ),
        step("fusion", "neighbouring extensions and truncations are one", UNIFORM, uniform(fused)),
        step("MSB known", "extensions use that activations aren't negative", UNIFORM, uniform(known_msb)),
        step("residual", "added in the accumulator's ring from one extension", UNIFORM, uniform(all)),
        step(
            "re-weighting",
            "the sign's bit worth twice as much",
            REWEIGHTED,
            quantized(&networks.reweighted, all),
        ),
    ];
    if let (Some(mixed), (_, letter)) = (&networks.mixed, networks.chosen()) {
        steps.push(step(
            "mixed precision",
            "bits by layer and tap from a plan",
            letter,
            quantized(mixed, all),
        ));
    }
    steps
}
