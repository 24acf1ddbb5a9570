//! `eqo plan` on a small network: estimates go on where they stopped, plans keep their budget and can be read again.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use burn::tensor::Device;
use eqo_checkpoints::arch::Arch;
use eqo_checkpoints::cost::{self, OtKind, Profile};
use eqo_checkpoints::plan::BitPlan;
use eqo_checkpoints::winograd::Algorithm::{self, Direct, F2x2, F4x4, P2x2};
use eqo_datasets::{Dataset, Normalization, synthetic};
use eqo_quant::pipeline::{Hooks, Pipeline};
use eqo_quant::plan_report::PlanReport;
use eqo_quant::sensitivity::covering;
use eqo_quant::trace::{self, Curvature, TraceConfig, TraceHooks, Traces};
use eqo_quant::{Error, fold};
use eqo_train::curvature::{FloatTaps, Squares, Variable};
use eqo_train::net::Net;
use eqo_train::recipe::Recipe;
use eqo_train::{Classifier, QatNet};

const NORMALIZATION: Normalization = Normalization::SYNTHETIC;

fn network(images: &Dataset) -> FloatTaps {
    let arch = Arch::by_name("cifar-resnet8", 10).unwrap();
    let float = Net::random(&arch, NORMALIZATION, 7, &Device::flex()).unwrap();
    let folded = fold::fold(&arch, &float.to_tensors(), &NORMALIZATION).unwrap();
    let plan = BitPlan::uniform(&arch, 8, 8);
    QatNet::from_folded(&arch, &plan, &folded, NORMALIZATION, images, &Device::flex())
        .unwrap()
        .float_network()
}

/// An estimate that is stopped after `probes` more probes.
fn estimate(
    net: &FloatTaps,
    images: &Dataset,
    of: Curvature,
    file: &Path,
    probes: usize,
) -> Result<Traces, Error> {
    let config = TraceConfig { seed: 3, batch_size: 4, tolerance: 0.5, least: 2, most: 5 };
    let stop = AtomicBool::new(false);
    let mut seen = 0;
    let mut progress = |_, _, _: f64| {
        seen += 1;
        stop.store(seen == probes, std::sync::atomic::Ordering::Relaxed);
    };
    let hooks = TraceHooks { stop: &stop, progress: &mut progress };
    trace::estimate(net, images, (of, "id"), &config, (file, hooks))
}

#[test]
fn an_estimate_that_is_stopped_after_every_few_probes_ends_in_the_same_bits() {
    let images = synthetic::generate(3, 12);
    let net = network(&images);
    let squares = |variable| Curvature::Squares(Squares::Hessian, variable);
    for of in [Curvature::Products, squares(Variable::Taps), squares(Variable::Activations)] {
        let dir = tempfile::tempdir().unwrap();
        let whole = estimate(&net, &images, of, &dir.path().join("whole.toml"), usize::MAX).unwrap();
        let file = dir.path().join("stopped.toml");
        let mut stops = 0;
        let pieces = loop {
            match estimate(&net, &images, of, &file, 2) {
                Ok(traces) => break traces,
                Err(Error::Stopped { .. }) => stops += 1,
                Err(error) => panic!("{error}"),
            }
        };
        assert!(stops > 0 && pieces == whole, "{of:?} {stops}");
        assert!(whole.layers.iter().all(|layer| layer.probes >= 5 || layer.relative_error() <= 0.5));
        assert!(whole.layers.iter().all(|layer| layer.probes >= 2 && layer.trace.is_finite()));
    }
}

fn recipe(set: &[&str]) -> Recipe {
    let fixed =
        ["data.train_images=60", "data.test_images=20", "data.calibration_images=16", "float.steps=0"];
    let fixed = fixed.iter().chain(&[
        "qat.steps=0",
        "plan.least_probes=2",
        "plan.most_probes=2",
        "plan.batch_size=8",
    ]);
    let set: Vec<String> = fixed.chain(set).map(|set| (*set).to_owned()).collect();
    Recipe::parse("[model]\narch = \"cifar-resnet8\"", "test", &set).unwrap()
}

fn with_pipeline<T>(recipe: Recipe, out: &Path, work: impl FnOnce(&mut Pipeline, &Hooks<'_>) -> T) -> T {
    let hooks = Hooks { stop: &AtomicBool::new(false), progress: &|_| () };
    work(&mut Pipeline::new(recipe, out, false, &hooks).unwrap(), &hooks)
}

fn plan(set: &[&str], out: &Path) -> PlanReport {
    with_pipeline(recipe(set), out, |pipeline, hooks| pipeline.plan(hooks).unwrap())
}

#[test]
fn a_plan_costs_no_more_than_its_budget_is_no_worse_than_uniform_bits_and_can_be_quantized() {
    let dir = tempfile::tempdir().unwrap();
    let menu = ["plan.weight_bits=[2, 4, 6]", "plan.tap_bits=[2.5, 3]", "plan.act_bits=[4, 6]"];
    let menu = [menu.as_slice(), &["plan.algorithms=[\"f2x2\"]"]].concat();
    let found = plan(&menu, dir.path());
    assert!(found.chosen.cost <= found.uniform.cost && found.budget == Some(found.uniform.cost));
    assert!(found.chosen.omega.unwrap() <= found.uniform.omega.unwrap());
    assert!(found.sweep.windows(2).all(|pair| pair[1].omega <= pair[0].omega));
    for (layer, plan) in &found.plan.layers {
        let end = layer == "conv1" || layer == "linear";
        let bits: &[f64] = match &plan.tap_bits {
            _ if end => &[8.0],
            Some(_) => &[2.5, 3.0],
            None => &[2.0, 4.0, 6.0],
        };
        assert!(bits.contains(&plan.mean_bits()), "{layer}");
    }
    assert!(found.plan.layers.values().any(|plan| plan.tap_bits.is_some()));
    let lines = std::fs::read_to_string(dir.path().join("sensitivity.csv")).unwrap().lines().count();
    let rows = |layer: &eqo_quant::sensitivity::LayerSensitivity| {
        layer.weights.len() + layer.activations.as_ref().map_or(0, Vec::len)
    };
    assert_eq!(lines, 1 + found.sensitivities.iter().map(rows).sum::<usize>());
    // The file is a plan that a recipe reads, and what it costs is what the report says.
    let again = recipe(&[&format!("bits.plan={}", found.path.display())]);
    let report =
        with_pipeline(again, &dir.path().join("run"), |pipeline, hooks| pipeline.quantize(hooks).unwrap());
    assert_eq!(report.plan, found.plan);
    let checkpoint = eqo_checkpoints::Checkpoint::read(&report.checkpoint).unwrap();
    let profile = Profile { ot: OtKind::Ferret };
    let bytes = cost::inference(checkpoint.graph(), &profile, 1).total().bytes() as f64;
    assert_eq!(bytes, found.chosen.price.total());
}

#[test]
fn strided_layers_are_offered_both_arrangements_and_all_others_theirs_once() {
    let dir = tempfile::tempdir().unwrap();
    let menu = ["plan.weight_bits=[2, 4]", "plan.act_bits=[6]", "plan.tap_bits=[2]", "plan.ends=0"];
    let found = plan(&[&menu[..], &["plan.algorithms=[\"f2x2\", \"p2x2\"]"]].concat(), dir.path());
    for layer in &found.sensitivities {
        let want: &[Algorithm] = match layer.layer.as_str() {
            "layer2.0.conv1" | "layer3.0.conv1" => &[Direct, P2x2],
            "linear" => &[Direct],
            _ => &[F2x2],
        };
        let algorithms: BTreeSet<&str> = layer.weights.iter().map(|choice| choice.algorithm.name()).collect();
        assert_eq!(algorithms, want.iter().map(|own| own.name()).collect(), "{}", layer.layer);
        let plain = layer.weights.iter().filter(|choice| choice.is_plain());
        assert_eq!(plain.count(), 2 * want.len(), "{}", layer.layer);
        let by_tap: Vec<usize> =
            layer.weights.iter().filter_map(|choice| choice.tap_bits.as_ref().map(Vec::len)).collect();
        let tiled = want.iter().filter(|own| **own != Direct);
        assert_eq!(by_tap, tiled.map(|own| own.taps()).collect::<Vec<_>>(), "{}", layer.layer);
        assert!(layer.weights.iter().all(|choice| choice.omega > 0.0));
    }
}

#[test]
fn as_few_networks_as_have_every_arrangement_are_estimated() {
    let arch = Arch::by_name("cifar-resnet8", 10).unwrap();
    for (menu, want) in [
        (&[F2x2, F4x4, P2x2][..], &[F4x4, P2x2][..]),
        (&[F2x2, P2x2], &[F2x2, P2x2]),
        (&[F2x2, F4x4], &[F2x2, F4x4]),
        (&[P2x2], &[P2x2]),
        (&[Direct, F2x2, F4x4, P2x2], &[Direct, F4x4, P2x2]),
    ] {
        assert_eq!(covering(&arch, menu), want);
    }
}

#[test]
fn a_smaller_budget_is_kept_and_an_impossible_one_refused() {
    let dir = tempfile::tempdir().unwrap();
    let menu =
        ["plan.weight_bits=[2, 4]", "plan.act_bits=[4, 6]", "plan.measure=online", "plan.reweight=false"];
    let first = plan(&menu, dir.path());
    assert!(first.measure == "MB online");
    let half = format!("plan.budget={}", 0.97 * first.chosen.cost);
    let second = plan(&[menu.as_slice(), &[half.as_str()]].concat(), dir.path());
    assert!(second.chosen.cost <= 0.97 * first.chosen.cost && second.chosen.omega >= first.chosen.omega);
    let nothing = recipe(&[menu.as_slice(), &["plan.budget=0.001"]].concat());
    let refused = with_pipeline(nothing, dir.path(), |pipeline, hooks| pipeline.plan(hooks).err());
    assert!(matches!(refused, Some(Error::Allocation { .. })));
}
