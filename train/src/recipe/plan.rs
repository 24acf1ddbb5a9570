//! `[plan]`: how `eqo plan` chooses bits.

use std::collections::HashSet;

use eqo_checkpoints::winograd::Algorithm;
use serde::{Deserialize, Serialize};

use super::{RecipeError, require};

/// `[plan]`: what may be chosen, within what, and how the Hessian is estimated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlanSection {
    /// Bits of a weight to choose from.
    pub weight_bits: Vec<u8>,
    /// Bits of an activation to choose from.
    pub act_bits: Vec<u8>,
    /// Algorithms to choose from for every convolution, as [`crate::recipe::BitsSection::algorithm`]: `f2x2` and `f4x4` for 3x3 kernels of
    /// stride 1 (`direct` for those of stride 2), `p2x2` for those of stride 2.
    pub algorithms: Vec<Algorithm>,
    /// Mean bits to choose from for Winograd layers whose taps have bits of their own.
    pub tap_bits: Vec<f64>,
    /// Whether the bits of a weight may have other exponents than two's complement, or lie half a step higher.
    pub reweight: bool,
    /// Bits of the weights of the first and the last layer; 0: as those of all others.
    pub ends: u8,
    /// What is budgeted.
    pub measure: Measure,
    /// Most of it: megabytes, or seconds; 0: what the uniform plan of `[bits]` takes.
    pub budget: f64,
    /// If above 0, the least cost whose sensitivity is at most this many times that of the uniform plan is looked for instead.
    pub sensitivity: f64,
    /// How the second derivatives by taps are estimated.
    pub curvature: CurvatureKind,
    /// Largest relative standard error of a layer's Hessian trace.
    pub tolerance: f64,
    /// Images of a probe of the Hessian.
    pub batch_size: usize,
    /// Probes of a layer, at least.
    pub least_probes: usize,
    /// Probes of a layer, at most.
    pub most_probes: usize,
}

/// What a plan's budget counts, for one image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// Megabytes in both directions.
    #[default]
    Total,
    /// Megabytes that wait for an image.
    Online,
    /// Seconds of a local network, 377 MB/s and 0.3 ms, without computing.
    Lan,
    /// Seconds of a wide-area network, 40 MB/s and 80 ms, without computing.
    Wan,
}

/// How second derivatives by taps are estimated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CurvatureKind {
    /// The diagonal of every layer's block of the Hessian by squared gradients, all layers at once.
    #[default]
    Squares,
    /// The trace of every layer's block by exact Hessian-vector products, one layer at a time.
    Products,
    /// The diagonal of the empirical Fisher matrix.
    Fisher,
}

impl Default for PlanSection {
    fn default() -> Self {
        Self {
            weight_bits: vec![2, 3, 4, 5, 6, 8],
            act_bits: vec![4, 5, 6, 8],
            algorithms: vec![Algorithm::F2x2, Algorithm::F4x4, Algorithm::P2x2],
            tap_bits: vec![1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0],
            reweight: true,
            ends: 8,
            measure: Measure::Total,
            budget: 0.0,
            sensitivity: 0.0,
            curvature: CurvatureKind::Squares,
            tolerance: 0.05,
            batch_size: 128,
            least_probes: 16,
            most_probes: 1000,
        }
    }
}

impl PlanSection {
    pub(super) fn check(&self) -> Result<(), RecipeError> {
        let rising = |bits: &[u8]| !bits.is_empty() && bits.windows(2).all(|pair| pair[0] < pair[1]);
        let bits = |key: &str, bits: &[u8]| {
            let holds = rising(bits) && bits.iter().all(|bits| (2..=8).contains(bits));
            require(key, "one or more increasing bits from 2 to 8", format!("{bits:?}"), holds)
        };
        bits("plan.weight_bits", &self.weight_bits)?;
        bits("plan.act_bits", &self.act_bits)?;
        let found = format!("{:?}", self.algorithms);
        let once = self.algorithms.iter().collect::<HashSet<_>>().len() == self.algorithms.len();
        let holds = once && !self.algorithms.is_empty();
        require("plan.algorithms", "at least one, each once", found, holds)?;
        let tap_bits = self.tap_bits.is_sorted_by(|a, b| a < b)
            && self.tap_bits.iter().all(|bits| (0.5..=8.0).contains(bits));
        require(
            "plan.tap_bits",
            "increasing numbers from 0.5 to 8",
            format!("{:?}", self.tap_bits),
            tap_bits,
        )?;
        let ends = self.ends == 0 || (2..=8).contains(&self.ends);
        require("plan.ends", "0, or 2 to 8", self.ends, ends)?;
        for (key, value) in [("plan.budget", self.budget), ("plan.sensitivity", self.sensitivity)] {
            require(key, "a number, at least 0", value, value >= 0.0 && value.is_finite())?;
        }
        let tolerance = self.tolerance;
        require("plan.tolerance", "above 0, at most 1", tolerance, tolerance > 0.0 && tolerance <= 1.0)?;
        require("plan.batch_size", "at least 1", self.batch_size, self.batch_size > 0)?;
        let (least, most) = (self.least_probes, self.most_probes);
        require("plan.least_probes", "at least 2", least, least >= 2)?;
        let bounds = (self.budget, self.sensitivity);
        let one = bounds.0 == 0.0 || bounds.1 == 0.0;
        require("plan.budget", "0 beside plan.sensitivity above 0", bounds.0, one)?;
        require("plan.most_probes", "at least plan.least_probes", most, most >= least)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Recipe;

    #[test]
    fn menus_that_mean_nothing_are_refused_by_key() {
        for (key, value) in [
            ("algorithms", "[]"),
            ("algorithms", "[\"f2x2\", \"p2x2\", \"f2x2\"]"),
            ("weight_bits", "[4, 2]"),
            ("act_bits", "[9]"),
            ("tap_bits", "[0.25]"),
            ("ends", "1"),
        ] {
            let error = Recipe::parse(&format!("[plan]\n{key} = {value}"), "test", &[]).unwrap_err();
            assert!(error.to_string().contains(&format!("plan.{key}")), "{error}");
        }
    }
}
