//! What `eqo plan` found.

use std::collections::BTreeMap;
use std::path::PathBuf;

use eqo_checkpoints::plan::BitPlan;
use eqo_train::qat::Spread;
use serde::Serialize;

use crate::price::Price;
use crate::sensitivity::LayerSensitivity;
use crate::trace::{Trace, Traces};

/// Key of the activations' traces.
pub const ACTIVATIONS: &str = "activations";

/// The result of `eqo plan`.
#[derive(Clone, Debug, Serialize)]
pub struct PlanReport {
    /// What was chosen.
    pub plan: BitPlan,
    /// Where it was written.
    pub path: PathBuf,
    /// What a cost counts: megabytes or seconds.
    pub measure: &'static str,
    /// The budget, in that; `None` where the cheapest plan was looked for.
    pub budget: Option<f64>,
    /// How far its sum may be from the optimum of the programme it solves, as a share; none where that isn't known, or the
    /// uniform plan was kept.
    pub gap: Option<f64>,
    /// What every layer takes of the plan, in the order of the network.
    pub layers: Vec<(String, Price)>,
    /// The chosen plan.
    pub chosen: Judged,
    /// The uniform plan of `[bits]`.
    pub uniform: Judged,
    /// Traces of the taps by algorithm, then of the activations.
    pub traces: BTreeMap<&'static str, Vec<TraceRow>>,
    /// Outliers of the weights before and after rounding by the plan, by layer and tap.
    pub spreads: Vec<(String, Vec<[Spread; 2]>)>,
    /// All that could be chosen.
    pub sensitivities: Vec<LayerSensitivity>,
    /// Best sensitivities at other budgets.
    pub sweep: Vec<SweepRow>,
    /// Wall seconds of each part that ran.
    pub seconds: BTreeMap<String, f64>,
}

/// A plan's worth, for one image, before any training.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Judged {
    /// ΣΩ; `None` if it has an algorithm that isn't on the menu.
    pub omega: Option<f64>,
    /// Its forecast.
    pub price: Price,
    /// The forecast in the measure of the budget.
    pub cost: f64,
}

/// A layer's trace.
#[derive(Clone, Debug, Serialize)]
pub struct TraceRow {
    /// The layer's name.
    pub layer: String,
    /// The trace of its block of the Hessian.
    pub trace: f64,
    /// Half the width of its 95% confidence interval.
    pub confidence: f64,
    /// Standard error over the trace.
    pub relative_error: f64,
    /// Trace by value.
    pub mean: f64,
    /// Probes it took.
    pub probes: usize,
}

/// A point of the Pareto front, by prices that add up.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SweepRow {
    /// The measure of the budget.
    pub cost: f64,
    /// ΣΩ.
    pub omega: f64,
}

impl PlanReport {
    /// A layer's trace by the taps of `algorithm`; by its kernels, in any network, where it is direct.
    pub fn trace(&self, algorithm: &str, layer: &str) -> Option<&TraceRow> {
        let by_taps = || self.traces.iter().find(|(name, _)| **name != ACTIVATIONS).map(|(_, rows)| rows);
        let rows = self.traces.get(algorithm).or_else(by_taps)?;
        rows.iter().find(|row| row.layer == layer)
    }

    /// One line a choice: `layer,what,algorithm,bits,tap_bits,exponents,mid_rise,error,omega`; activations have the bits
    /// `act_bits`.
    pub fn csv(&self, act_bits: &[u8]) -> String {
        let mut lines = vec!["layer,what,algorithm,bits,tap_bits,exponents,mid_rise,error,omega".to_owned()];
        for layer in &self.sensitivities {
            let name = &layer.layer;
            lines.extend(layer.weights.iter().map(|choice| {
                let list = |list: &Option<Vec<u8>>| {
                    list.iter().flatten().map(u8::to_string).collect::<Vec<_>>().join(" ")
                };
                let (taps, exponents) = (list(&choice.tap_bits), list(&choice.exponents));
                let (algorithm, bits, mid_rise) = (choice.algorithm.name(), choice.bits, choice.mid_rise);
                let (error, omega) = (choice.error, choice.omega);
                format!("{name},weights,{algorithm},{bits},{taps},{exponents},{mid_rise},{error:e},{omega:e}")
            }));
            let activations = layer.activations.iter().flatten().zip(act_bits);
            lines
                .extend(activations.map(|(omega, bits)| format!("{name},activations,,{bits},,,,,{omega:e}")));
        }
        lines.join("\n") + "\n"
    }
}

/// As rows of a table.
pub(crate) fn rows(traces: &Traces) -> Vec<TraceRow> {
    let row = |trace: &Trace| TraceRow {
        layer: trace.layer.clone(),
        trace: trace.trace,
        confidence: trace.confidence(),
        relative_error: trace.relative_error(),
        mean: trace.mean(),
        probes: trace.probes,
    };
    traces.layers.iter().map(row).collect()
}
