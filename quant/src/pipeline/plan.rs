//! `eqo plan`: from the float network to a plan of bits.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use eqo_checkpoints::cost::OtKind;
use eqo_checkpoints::plan::BitPlan;
use eqo_train::QatNet;
use eqo_train::curvature::Variable;
use eqo_train::recipe::{CurvatureKind, Measure, PlanSection};
use eqo_train::tensors::NamedTensors;
use serde::Serialize;

use super::{Hooks, Pipeline, Progress, report};
use crate::allocate::{Allocation, Goal, Problem};
use crate::price::{LAN, LayerPrices, Price, Pricing, WAN};
use crate::sensitivity::{self, LayerSensitivity, Menu};
use crate::stages::{hash_inputs, hash_tensors, write_whole};
use crate::trace::{self, Curvature, TraceConfig, TraceHooks, Traces};
use crate::{Error, fold};

/// The plan's name in a run's folder.
pub const PLAN: &str = "plan.toml";

/// Budgets of the sweep, by the plan's own cost.
const SWEEP: [f64; 9] = [0.6, 0.7, 0.8, 0.9, 1.0, 1.15, 1.3, 1.6, 2.0];
/// Solutions whose forecast may miss the budget before one that undercuts it is taken.
const CORRECTIONS: usize = 6;

/// The result of `eqo plan`.
#[derive(Clone, Debug, Serialize)]
pub struct PlanReport {
    /// What was chosen.
    pub plan: BitPlan,
    /// Where it was written.
    pub path: PathBuf,
    /// What the budget counts: megabytes or seconds.
    pub measure: String,
    /// The budget, in that.
    pub budget: f64,
    /// What every layer takes of it, in the order of the network.
    pub layers: Vec<(String, Price)>,
    /// The chosen plan.
    pub chosen: Judged,
    /// The uniform plan of `[bits]`.
    pub uniform: Judged,
    /// Traces of the taps by algorithm, then of the activations.
    pub traces: BTreeMap<String, Vec<TraceRow>>,
    /// All that could be chosen.
    pub sensitivities: Vec<LayerSensitivity>,
    /// Best sensitivities at other budgets.
    pub sweep: Vec<SweepRow>,
    /// Wall seconds of each part that ran.
    pub seconds: BTreeMap<String, f64>,
}

impl PlanReport {
    /// A layer's trace by the taps of `algorithm`; by its kernels, in any network, where it is direct.
    pub fn trace(&self, algorithm: &str, layer: &str) -> Option<&TraceRow> {
        let by_taps = || self.traces.iter().find(|(name, _)| *name != ACTIVATIONS).map(|(_, rows)| rows);
        let rows = self.traces.get(algorithm).or_else(by_taps)?;
        rows.iter().find(|row| row.layer == layer)
    }
}

/// A plan's worth.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Judged {
    /// ΣΩ; `None` if something in it isn't on the menu.
    pub omega: Option<f64>,
    /// Its forecast, for one image.
    pub price: Price,
    /// The measure of the budget.
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

/// Everything an allocation needs.
struct Table {
    menu: Menu,
    layers: Vec<LayerSensitivity>,
    prices: Vec<LayerPrices>,
}

impl Pipeline {
    /// Estimates sensitivities, chooses a plan within the budget and writes it to `<out>/plan.toml`, with
    /// `<out>/sensitivity.csv` and `<out>/plan.json` beside it.
    ///
    /// # Errors
    /// As [`Pipeline::train_float`]; [`Error::Interrupted`]; [`Error::Allocation`] if nothing fits.
    pub fn plan(&mut self, hooks: &Hooks<'_>) -> Result<PlanReport, Error> {
        let float = self.train_float(hooks)?;
        let net = self.spatial(&float)?;
        let section = self.recipe.plan.clone();
        let traces = self.traces(&net, hash_tensors(&float), hooks)?;
        let started = Instant::now();
        let menu = menu(&section);
        let progress = |done, total| report(hooks, "sensitivity", done, total);
        let taps = traces.iter().filter(|(name, _)| **name != ACTIVATIONS);
        let taps: BTreeMap<&'static str, Traces> =
            taps.map(|(name, traces)| (*name, traces.clone())).collect();
        let layers = sensitivity::sensitivities(
            &net,
            (&taps, &traces[ACTIVATIONS]),
            &menu,
            &self.images.calibration,
            &progress,
        )?;
        let classes = self.images.train.classes().to_vec();
        let pricing =
            Pricing { net: &net, normalization: self.normalization(), classes: &classes, ot: OtKind::Ferret };
        let progress = |done, total| report(hooks, "prices", done, total);
        let prices = pricing.table(&layers, &menu, &progress)?;
        let table = Table { menu, layers, prices };
        let cost = measure(section.measure);
        let problem = Problem {
            arch: &self.arch,
            menu: &table.menu,
            layers: &table.layers,
            prices: &table.prices,
            cost: &cost,
        };
        let uniform = table.judged(&self.uniform_plan()?, &pricing, &cost)?;
        let budget = if section.budget > 0.0 { section.budget } else { uniform.cost };
        let plan = choose(&problem, &pricing, &section, (budget, &uniform))?;
        let chosen = table.judged(&plan, &pricing, &cost)?;
        let (_, shares) = pricing.forecast(&plan)?;
        let names: Vec<String> = table.layers.iter().map(|layer| layer.layer.clone()).collect();
        let sweep = SWEEP.iter().filter_map(|share| problem.solve(Goal::Sensitivity(share * budget)).ok());
        let sweep = sweep.map(|found| SweepRow { cost: found.cost, omega: found.omega }).collect();
        self.seconds.insert("sensitivity, prices, allocation".to_owned(), started.elapsed().as_secs_f64());
        let found = PlanReport {
            plan,
            path: self.out.join(PLAN),
            measure: unit(section.measure).to_owned(),
            budget,
            layers: names.into_iter().zip(shares).collect(),
            chosen,
            uniform,
            traces: traces.iter().map(|(name, traces)| ((*name).to_owned(), rows(traces))).collect(),
            sensitivities: table.layers,
            sweep,
            seconds: self.seconds.clone(),
        };
        self.write_plan(&found)?;
        Ok(found)
    }

    /// The quantized network before any training, with kernels as weights whatever `qat.domain` says.
    fn spatial(&self, float: &NamedTensors) -> Result<QatNet, Error> {
        let folded = fold::fold(&self.arch, float, &self.normalization())?;
        let calibration = &self.images.calibration;
        let plan = BitPlan::uniform(&self.arch, 8, 8);
        Ok(QatNet::from_folded(&self.arch, &plan, &folded, self.normalization(), calibration, &self.device)?)
    }

    /// What `[bits]` says without a plan file.
    fn uniform_plan(&self) -> Result<BitPlan, Error> {
        let mut bits = self.recipe.bits.clone();
        bits.plan = None;
        Ok(bits.plan(&self.arch)?)
    }

    /// Traces of the taps by algorithm and of the activations.
    fn traces(
        &mut self,
        net: &QatNet,
        float: String,
        hooks: &Hooks<'_>,
    ) -> Result<BTreeMap<&'static str, Traces>, Error> {
        let section = self.recipe.plan.clone();
        let config = TraceConfig {
            seed: self.recipe.seed,
            batch_size: section.batch_size,
            tolerance: section.tolerance,
            least: section.least_probes,
            most: section.most_probes,
        };
        let identity = hash_inputs(&[&self.float_inputs, &float, &config.seed, &config.batch_size]);
        let mut found = BTreeMap::new();
        let (of_taps, mark) = match section.curvature {
            CurvatureKind::Hessian => (Curvature::Hessian(Variable::Taps), ""),
            CurvatureKind::Fisher => (Curvature::Fisher, "-fisher"),
        };
        let taps = section.algorithms.iter().map(|&algorithm| (algorithm.name(), algorithm, of_taps));
        // A network's activations are the same by any algorithm.
        let activations = (ACTIVATIONS, section.algorithms[0], Curvature::Hessian(Variable::Activations));
        for (name, algorithm, curvature) in taps.chain([activations]) {
            let started = Instant::now();
            let tiled = BitPlan::uniform(&self.arch, 8, 8).with_tiles(algorithm);
            let float = net.replan(&tiled)?.float_network();
            let stage = format!("trace-{name}{}", if curvature == of_taps { mark } else { "" });
            let file = self.out.join(format!("{stage}.toml"));
            let mut progress = |done, total, error: f64| {
                let note = format!("relative error {error:.3}");
                (hooks.progress)(Progress { stage: &stage, done, total, note, training: None });
            };
            let trace_hooks = TraceHooks { stop: hooks.stop, progress: &mut progress };
            let (of, images) = ((curvature, identity.as_str()), &self.images.train);
            let traces = trace::estimate(&float, images, of, &config, (&file, trace_hooks))?;
            found.insert(name, traces);
            self.seconds.insert(stage, started.elapsed().as_secs_f64());
        }
        Ok(found)
    }

    fn write_plan(&self, report: &PlanReport) -> Result<(), Error> {
        let plan = toml::to_string(&report.plan).unwrap_or_default();
        write_whole(
            &self.out.join("sensitivity.csv"),
            csv(&report.sensitivities, &self.recipe.plan).as_bytes(),
        )?;
        write_whole(&self.out.join("plan.json"), &serde_json::to_vec_pretty(report).unwrap_or_default())?;
        write_whole(&report.path, plan.as_bytes())
    }
}

/// Key of the activations' traces.
const ACTIVATIONS: &str = "activations";

impl Table {
    fn judged(
        &self,
        plan: &BitPlan,
        pricing: &Pricing<'_>,
        cost: &dyn Fn(&Price) -> f64,
    ) -> Result<Judged, Error> {
        let (price, _) = pricing.forecast(plan)?;
        Ok(Judged { omega: self.omega(plan), price, cost: cost(&price) })
    }

    fn omega(&self, plan: &BitPlan) -> Option<f64> {
        let layer = |layer: &LayerSensitivity| {
            let own = plan.layers.get(&layer.layer)?;
            let weights = layer.weights.iter().find(|choice| choice.plan(own.act_bits) == *own)?;
            let place = self.menu.act_bits.iter().position(|&bits| bits == own.act_bits);
            match &layer.activations {
                Some(omegas) => Some(weights.omega + omegas[place?]),
                None => Some(weights.omega),
            }
        };
        self.layers.iter().map(layer).sum()
    }
}

/// The best plan whose own forecast is within the budget: where prices don't quite add up to it, the programme is solved again
/// with as much less.
fn choose(
    problem: &Problem<'_>,
    pricing: &Pricing<'_>,
    section: &PlanSection,
    (budget, uniform): (f64, &Judged),
) -> Result<BitPlan, Error> {
    if section.sensitivity > 0.0 {
        let most = section.sensitivity * uniform.omega.unwrap_or(f64::INFINITY);
        return Ok(problem.solve(Goal::Cost(most))?.plan);
    }
    let mut allowed = budget;
    let mut best: Option<Allocation> = None;
    for _ in 0..CORRECTIONS {
        let found = match problem.solve(Goal::Sensitivity(allowed)) {
            Err(_) if best.is_some() => break,
            found => found?,
        };
        let forecast = (problem.cost)(&pricing.forecast(&found.plan)?.0);
        let again = best.as_ref().is_some_and(|best| best.plan == found.plan);
        if forecast <= budget && best.as_ref().is_none_or(|best| found.omega < best.omega) {
            best = Some(found.clone());
        }
        if again {
            break;
        }
        allowed = found.cost.min(allowed) - (forecast - budget);
    }
    let reason = || Error::Allocation {
        goal: format!("{budget}"),
        reason: "no plan's forecast is within it".to_owned(),
    };
    best.map(|best| best.plan).ok_or_else(reason)
}

fn menu(section: &PlanSection) -> Menu {
    Menu {
        weight_bits: section.weight_bits.clone(),
        act_bits: section.act_bits.clone(),
        algorithms: section.algorithms.clone(),
        reweight: section.reweight,
        ends: (section.ends > 0).then_some(section.ends),
    }
}

fn measure(measure: Measure) -> impl Fn(&Price) -> f64 {
    move |price| match measure {
        Measure::Total => price.total() / 1e6,
        Measure::Online => price.online / 1e6,
        Measure::Lan => price.seconds(&LAN),
        Measure::Wan => price.seconds(&WAN),
    }
}

fn unit(measure: Measure) -> &'static str {
    match measure {
        Measure::Total => "MB",
        Measure::Online => "MB online",
        Measure::Lan => "s (LAN)",
        Measure::Wan => "s (WAN)",
    }
}

fn rows(traces: &Traces) -> Vec<TraceRow> {
    let row = |trace: &trace::Trace| TraceRow {
        layer: trace.layer.clone(),
        trace: trace.trace,
        confidence: trace.confidence(),
        relative_error: trace.relative_error(),
        mean: trace.mean(),
        probes: trace.probes,
    };
    traces.layers.iter().map(row).collect()
}

/// One line a choice: `layer,what,algorithm,bits,exponents,mid_rise,error,omega`.
fn csv(layers: &[LayerSensitivity], section: &PlanSection) -> String {
    let mut lines = vec!["layer,what,algorithm,bits,exponents,mid_rise,error,omega".to_owned()];
    for layer in layers {
        let name = &layer.layer;
        lines.extend(layer.weights.iter().map(|choice| {
            let exponents =
                choice.exponents.iter().flatten().map(u8::to_string).collect::<Vec<_>>().join(" ");
            let (algorithm, bits, mid_rise) = (choice.algorithm.name(), choice.bits, choice.mid_rise);
            format!(
                "{name},weights,{algorithm},{bits},{exponents},{mid_rise},{:e},{:e}",
                choice.error, choice.omega
            )
        }));
        let activations = layer.activations.iter().flatten().zip(&section.act_bits);
        lines.extend(activations.map(|(omega, bits)| format!("{name},activations,,{bits},,,,{omega:e}")));
    }
    lines.join("\n") + "\n"
}
