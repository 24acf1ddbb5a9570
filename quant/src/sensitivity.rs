//! How much the loss minds every choice: `Ω = Σ_taps mean second derivative · Σ (Q(U) − U)²` (HAWQ-V2, Dong et al. 2020,
//! §3.1, tap by tap: taps of one layer differ by orders of magnitude in both factors).

use std::collections::BTreeMap;

use eqo_checkpoints::arch::{Arch, ArchOp};
use eqo_checkpoints::plan::{BitPlan, LayerPlan};
use eqo_checkpoints::winograd::Algorithm;
use eqo_train::QatNet;
use eqo_train::qat::RoundedActivation;
use serde::Serialize;

use crate::Error;
use crate::trace::Traces;

mod taps;

/// What may be chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Menu {
    /// Bits of a weight.
    pub weight_bits: Vec<u8>,
    /// Bits of an activation.
    pub act_bits: Vec<u8>,
    /// Of all convolutions where they fit, see [`Algorithm::beside`].
    pub algorithms: Vec<Algorithm>,
    /// Mean bits of choices where every tap of a Winograd layer has bits of its own.
    pub tap_bits: Vec<f64>,
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
    /// Bits of a weight; the most of any tap.
    pub bits: u8,
    /// Bits of each tap, where they differ.
    pub tap_bits: Option<Vec<u8>>,
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
    /// For every algorithm and bits, two's complement and, if there is a better one, the code of least Ω; then those with
    /// bits of their own for every tap.
    pub weights: Vec<WeightChoice>,
    /// Ω of the activation at each of [`Menu::act_bits`]; `None` where the layer ends in its accumulator.
    pub activations: Option<Vec<f64>>,
}

impl WeightChoice {
    /// As a plan of a layer whose activation has `act_bits`.
    pub fn plan(&self, act_bits: u8) -> LayerPlan {
        LayerPlan {
            algorithm: self.algorithm,
            weight_bits: self.bits,
            tap_bits: self.tap_bits.clone(),
            act_bits,
            exponents: self.exponents.clone(),
            mid_rise: self.mid_rise,
            ring_bits: None,
        }
    }

    /// Two's complement.
    pub fn is_plain(&self) -> bool {
        self.exponents.is_none() && self.tap_bits.is_none() && !self.mid_rise
    }
}

impl Menu {
    /// The codes of `bits` bits: exponents and mid-rise.
    fn codes(&self, bits: u8) -> Vec<Code> {
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

/// Everything that sensitivities follow from.
pub struct Sensitivity<'a> {
    /// Before any training, in the spatial domain.
    pub net: &'a QatNet,
    /// Of the taps, by algorithm.
    pub taps: BTreeMap<&'static str, Traces>,
    /// Of the activations.
    pub activations: Traces,
    /// Every activation at 2 to 8 bits, `[layer][bits − 2]`; none where a layer ends in its accumulator.
    pub rounded: Vec<Vec<RoundedActivation>>,
}

/// Bits that activations are looked at.
pub const ACT_BITS: [u8; 7] = [2, 3, 4, 5, 6, 7, 8];

impl Sensitivity<'_> {
    /// The network at `plan`, before any training: weight steps and activation scales of least squared error.
    ///
    /// # Errors
    /// Those of the quantizer.
    pub fn replan(&self, plan: &BitPlan) -> Result<QatNet, Error> {
        let scale = |layer: usize, bits: u8| Some(self.activation(layer, bits)?.exponent as f32);
        Ok(self.net.replan_at(plan, &scale)?)
    }

    /// ΣΩ of a plan; `None` if it has an algorithm whose traces weren't estimated.
    ///
    /// # Errors
    /// Those of the quantizer.
    pub fn of(&self, plan: &BitPlan) -> Result<Option<f64>, Error> {
        let errors = self.replan(plan)?.rounding_errors();
        let layer = |(index, (name, errors)): (usize, (String, Vec<f64>))| {
            let own = plan.layers.get(&name)?;
            Some(self.weights(index, &errors)? + self.of_activation(index, own.act_bits).unwrap_or(0.0))
        };
        Ok(layer_names(self.net.arch()).into_iter().zip(errors).enumerate().map(layer).sum())
    }

    /// Sensitivities of all layers. `progress` is told (choices looked at, choices in all) and may end it.
    ///
    /// # Errors
    /// Those of the quantizer and of `progress`.
    pub fn layers(&self, menu: &Menu, progress: Step<'_>) -> Result<Vec<LayerSensitivity>, Error> {
        let mut layers: Vec<LayerSensitivity> = layer_names(self.net.arch())
            .into_iter()
            .enumerate()
            .map(|(index, layer)| {
                let omegas = menu.act_bits.iter().map(|&bits| self.of_activation(index, bits));
                LayerSensitivity { layer, weights: Vec::new(), activations: omegas.collect() }
            })
            .collect();
        let codes: Vec<(u8, Code)> = all_bits(menu)
            .into_iter()
            .flat_map(|bits| menu.codes(bits).into_iter().map(move |code| (bits, code)))
            .collect();
        let of_taps = if menu.tap_bits.is_empty() { 0 } else { usize::from(taps::MOST_BITS) };
        let total = (codes.len() + of_taps) * menu.algorithms.len();
        for (at, (&algorithm, (bits, code))) in menu
            .algorithms
            .iter()
            .flat_map(|algorithm| codes.iter().map(move |code| (algorithm, code)))
            .enumerate()
        {
            progress(at, total)?;
            self.add(&mut layers, menu, (algorithm, *bits, code))?;
        }
        layers.iter_mut().for_each(|layer| keep_best_codes(&mut layer.weights));
        for (at, &algorithm) in menu.algorithms.iter().enumerate().filter(|_| of_taps > 0) {
            let done = codes.len() * menu.algorithms.len() + at * of_taps;
            self.add_tap_bits(&mut layers, menu, algorithm, &|step, _| progress(done + step, total))?;
        }
        Ok(layers)
    }

    /// Adds one choice to every layer that may have it.
    fn add(
        &self,
        layers: &mut [LayerSensitivity],
        menu: &Menu,
        (algorithm, bits, code): (Algorithm, u8, &Code),
    ) -> Result<(), Error> {
        let last = layers.len().saturating_sub(1);
        let arranged = newly_arranged(self.net.arch(), &menu.algorithms, algorithm);
        let rounded = self.replan(&uniform(self.net.arch(), algorithm, bits, code))?.rounding_errors();
        for (index, (layer, errors)) in layers.iter_mut().zip(rounded).enumerate() {
            let Some(algorithm) = arranged[index] else { continue };
            let offered = match menu.ends {
                Some(ends) if index == 0 || index == last => bits == ends && code.0.is_none() && !code.1,
                _ => menu.weight_bits.contains(&bits),
            };
            let omega = self.weights(index, &errors).filter(|_| offered);
            let (exponents, mid_rise) = code.clone();
            let choice = |omega| WeightChoice {
                algorithm,
                bits,
                tap_bits: None,
                exponents,
                mid_rise,
                error: errors.iter().sum(),
                omega,
            };
            layer.weights.extend(omega.map(choice));
        }
        Ok(())
    }

    /// Ω of a layer's weights for squared errors by tap.
    fn weights(&self, layer: usize, errors: &[f64]) -> Option<f64> {
        let means = self.derivatives(layer, errors.len())?;
        Some(means.iter().zip(errors).map(|(mean, error)| mean * error).sum())
    }

    /// Mean second derivative by each of a layer's taps or kernel positions, of which every algorithm has another number.
    fn derivatives(&self, layer: usize, positions: usize) -> Option<Vec<f64>> {
        let mut traces = self.taps.values().map(|traces| &traces.layers[layer]);
        let own = traces.find(|trace| trace.parts.len() == positions)?;
        // By products the estimate of a small part can be negative; the loss never gains from an error.
        Some(own.tap_means().into_iter().map(|mean| mean.max(0.0)).collect())
    }

    fn of_activation(&self, layer: usize, bits: u8) -> Option<f64> {
        Some(self.activations.layers[layer].mean().max(0.0) * self.activation(layer, bits)?.error)
    }

    fn activation(&self, layer: usize, bits: u8) -> Option<&RoundedActivation> {
        self.rounded.get(layer)?.get(usize::from(bits.checked_sub(ACT_BITS[0])?))
    }
}

/// Exponents of the bits, and whether weights are mid-rise.
type Code = (Option<Vec<u8>>, bool);

/// Told (steps done, steps in all); an error ends the work.
pub type Step<'a> = &'a dyn Fn(usize, usize) -> Result<(), Error>;

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
fn uniform(arch: &Arch, algorithm: Algorithm, bits: u8, code: &Code) -> BitPlan {
    let mut plan = BitPlan::uniform(arch, bits, 8).with_tiles(arch, algorithm);
    for layer in plan.layers.values_mut() {
        // The first and the last layer too.
        layer.weight_bits = bits;
        (layer.exponents, layer.mid_rise) = code.clone();
    }
    plan
}

/// Names of convolutions and linear layers, in order.
fn layer_names(arch: &Arch) -> Vec<String> {
    let weighted = |op: &ArchOp| matches!(op, ArchOp::Conv(_) | ArchOp::Linear { .. });
    arch.nodes.iter().filter(|node| weighted(&node.op)).map(|node| node.name.clone()).collect()
}

/// How they are arranged in a network of this algorithm.
fn arranged(arch: &Arch, algorithm: Algorithm) -> Vec<Algorithm> {
    let plan = BitPlan::uniform(arch, 8, 8).with_tiles(arch, algorithm);
    layer_names(arch).iter().map(|name| plan.layers[name].algorithm).collect()
}

/// The same, but `None` for those that are arranged so in the network of an earlier one of `algorithms` too.
fn newly_arranged(arch: &Arch, algorithms: &[Algorithm], algorithm: Algorithm) -> Vec<Option<Algorithm>> {
    let earlier = algorithms.iter().take_while(|&&other| other != algorithm);
    let earlier: Vec<_> = earlier.map(|&other| arranged(arch, other)).collect();
    let new =
        |(index, own): (usize, Algorithm)| earlier.iter().all(|network| network[index] != own).then_some(own);
    arranged(arch, algorithm).into_iter().enumerate().map(new).collect()
}

/// As few of `algorithms` as have every layer arranged in all the ways that these have it, found by leaving out one after the
/// other.
pub fn covering(arch: &Arch, algorithms: &[Algorithm]) -> Vec<Algorithm> {
    let mut kept = algorithms.to_vec();
    for &algorithm in algorithms {
        let others: Vec<_> = kept.iter().copied().filter(|&other| other != algorithm).collect();
        let networks: Vec<_> = others.iter().map(|&other| arranged(arch, other)).collect();
        let own = arranged(arch, algorithm);
        if (0..own.len()).all(|index| networks.iter().any(|network| network[index] == own[index])) {
            kept = others;
        }
    }
    kept
}
