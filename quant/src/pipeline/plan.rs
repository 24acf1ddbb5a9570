//! `eqo plan`: from the float network to a plan of bits.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Instant;

use eqo_checkpoints::cost::OtKind;
use eqo_checkpoints::plan::BitPlan;
use eqo_train::QatNet;
use eqo_train::curvature::{Squares, Variable};
use eqo_train::recipe::{CurvatureKind, PlanSection};
use eqo_train::tensors::NamedTensors;

use super::{Hooks, Pipeline, Progress, report};
use crate::allocate::{Goal, Problem};
use crate::budget::{Choice, measure, unit};
use crate::plan_report::{ACTIVATIONS, Judged, PlanReport, SweepRow, rows};
use crate::price::{LayerPrices, Price, Pricing};
use crate::sensitivity::{ACT_BITS, LayerSensitivity, Menu, Sensitivity};
use crate::stages::{hash_inputs, hash_tensors, write_toml, write_whole};
use crate::trace::{self, Curvature, TraceConfig, TraceHooks, Traces};
use crate::{Error, fold, images};

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

impl Pipeline {
    /// Estimates sensitivities, chooses a plan within the budget and writes it to `<out>/plan.toml`, with
    /// `<out>/sensitivity.csv` and `<out>/plan.json` beside it.
    ///
    /// # Errors
    /// As [`Pipeline::train_float`]; [`Error::Stopped`]; [`Error::Allocation`] if nothing fits.
    pub fn plan(&mut self, hooks: &Hooks<'_>) -> Result<PlanReport, Error> {
        let float = self.train_float(hooks)?;
        let net = self.spatial(&float)?;
        let network = self.sensitivity(&net, hash_tensors(&float), hooks)?;
        let started = Instant::now();
        let classes = self.images.train.classes().to_vec();
        let normalization = self.normalization();
        let pricing = Pricing { network: &network, normalization, classes: &classes, ot: OtKind::Ferret };
        let offer = self.offer(&pricing, hooks)?;
        let section = self.recipe.plan.clone();
        let cost = measure(section.measure);
        let problem = Problem {
            arch: &self.arch,
            menu: &offer.menu,
            layers: &offer.layers,
            prices: &offer.prices,
            cost: &cost,
        };
        let judge = |plan: &BitPlan| judge(plan, &pricing, &cost);
        let uniform = self.uniform_plan()?;
        let choice = Choice { problem: &problem, judge: &judge, uniform: (&uniform, judge(&uniform)?.0) };
        let (plan, budget) = choice.of(&section)?;
        let (chosen, shares) = judge(&plan)?;
        let sweep =
            SWEEP.iter().filter_map(|share| problem.solve(Goal::Sensitivity(share * chosen.cost)).ok());
        let sweep = sweep.map(|found| SweepRow { cost: found.cost, omega: found.omega }).collect();
        self.seconds.insert("sensitivity, prices, allocation".to_owned(), started.elapsed().as_secs_f64());
        let found = PlanReport {
            plan,
            path: self.out.join(PLAN),
            measure: unit(section.measure),
            budget,
            layers: offer.layers.iter().map(|layer| layer.layer.clone()).zip(shares).collect(),
            chosen,
            uniform: choice.uniform.1,
            traces: network.taps.iter().map(|(name, traces)| (*name, rows(traces))).collect(),
            sensitivities: offer.layers,
            sweep,
            seconds: self.seconds.clone(),
        };
        self.write_plan(found, &network.activations)
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

    /// Estimates the second derivatives by the taps of every algorithm and by the activations.
    fn sensitivity<'n>(
        &mut self,
        net: &'n QatNet,
        float: String,
        hooks: &Hooks<'_>,
    ) -> Result<Sensitivity<'n>, Error> {
        let PlanSection { batch_size, tolerance, least_probes, most_probes, .. } = self.recipe.plan;
        let (seed, algorithms) = (self.recipe.seed, self.recipe.plan.algorithms.clone());
        let config = TraceConfig { seed, batch_size, tolerance, least: least_probes, most: most_probes };
        let identity = hash_inputs(&[&self.float_inputs, &float, &seed, &batch_size]);
        let (of_taps, kind) = match self.recipe.plan.curvature {
            CurvatureKind::Squares => (Curvature::Squares(Squares::Hessian, Variable::Taps), "squares"),
            CurvatureKind::Products => (Curvature::Products, "products"),
            CurvatureKind::Fisher => (Curvature::Squares(Squares::Fisher, Variable::Taps), "fisher"),
        };
        let mut taps = BTreeMap::new();
        for algorithm in algorithms {
            let net = net.replan(&BitPlan::uniform(&self.arch, 8, 8).with_tiles(algorithm))?;
            let stage = format!("{kind}-{}", algorithm.name());
            let found = self.traces(&net, (of_taps, &identity), &config, &stage, hooks)?;
            taps.insert(algorithm.name(), found);
        }
        // A network's activations are the same by any algorithm.
        let of_activations = Curvature::Squares(Squares::Hessian, Variable::Activations);
        let activations =
            self.traces(net, (of_activations, &identity), &config, "squares-activations", hooks)?;
        let rounded = net.float_network().rounded_activations(&self.images.calibration, &ACT_BITS)?;
        Ok(Sensitivity { net, taps, activations, rounded })
    }

    fn traces(
        &mut self,
        net: &QatNet,
        of: (Curvature, &str),
        config: &TraceConfig,
        stage: &str,
        hooks: &Hooks<'_>,
    ) -> Result<Traces, Error> {
        let started = Instant::now();
        let [_, height, width] = self.arch.shapes()[0];
        let images = images::as_tested(self.images.train.clone(), &self.recipe.data, [height, width])?;
        let mut progress = |done, total, error: f64| {
            let note = format!("relative error {error:.3}");
            (hooks.progress)(Progress { stage, done, total, note, training: None });
        };
        let trace_hooks = TraceHooks { stop: hooks.stop, progress: &mut progress };
        let file = self.out.join(format!("{stage}.toml"));
        let found = trace::estimate(&net.float_network(), &images, of, config, (&file, trace_hooks))?;
        self.seconds.insert(stage.to_owned(), started.elapsed().as_secs_f64());
        Ok(found)
    }

    fn offer(&self, pricing: &Pricing<'_>, hooks: &Hooks<'_>) -> Result<Offer, Error> {
        let progress = |stage: &'static str| {
            move |done, total| {
                report(hooks, stage, done, total);
                let stopped = hooks.stop.load(Ordering::Relaxed);
                if stopped { Err(Error::Stopped { what: "before the plan" }) } else { Ok(()) }
            }
        };
        let menu = menu(&self.recipe.plan);
        let layers = pricing.network.layers(&menu, &progress("sensitivity"))?;
        let prices = pricing.table(&layers, &menu, &progress("prices"))?;
        Ok(Offer { menu, layers, prices })
    }

    fn write_plan(&self, mut found: PlanReport, activations: &Traces) -> Result<PlanReport, Error> {
        found.traces.insert(ACTIVATIONS, rows(activations));
        let csv = found.csv(&self.recipe.plan.act_bits);
        write_whole(&self.out.join("sensitivity.csv"), csv.as_bytes())?;
        write_whole(&self.out.join("plan.json"), &serde_json::to_vec_pretty(&found).unwrap_or_default())?;
        write_toml(&found.path, &found.plan)?;
        Ok(found)
    }
}

/// A plan's worth, and what every layer takes of it.
fn judge(
    plan: &BitPlan,
    pricing: &Pricing<'_>,
    cost: &dyn Fn(&Price) -> f64,
) -> Result<(Judged, Vec<Price>), Error> {
    let (price, shares) = pricing.forecast(plan)?;
    Ok((Judged { omega: pricing.network.of(plan)?, price, cost: cost(&price) }, shares))
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
