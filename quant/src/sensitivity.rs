//! How much the loss minds every choice: `Ω = Σ_taps mean second derivative · Σ (Q(U) − U)²` (HAWQ-V2, Dong et al. 2020,
//! §3.1, tap by tap: taps of one layer differ by orders of magnitude in both factors).

use std::collections::BTreeMap;

use eqo_checkpoints::arch::{Arch, ArchOp};
use eqo_checkpoints::plan::{BitPlan, LayerPlan};
use eqo_checkpoints::winograd::Algorithm;
use eqo_datasets::Dataset;
use eqo_train::QatNet;
use serde::Serialize;

use crate::Error;
use crate::trace::Traces;

/// What may be chosen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Menu {
    /// Bits of a weight.
    pub weight_bits: Vec<u8>,
    /// Bits of an activation.
    pub act_bits: Vec<u8>,
    /// For 3x3 convolutions of stride 1; all others are direct.
    pub algorithms: Vec<Algorithm>,
    /// Whether weights may lie half a step above their codes, and bits may have other exponents than two's complement.
    pub reweight: bool,
    /// Bits of the weights of the first and the last layer, if those aren't free.
    pub ends: Option<u8>,
}

/// One way to have a layer's weights. Its activation bits are another choice.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WeightChoice {
    /// How its products are arranged.
    pub algorithm: Algorithm,
    /// Bits of a weight.
    pub bits: u8,
    /// Exponents of the bits; `None` is two's complement.
    pub exponents: Option<Vec<u8>>,
    /// Whether weights lie half a step above their codes.
    pub mid_rise: bool,
    /// `Σ (Q(U) − U)²`.
    pub error: f64,
    /// Ω.
    pub omega: f64,
}

/// Sensitivities of one layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerSensitivity {
    /// The layer's name.
    pub layer: String,
    /// For every algorithm and bits, two's complement and, if there is a better one, the code of least Ω.
    pub weights: Vec<WeightChoice>,
    /// Ω of the activation at each of [`Menu::act_bits`]; `None` where the layer ends in its accumulator.
    pub activations: Option<Vec<f64>>,
}

impl WeightChoice {
    /// As a plan of a layer whose activation has `act_bits`.
    pub fn plan(&self, act_bits: u8) -> LayerPlan {
        let (weight_bits, exponents) = (self.bits, self.exponents.clone());
        LayerPlan { algorithm: self.algorithm, weight_bits, act_bits, exponents, mid_rise: self.mid_rise }
    }

    /// Two's complement.
    pub fn is_plain(&self) -> bool {
        self.exponents.is_none() && !self.mid_rise
    }
}

impl Menu {
    /// The algorithms of one layer.
    fn algorithms(&self, tiles: bool) -> Vec<Algorithm> {
        if tiles { self.algorithms.clone() } else { vec![Algorithm::Direct] }
    }

    /// The codes of `bits` bits: exponents and mid-rise.
    fn codes(&self, bits: u8) -> Vec<(Option<Vec<u8>>, bool)> {
        let mut codes = vec![(None, false)];
        if self.reweight {
            codes.push((None, true));
            codes.extend(
                reweighted(bits).into_iter().flat_map(|k| [(Some(k.clone()), false), (Some(k), true)]),
            );
        }
        codes
    }
}

/// Exponents with gaps: the bits above one of them are worth two or four times as much (bit re-weighting, EQO §4.3).
pub fn reweighted(bits: u8) -> Vec<Vec<u8>> {
    let gap = |above: u8, wide: u8| (0..bits).map(|bit| if bit > above { bit + wide } else { bit }).collect();
    (0..bits.saturating_sub(1)).flat_map(|above| [gap(above, 1), gap(above, 2)]).collect()
}

/// Sensitivities of all layers of `net`, a quantized network before any training in the spatial domain, from the traces of its
/// taps by algorithm and of its activations. `progress` is told (choices looked at, choices in all).
///
/// # Errors
/// Those of the quantizer and of images of another size.
pub fn sensitivities(
    net: &QatNet,
    (weights, activations): (&BTreeMap<&'static str, Traces>, &Traces),
    menu: &Menu,
    calibration: &Dataset,
    progress: &dyn Fn(usize, usize),
) -> Result<Vec<LayerSensitivity>, Error> {
    let errors = net.float_network().activation_errors(calibration, &menu.act_bits)?;
    let mut layers: Vec<LayerSensitivity> = Vec::new();
    for ((trace, errors), name) in activations.layers.iter().zip(errors).zip(layer_names(net.arch())) {
        let omega = |error: f64| trace.mean().max(0.0) * error;
        let ends_in_activation = trace.count > 0.0;
        let activations = ends_in_activation.then(|| errors.into_iter().map(omega).collect());
        layers.push(LayerSensitivity { layer: name, weights: Vec::new(), activations });
    }
    let tiled = tiled_layers(net.arch());
    let codes: Vec<(u8, (Option<Vec<u8>>, bool))> = all_bits(menu)
        .into_iter()
        .flat_map(|bits| menu.codes(bits).into_iter().map(move |code| (bits, code)))
        .collect();
    let total = codes.len() * menu.algorithms.len();
    let last = layers.len().saturating_sub(1);
    for (at, (&algorithm, (bits, code))) in menu
        .algorithms
        .iter()
        .flat_map(|algorithm| codes.iter().map(move |code| (algorithm, code)))
        .enumerate()
    {
        progress(at, total);
        let rounded = net.replan(&uniform(net.arch(), algorithm, *bits, code))?.rounding_errors();
        for (index, (layer, errors)) in layers.iter_mut().zip(rounded).enumerate() {
            let own = if tiled[index] { algorithm } else { Algorithm::Direct };
            let again = !tiled[index] && Some(&algorithm) != menu.algorithms.first();
            let offered = match menu.ends {
                Some(ends) if index == 0 || index == last => *bits == ends && code.0.is_none() && !code.1,
                _ => menu.weight_bits.contains(bits),
            };
            if again || !offered || !menu.algorithms(tiled[index]).contains(&own) {
                continue;
            }
            let Some(trace) = weights.get(algorithm.name()).map(|traces| &traces.layers[index]) else {
                continue;
            };
            // The estimate of a small trace can be negative; the loss never gains from an error.
            let floor = 0.01 * trace.mean().max(0.0);
            let omega =
                trace.tap_means().iter().zip(&errors).map(|(mean, error)| mean.max(floor) * error).sum();
            let (exponents, mid_rise) = code.clone();
            layer.weights.push(WeightChoice {
                algorithm: own,
                bits: *bits,
                exponents,
                mid_rise,
                error: errors.iter().sum(),
                omega,
            });
        }
    }
    layers.iter_mut().for_each(|layer| keep_best_codes(&mut layer.weights));
    Ok(layers)
}

fn all_bits(menu: &Menu) -> Vec<u8> {
    let mut bits = menu.weight_bits.clone();
    bits.extend(menu.ends);
    bits.sort_unstable();
    bits.dedup();
    bits
}

/// Of each algorithm and bits two's complement, and the best other code if that is better.
fn keep_best_codes(choices: &mut Vec<WeightChoice>) {
    let mut kept: Vec<WeightChoice> = Vec::new();
    choices.sort_by(|a, b| {
        (!a.is_plain(), a.omega).partial_cmp(&(!b.is_plain(), b.omega)).unwrap_or(std::cmp::Ordering::Equal)
    });
    for choice in choices.drain(..) {
        let same: Vec<&WeightChoice> = kept
            .iter()
            .filter(|other| (other.algorithm, other.bits) == (choice.algorithm, choice.bits))
            .collect();
        if same.iter().all(|other| choice.omega < other.omega) && same.len() < 2 {
            kept.push(choice);
        }
    }
    kept.sort_by_key(|choice| (choice.algorithm as u8, choice.bits, !choice.is_plain()));
    *choices = kept;
}

/// All layers alike, where they can be; activations of 8 bits.
fn uniform(arch: &Arch, algorithm: Algorithm, bits: u8, code: &(Option<Vec<u8>>, bool)) -> BitPlan {
    let mut plan = BitPlan::uniform(arch, bits, 8);
    for (layer, tiles) in plan.layers.values_mut().zip(std::iter::repeat(algorithm)) {
        let algorithm = if layer.algorithm == Algorithm::Direct { Algorithm::Direct } else { tiles };
        (layer.algorithm, layer.weight_bits) = (algorithm, bits);
        (layer.exponents, layer.mid_rise) = code.clone();
    }
    plan
}

/// Names of convolutions and linear layers, in order.
fn layer_names(arch: &Arch) -> Vec<String> {
    let weighted = |op: &ArchOp| matches!(op, ArchOp::Conv(_) | ArchOp::Linear { .. });
    arch.nodes.iter().filter(|node| weighted(&node.op)).map(|node| node.name.clone()).collect()
}

/// Which of them may be Winograd convolutions.
fn tiled_layers(arch: &Arch) -> Vec<bool> {
    let plan = BitPlan::uniform(arch, 8, 8);
    layer_names(arch).iter().map(|name| plan.layers[name].algorithm != Algorithm::Direct).collect()
}
