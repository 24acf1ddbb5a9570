//! `eqo plan`: from the float network to a plan of bits.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Instant;

use eqo_checkpoints::cost::OtKind;
use eqo_checkpoints::plan::BitPlan;
use eqo_datasets::Dataset;
use eqo_train::QatNet;
use eqo_train::curvature::{Squares, Variable};
use eqo_train::recipe::{CurvatureKind, PlanSection};

use super::{Hooks, Pipeline, Progress, report};
use crate::allocate::{Goal, Problem};
use crate::budget::{Choice, Chosen, measure, unit};
use crate::plan_report::{ACTIVATIONS, Judged, PlanReport, SweepRow, rows};
use crate::price::{LayerPrices, Pricing};
use crate::sensitivity::{ACT_BITS, LayerSensitivity, Menu, Sensitivity, covering};
use crate::stages::{hash_inputs, hash_tensors, write_toml, write_whole};
use crate::trace::{self, Curvature, TraceConfig, TraceHooks, Traces};
use crate::{Error, images};

/// The plan's name in a run's folder.
const PLAN: &str = "plan.toml";

/// Costs of the sweep, by the plan's own.
const SWEEP: [f64; 9] = [0.6, 0.7, 0.8, 0.9, 1.0, 1.15, 1.3, 1.6, 2.0];

/// What can be chosen, and what it means.
struct Offer {
    menu: Menu,
    layers: Vec<LayerSensitivity>,
    prices: Vec<LayerPrices>,
}

/// What was chosen from it.
struct Decision {
    choice: Chosen,
    chosen: Judged,
    uniform: Judged,
    sweep: Vec<SweepRow>,
}

impl Pipeline {
    /// Estimates sensitivities, chooses a plan within the budget and writes it to `<out>/plan.toml`, with
    /// `<out>/sensitivity.csv` and `<out>/plan.json` beside it.
    ///
    /// # Errors
    /// As [`Pipeline::train_float`]; [`Error::Stopped`]; [`Error::Allocation`] if nothing fits.
    pub fn plan(&mut self, hooks: &Hooks<'_>) -> Result<PlanReport, Error> {
        let float = self.train_float(hooks)?;
        let net = self.folded(&float, &BitPlan::uniform(&self.arch, 8, 8))?;
        let network = self.sensitivity(&net, hash_tensors(&float), hooks)?;
        let started = Instant::now();
        let classes = self.images.train.classes().to_vec();
        let normalization = self.normalization();
        let pricing = Pricing { network: &network, normalization, classes: &classes, ot: OtKind::Ferret };
        let offer = self.offer(&pricing, hooks)?;
        let Decision { choice: Chosen { plan, budget, gap }, chosen, uniform, sweep } =
            self.decide(&pricing, &offer, hooks)?;
        let names = || offer.layers.iter().map(|layer| layer.layer.clone());
        let layers = names().zip(pricing.shares(&plan)?).collect();
        let spreads = names().zip(network.replan(&plan)?.spreads()).collect();
        self.seconds.insert("sensitivity, prices, allocation".to_owned(), started.elapsed().as_secs_f64());
        let of_taps = network.taps.iter().map(|(name, traces)| (*name, rows(traces)));
        let found = PlanReport {
            plan,
            path: self.out.join(PLAN),
            measure: unit(self.recipe.plan.measure),
            budget,
            gap,
            layers,
            chosen,
            uniform,
            traces: of_taps.chain([(ACTIVATIONS, rows(&network.activations))]).collect(),
            spreads,
            sensitivities: offer.layers,
            sweep,
            seconds: self.seconds.clone(),
        };
        self.write_plan(&found)?;
        Ok(found)
    }

    fn decide(&self, pricing: &Pricing<'_>, offer: &Offer, hooks: &Hooks<'_>) -> Result<Decision, Error> {
        let section = &self.recipe.plan;
        let cost = measure(section.measure);
        let Offer { menu, layers, prices } = offer;
        let problem = Problem { arch: &self.arch, menu, layers, prices, cost: &cost };
        let judged = |plan: &BitPlan| -> Result<Judged, Error> {
            let price = pricing.forecast(plan)?;
            Ok(Judged { omega: pricing.network.of(plan)?, price, cost: cost(&price) })
        };
        let uniform = self.uniform_plan()?;
        // Once for every programme solved.
        let forecast = |plan: &BitPlan| go_on(hooks).and_then(|()| pricing.forecast(plan));
        let choice =
            Choice { problem: &problem, forecast: &forecast, uniform: (&uniform, judged(&uniform)?) };
        let found = choice.of(section)?;
        let chosen = judged(&found.plan)?;
        let mut sweep = Vec::new();
        for share in SWEEP {
            go_on(hooks)?;
            let found = problem.solve(Goal::Sensitivity(share * chosen.cost)).ok();
            sweep.extend(found.map(|found| SweepRow { cost: found.cost, omega: found.omega }));
        }
        Ok(Decision { choice: found, chosen, uniform: choice.uniform.1, sweep })
    }

    /// What `[bits]` says without a plan file.
    fn uniform_plan(&self) -> Result<BitPlan, Error> {
        let mut bits = self.recipe.bits.clone();
        bits.plan = None;
        Ok(bits.plan(&self.arch)?)
    }

    /// Estimates the second derivatives by the taps of every algorithm, in as few networks as have them, and by the activations.
    fn sensitivity<'n>(
        &mut self,
        net: &'n QatNet,
        float: String,
        hooks: &Hooks<'_>,
    ) -> Result<Sensitivity<'n>, Error> {
        let PlanSection { batch_size, tolerance, least_probes, most_probes, .. } = self.recipe.plan;
        let seed = self.recipe.seed;
        let config = TraceConfig { seed, batch_size, tolerance, least: least_probes, most: most_probes };
        let identity = hash_inputs(&[&self.float_inputs, &float, &seed, &batch_size]);
        let (of_taps, kind) = match self.recipe.plan.curvature {
            CurvatureKind::Squares => (Curvature::Squares(Squares::Hessian, Variable::Taps), "squares"),
            CurvatureKind::Products => (Curvature::Products, "products"),
            CurvatureKind::Fisher => (Curvature::Squares(Squares::Fisher, Variable::Taps), "fisher"),
        };
        let [_, height, width] = self.arch.shapes()[0];
        let images = images::as_tested(self.images.train.clone(), &self.recipe.data, [height, width])?;
        let mut taps = BTreeMap::new();
        for algorithm in covering(&self.arch, &self.recipe.plan.algorithms) {
            let net = net.replan(&BitPlan::uniform(&self.arch, 8, 8).with_tiles(&self.arch, algorithm))?;
            let stage = format!("{kind}-{}", algorithm.name());
            let found = self.traces((&net, &images), (of_taps, &identity), &config, &stage, hooks)?;
            taps.insert(algorithm.name(), found);
        }
        // A network's activations are the same by any algorithm.
        let of_activations = Curvature::Squares(Squares::Hessian, Variable::Activations);
        let activations =
            self.traces((net, &images), (of_activations, &identity), &config, "squares-activations", hooks)?;
        let rounded = net.rounded_activations(&self.images.calibration, &ACT_BITS)?;
        Ok(Sensitivity { net, taps, activations, rounded })
    }

    fn traces(
        &mut self,
        (net, images): (&QatNet, &Dataset),
        of: (Curvature, &str),
        config: &TraceConfig,
        stage: &str,
        hooks: &Hooks<'_>,
    ) -> Result<Traces, Error> {
        let started = Instant::now();
        let mut progress = |done, total, error: f64| {
            let note = format!("relative error {error:.3}");
            (hooks.progress)(Progress { stage, done, total, note, training: None });
        };
        let trace_hooks = TraceHooks { stop: hooks.stop, progress: &mut progress };
        let file = self.out.join(format!("{stage}.toml"));
        let found = trace::estimate(&net.float_network(), images, of, config, (&file, trace_hooks))?;
        self.seconds.insert(stage.to_owned(), started.elapsed().as_secs_f64());
        Ok(found)
    }

    fn offer(&self, pricing: &Pricing<'_>, hooks: &Hooks<'_>) -> Result<Offer, Error> {
        let progress = |stage: &'static str| {
            move |done, total| {
                report(hooks, stage, done, total);
                go_on(hooks)
            }
        };
        let menu = menu(&self.recipe.plan);
        let layers = pricing.network.layers(&menu, &progress("sensitivity"))?;
        let prices = pricing.table(&layers, &menu, &progress("prices"))?;
        Ok(Offer { menu, layers, prices })
    }

    fn write_plan(&self, found: &PlanReport) -> Result<(), Error> {
        let csv = found.csv(&self.recipe.plan.act_bits);
        write_whole(&self.out.join("sensitivity.csv"), csv.as_bytes())?;
        write_whole(&self.out.join("plan.json"), &serde_json::to_vec_pretty(found).unwrap_or_default())?;
        write_toml(&found.path, &found.plan)
    }
}

fn go_on(hooks: &Hooks<'_>) -> Result<(), Error> {
    let stopped = hooks.stop.load(Ordering::Relaxed);
    if stopped { Err(Error::Stopped { what: "before the plan" }) } else { Ok(()) }
}

fn menu(section: &PlanSection) -> Menu {
    Menu {
        weight_bits: section.weight_bits.clone(),
        act_bits: section.act_bits.clone(),
        algorithms: section.algorithms.clone(),
        tap_bits: section.tap_bits.clone(),
        reweight: section.reweight,
        ends: (section.ends > 0).then_some(section.ends),
    }
}
