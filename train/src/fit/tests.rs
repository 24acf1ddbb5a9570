//! Claims about whole runs, on a network small enough for a test.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;

use burn::tensor::Device;
use eqo_checkpoints::arch::{Arch, ArchNode, ArchOp, Conv, Shortcut};
use eqo_datasets::{Normalization, synthetic};

mod resume;

use super::*;
use crate::classifier::Classifier;
use crate::net::Net;
use crate::recipe::{Keep, OptimizerKind};

/// conv, residual conv, pooling, linear: everything that has state, few multiplications.
fn arch() -> Arch {
    let conv = |input, in_channels, stride, norm: &str| Conv {
        input,
        in_channels,
        out_channels: 8,
        kernel: 3,
        stride,
        padding: 1,
        bias: false,
        batch_norm: Some(norm.to_owned()),
        shortcut: None,
        relu: true,
    };
    let shortcut = Some(Shortcut { input: 1, stride: 1, channel_offset: 0 });
    let ops = [
        ("image", ArchOp::Input { shape: [3, 32, 32] }),
        ("conv1", ArchOp::Conv(conv(0, 3, 4, "bn1"))),
        ("conv2", ArchOp::Conv(Conv { shortcut, ..conv(1, 8, 1, "bn2") })),
        ("pool", ArchOp::GlobalAvgPool { input: 2 }),
        ("linear", ArchOp::Linear { input: 3, in_features: 8, kernel: 1, out_features: 10, relu: false }),
    ];
    let nodes = ops.map(|(name, op)| ArchNode { name: name.to_owned(), op });
    Arch { name: "tiny".to_owned(), nodes: nodes.to_vec() }
}

pub(super) fn net(seed: u64) -> Net {
    Net::random(&arch(), Normalization::SYNTHETIC, seed, &Device::flex()).unwrap()
}

/// Settings of a short run without decay, crop or distillation.
pub(super) fn config() -> FitConfig {
    FitConfig {
        steps: 7,
        batch_size: 10,
        optimizer: OptimizerKind::Sgd,
        learning_rate: 0.05,
        min_learning_rate: 0.0,
        scale_rate: 1.0,
        momentum: 0.9,
        weight_decay: 1e-4,
        warmup_steps: 2,
        clip_norm: None,
        augment: Augment::new(4, true, &Normalization::SYNTHETIC),
        label_smoothing: 0.0,
        distill: None,
        ema_decay: 0.0,
        validate_every: 0,
        keep: Keep::Last,
        patience: 0,
        checkpoint_every: 0,
        seed: 5,
        identity: "tiny".to_owned(),
        out_dir: PathBuf::new(),
        resume: false,
    }
}

/// Runs, raising the stop flag after `stop_after` steps.
fn run(net: Net, images: &Dataset, config: &FitConfig, stop_after: usize) -> (Result<Net>, Vec<Progress>) {
    let stop = AtomicBool::new(stop_after == 0);
    let mut seen = Vec::new();
    let mut progress = |progress: &Progress| {
        seen.push(*progress);
        stop.store(progress.step >= stop_after, Ordering::Relaxed);
    };
    let hooks = Hooks { stop: &stop, progress: &mut progress, project: None };
    let trained = fit(net, None, images, None, config, hooks);
    (trained, seen)
}

fn bits(net: &Net) -> Vec<(String, Vec<u32>)> {
    let tensors = net.to_tensors();
    tensors
        .into_iter()
        .map(|(name, array)| (name, array.iter().map(|value| value.to_bits()).collect()))
        .collect()
}

fn in_dir(config: FitConfig, dir: &Path) -> FitConfig {
    FitConfig { out_dir: dir.to_owned(), ..config }
}

#[test]
fn a_projection_is_applied_every_ten_steps_and_to_the_result() {
    let dir = tempfile::tempdir().unwrap();
    let images = synthetic::generate(1, 40);
    let config = in_dir(FitConfig { steps: 25, ..config() }, dir.path());
    let calls = AtomicUsize::new(0);
    let zeroed = |tensors: &NamedTensors| {
        let call = calls.fetch_add(1, Ordering::Relaxed);
        let mut tensors = tensors.clone();
        tensors.values_mut().for_each(|tensor| tensor.fill(0.0));
        // The second finds nothing to change.
        Ok((call != 1).then_some(tensors))
    };
    let hooks = Hooks { stop: &AtomicBool::new(false), progress: &mut |_| (), project: Some(&zeroed) };
    let trained = fit(net(1), None, &images, None, &config, hooks).unwrap();
    assert_eq!(calls.into_inner(), 3);
    assert!(trained.to_tensors().values().flatten().all(|&value| value == 0.0));

    let refuse = |_: &NamedTensors| Err("no such network".into());
    let hooks = Hooks { stop: &AtomicBool::new(false), progress: &mut |_| (), project: Some(&refuse) };
    let error = fit(net(1), None, &images, None, &config, hooks).err().unwrap();
    assert!(matches!(error, Error::Projection { step: 10, .. }));
    assert_eq!(error.to_string(), "after step 10: no such network");
    assert!(dir.path().join("checkpoint.safetensors").exists(), "nothing is lost");
}

#[test]
fn training_lowers_the_loss_and_scores_the_validation_images() {
    let dir = tempfile::tempdir().unwrap();
    let images = synthetic::generate(1, 40);
    let augment = Augment { crop: 0, flip: false, ..config().augment };
    let config = in_dir(FitConfig { steps: 240, augment, learning_rate: 0.1, ..config() }, dir.path());
    let stop = AtomicBool::new(false);
    let mut seen = Vec::new();
    let mut progress = |progress: &Progress| seen.push(*progress);
    let hooks = Hooks { stop: &stop, progress: &mut progress, project: None };
    fit(net(1), None, &images, Some(&images), &config, hooks).unwrap();
    let (first, last) = (seen[3], seen[239]);
    assert!(last.loss < 0.6 * first.loss, "{first:?} {last:?}");
    assert!(
        last.validation.unwrap().accuracy() > first.validation.unwrap().accuracy() + 0.2,
        "{first:?} {last:?}"
    );
    let rows = fs::read_to_string(dir.path().join("metrics.csv")).unwrap().lines().count();
    assert_eq!(rows, 1 + 60, "header and one row an epoch");
}

#[test]
fn a_run_stopped_at_any_step_and_resumed_ends_in_the_same_bits() {
    let images = synthetic::generate(2, 30);
    let straight_dir = tempfile::tempdir().unwrap();
    let config = FitConfig { clip_norm: Some(1.0), ..config() };
    let (straight, _) = run(net(1), &images, &in_dir(config.clone(), straight_dir.path()), usize::MAX);
    let straight = bits(&straight.unwrap());
    for stop_after in 0..7 {
        let dir = tempfile::tempdir().unwrap();
        let config = in_dir(config.clone(), dir.path());
        let (stopped, seen) = run(net(1), &images, &config, stop_after);
        assert!(matches!(stopped, Err(Error::Interrupted { step, .. }) if step == stop_after));
        assert_eq!(seen.len(), stop_after);
        let (resumed, seen) = run(net(99), &images, &FitConfig { resume: true, ..config }, usize::MAX);
        assert_eq!(seen.len(), 7 - stop_after);
        assert!(bits(&resumed.unwrap()) == straight, "stopped after {stop_after}");
    }
}

#[test]
fn a_finished_run_is_not_repeated_and_other_settings_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let images = synthetic::generate(2, 20);
    let config = FitConfig { resume: true, ..in_dir(config(), dir.path()) };
    let (first, _) = run(net(1), &images, &config, usize::MAX);
    let (again, seen) = run(net(1), &images, &config, usize::MAX);
    assert!(seen.is_empty());
    assert_eq!(bits(&first.unwrap()), bits(&again.unwrap()));
    let (other, _) = run(net(1), &images, &FitConfig { learning_rate: 0.01, ..config.clone() }, usize::MAX);
    assert!(matches!(other, Err(Error::Checkpoint { what: "settings and images", .. })));
    let (other, _) = run(net(1), &synthetic::generate(3, 20), &config, usize::MAX);
    assert!(matches!(other, Err(Error::Checkpoint { what: "settings and images", .. })));
}

#[test]
fn a_damaged_checkpoint_is_refused_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let images = synthetic::generate(2, 20);
    let config = FitConfig { resume: true, ..in_dir(config(), dir.path()) };
    let path = dir.path().join("checkpoint.safetensors");
    fs::write(&path, b"not a checkpoint").unwrap();
    let (refused, _) = run(net(1), &images, &config, usize::MAX);
    assert!(matches!(refused, Err(Error::Checkpoint { what: "contents", .. })));
    assert_eq!(fs::read(&path).unwrap(), b"not a checkpoint");
}

#[test]
fn a_run_that_diverges_names_the_step_and_keeps_the_last_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let images = synthetic::generate(2, 20);
    let settings =
        FitConfig { learning_rate: 1e30, steps: 50, checkpoint_every: 1, warmup_steps: 0, ..config() };
    let config = in_dir(settings, dir.path());
    let (diverged, seen) = run(net(1), &images, &config, usize::MAX);
    let Err(Error::Diverged { step, layer, saved, .. }) = diverged else { panic!("{diverged:?}") };
    assert!(
        step < 50 && seen.len() <= step && ["conv1", "conv2", "linear"].contains(&layer.as_str()),
        "{layer}"
    );
    let good = crate::import::read_tensors(&saved.unwrap()).unwrap();
    assert!(good.values().flatten().all(|value| value.is_finite()));
    let kept =
        Checkpoint::load(&checkpoint_path(&config), &config.fingerprint(&images, None)).unwrap().unwrap();
    assert_eq!(kept.step, seen.len());
    assert!(kept.tensors.values().flatten().all(|value| value.is_finite()));
}

/// What goes wrong with `tensor` all of one size, its signs alternating from row to row.
fn broken(tensor: &str, value: f32) -> (String, String) {
    let dir = tempfile::tempdir().unwrap();
    let mut tensors = net(1).to_tensors();
    let rows = tensors.get_mut(tensor).unwrap().outer_iter_mut().enumerate();
    rows.for_each(|(index, mut row)| row.fill(if index % 2 == 0 { value } else { -value }));
    let net = net(1).with_tensors(&tensors, "test", &Device::flex()).unwrap();
    let (diverged, _) = run(net, &synthetic::generate(2, 20), &in_dir(config(), dir.path()), usize::MAX);
    let Err(Error::Diverged { what, layer, .. }) = diverged else { panic!("{diverged:?}") };
    (what, layer)
}

#[test]
fn what_stops_being_finite_is_named_by_layer() {
    let named = |what: &str, layer: &str| (what.to_owned(), layer.to_owned());
    assert_eq!(broken("conv2.weight", 3e38), named("output", "conv2"));
    assert_eq!(broken("conv1.weight", -3e38), named("output", "conv1"));
    // Logits of 1e25 have a finite loss, but what flows back through them doesn't have a finite square.
    assert_eq!(broken("linear.weight", 1e25), named("gradient of beta", "conv2"));
}

#[test]
fn a_distilled_student_comes_closer_to_its_teacher() {
    let dir = tempfile::tempdir().unwrap();
    let images = synthetic::generate(4, 40);
    let teacher = net(7);
    let all = pixels::to_tensor(images.pixels(), [32, 32], &Device::flex());
    let probabilities = |net: &Net| burn::tensor::activation::softmax(net.logits(all.clone()), 1);
    let distance =
        |net: &Net| (probabilities(net) - probabilities(&teacher)).abs().mean().into_scalar::<f32>();
    let distill = Some(Distill { weight: 100.0, temperature: 2.0 });
    let augment = Augment { crop: 0, flip: false, ..config().augment };
    let settings = FitConfig { steps: 100, distill, augment, learning_rate: 0.002, ..config() };
    let config = in_dir(settings, dir.path());
    let (stop, student) = (AtomicBool::new(false), net(8));
    let before = distance(&student);
    let hooks = Hooks { stop: &stop, progress: &mut |_| (), project: None };
    let trained =
        fit(student, Some(&|pixels| teacher.logits(pixels)), &images, None, &config, hooks).unwrap();
    assert!(distance(&trained) < 0.5 * before, "{} {before}", distance(&trained));
}

#[test]
fn distillation_without_a_teacher_and_other_impossible_settings_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let images = synthetic::generate(2, 20);
    let distill = Some(Distill { weight: 1.0, temperature: 2.0 });
    let huge_crop = Augment { crop: 33, ..config().augment };
    for wrong in [
        FitConfig { distill, ..config() },
        FitConfig { batch_size: 0, ..config() },
        FitConfig { momentum: 1.0, ..config() },
        FitConfig { augment: huge_crop, ..config() },
        FitConfig { clip_norm: Some(0.0), ..config() },
    ] {
        let (refused, _) = run(net(1), &images, &in_dir(wrong, dir.path()), usize::MAX);
        assert!(matches!(refused, Err(Error::Config { .. })));
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is written");
}
