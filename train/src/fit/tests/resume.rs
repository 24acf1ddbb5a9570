//! Stopping, crashing and resuming a quantized training with everything in force: the same bits.

use eqo_checkpoints::plan::BitPlan;

use super::*;
use crate::QatNet;
use crate::evaluate::evaluate;
use crate::testing::{NORMALIZATION, tiny_arch, tiny_images};

fn float() -> Net {
    Net::random(&tiny_arch(), NORMALIZATION, 3, &Device::flex()).unwrap()
}

/// Calibrated on `images` images, from weights without batch normalization.
fn quantized(images: usize) -> QatNet {
    let folded = crate::qat::tests::folded(&tiny_arch());
    let plan = BitPlan::uniform(&tiny_arch(), 4, 6);
    QatNet::from_folded(&tiny_arch(), &plan, &folded, NORMALIZATION, &tiny_images(images), &Device::flex())
        .unwrap()
}

/// AdamW, its own rate for scales, clipping, smoothing, distillation, average, validation every second step.
fn everything(dir: &Path) -> FitConfig {
    FitConfig {
        steps: 9,
        batch_size: 5,
        optimizer: OptimizerKind::AdamW,
        scale_rate: 0.3,
        min_learning_rate: 0.1,
        clip_norm: Some(1.0),
        label_smoothing: 0.1,
        distill: Some(Distill { weight: 0.5, temperature: 2.0 }),
        ema_decay: 0.9,
        validate_every: 2,
        keep: Keep::Best,
        augment: Augment { crop: 1, ..config().augment },
        out_dir: dir.to_owned(),
        ..config()
    }
}

/// Runs on the quantized network, raising the stop flag after `stop_after` steps.
fn run_quantized(start: QatNet, config: &FitConfig, stop_after: usize) -> (Result<QatNet>, Vec<Progress>) {
    run_projected(start, config, stop_after, None)
}

fn run_projected(
    start: QatNet,
    config: &FitConfig,
    stop_after: usize,
    project: Option<Project<'_>>,
) -> (Result<QatNet>, Vec<Progress>) {
    let stop = AtomicBool::new(stop_after == 0);
    let mut seen = Vec::new();
    let mut progress = |progress: &Progress| {
        seen.push(*progress);
        stop.store(progress.step >= stop_after, Ordering::Relaxed);
    };
    let (teacher, hooks) = (float(), Hooks { stop: &stop, progress: &mut progress, project });
    let teacher = |pixels| teacher.logits(pixels);
    let trained = fit(start, Some(&teacher), &tiny_images(20), Some(&tiny_images(31)), config, hooks);
    (trained, seen)
}

fn tensor_bits(net: &QatNet) -> Vec<(String, Vec<u32>)> {
    let bits = |array: &ndarray::ArrayD<f32>| array.iter().map(|value| value.to_bits()).collect();
    net.to_tensors().iter().map(|(name, array)| (name.clone(), bits(array))).collect()
}

/// What the checkpoint of a finished run holds, but for the time it took and the optimizer, whose pack has the order of
/// a hash map; that it comes back whole shows in the steps after it.
fn state(config: &FitConfig) -> Checkpoint {
    let fingerprint = config.fingerprint(&tiny_images(20), Some(&tiny_images(31)));
    let checkpoint = Checkpoint::load(&checkpoint_path(config), &fingerprint).unwrap().unwrap();
    Checkpoint { seconds: 0.0, optimizer: Vec::new(), ..checkpoint }
}

#[test]
fn a_quantized_run_with_everything_in_force_stopped_at_any_step_ends_in_the_same_bits() {
    let straight_dir = tempfile::tempdir().unwrap();
    let config = everything(straight_dir.path());
    let (straight, steps) = run_quantized(quantized(12), &config, usize::MAX);
    let straight = straight.unwrap();
    assert_eq!(steps.len(), 9);
    let best_in = |dir: &Path| crate::import::read_tensors(&dir.join("best.safetensors")).unwrap();
    for stop_after in 0..9 {
        let dir = tempfile::tempdir().unwrap();
        let config = FitConfig { out_dir: dir.path().to_owned(), ..config.clone() };
        let (stopped, _) = run_quantized(quantized(12), &config, stop_after);
        assert!(matches!(stopped, Err(Error::Interrupted { step, .. }) if step == stop_after));
        let config = FitConfig { resume: true, ..config };
        // From other values: everything must come from the checkpoint.
        let (resumed, seen) = run_quantized(quantized(3), &config, usize::MAX);
        assert_eq!(seen.len(), 9 - stop_after);
        assert!(tensor_bits(&resumed.unwrap()) == tensor_bits(&straight), "stopped after {stop_after}");
        assert_eq!(seen.last().unwrap().best, steps.last().unwrap().best);
        assert!(best_in(dir.path()) == best_in(straight_dir.path()));
        assert!(state(&config) == state(&everything(straight_dir.path())), "stopped after {stop_after}");
    }
}

/// No weight beyond 0.05, which all networks of these tests leave.
fn small_weights(tensors: &NamedTensors) -> std::result::Result<Option<NamedTensors>, Refusal> {
    let mut kept = tensors.clone();
    for (_, tensor) in kept.iter_mut().filter(|(name, _)| name.ends_with(".weight")) {
        tensor.mapv_inplace(|value| value.clamp(-0.05, 0.05));
    }
    Ok((kept != *tensors).then_some(kept))
}

#[test]
fn a_projected_run_stopped_around_a_projection_ends_in_the_same_bits_and_its_best_is_projected() {
    let dir = tempfile::tempdir().unwrap();
    let config = FitConfig { steps: 13, validate_every: 3, ..everything(dir.path()) };
    let project: Project<'_> = &small_weights;
    let (straight, _) = run_projected(quantized(12), &config, usize::MAX, Some(project));
    let straight = straight.unwrap();
    assert!(small_weights(&straight.to_tensors()).unwrap().is_none());
    let (free, _) = run_projected(quantized(12), &everything(dir.path()), usize::MAX, None);
    assert!(small_weights(&free.unwrap().to_tensors()).unwrap().is_some(), "it is held back");
    for stop_after in [9, 10, 11] {
        let dir = tempfile::tempdir().unwrap();
        let config = FitConfig { out_dir: dir.path().to_owned(), ..config.clone() };
        let (stopped, _) = run_projected(quantized(12), &config, stop_after, Some(project));
        assert!(matches!(stopped, Err(Error::Interrupted { step, .. }) if step == stop_after));
        let config = FitConfig { resume: true, ..config };
        let (resumed, _) = run_projected(quantized(3), &config, usize::MAX, Some(project));
        assert!(tensor_bits(&resumed.unwrap()) == tensor_bits(&straight), "stopped after {stop_after}");
        let best = crate::import::read_tensors(&dir.path().join("best.safetensors")).unwrap();
        assert!(small_weights(&best).unwrap().is_none(), "what was scored is what is kept");
    }
}

#[test]
fn a_run_that_crashes_after_its_checkpoint_resumes_to_the_same_bits() {
    let [straight_dir, dir] = [0; 2].map(|_| tempfile::tempdir().unwrap());
    let (straight, _) = run_quantized(quantized(12), &everything(straight_dir.path()), usize::MAX);
    let config = FitConfig { checkpoint_every: 3, ..everything(dir.path()) };
    // At step 4 the checkpoint is that of step 3; files of later steps are left as a crash would leave them.
    let (kept, path) = (dir.path().join("kept"), checkpoint_path(&config));
    let stop = AtomicBool::new(false);
    let mut progress = |progress: &Progress| {
        if progress.step == 4 {
            fs::copy(&path, &kept).unwrap();
        }
    };
    let (teacher, hooks) = (float(), Hooks { stop: &stop, progress: &mut progress, project: None });
    let teacher = |pixels| teacher.logits(pixels);
    fit(quantized(12), Some(&teacher), &tiny_images(20), Some(&tiny_images(31)), &config, hooks).unwrap();
    fs::rename(&kept, &path).unwrap();
    let (resumed, seen) = run_quantized(quantized(3), &FitConfig { resume: true, ..config }, usize::MAX);
    assert_eq!(seen.first().unwrap().step, 4);
    assert!(tensor_bits(&resumed.unwrap()) == tensor_bits(&straight.unwrap()));
}

#[test]
fn validation_that_gets_no_better_ends_the_run_at_the_same_step_however_often_it_was_stopped() {
    let dir = tempfile::tempdir().unwrap();
    // Too small a rate to change any prediction: the first validation stays the best.
    let config = FitConfig { learning_rate: 1e-12, patience: 2, steps: 50, ..everything(dir.path()) };
    let (straight, seen) = run_quantized(quantized(12), &config, usize::MAX);
    let straight = tensor_bits(&straight.unwrap());
    assert_eq!((seen.len(), seen[5].best.unwrap().step), (6, 2));
    let other = tempfile::tempdir().unwrap();
    let config = FitConfig { out_dir: other.path().to_owned(), resume: true, ..config };
    let mut steps = Vec::new();
    let ended = loop {
        let (ended, seen) = run_quantized(quantized(12), &config, steps.last().map_or(1, |step| step + 1));
        steps.extend(seen.iter().map(|progress| progress.step));
        match ended {
            Err(Error::Interrupted { .. }) => {}
            ended => break ended.unwrap(),
        }
    };
    assert_eq!(steps, [1, 2, 3, 4, 5, 6]);
    assert!(tensor_bits(&ended) == straight);
    let (again, seen) = run_quantized(quantized(3), &config, usize::MAX);
    assert!(seen.is_empty() && tensor_bits(&again.unwrap()) == straight, "a run that ended early is over");
}

#[test]
fn the_best_network_is_returned_and_kept_and_the_last_where_that_is_asked_for() {
    let [best_dir, last_dir] = [0; 2].map(|_| tempfile::tempdir().unwrap());
    let rough = |dir: &Path| FitConfig { learning_rate: 0.3, ema_decay: 0.0, steps: 14, ..everything(dir) };
    let (best, seen) = run_quantized(quantized(12), &rough(best_dir.path()), usize::MAX);
    let best = best.unwrap();
    let found = seen.last().unwrap().best.unwrap();
    assert!(found.step < 14, "the claim needs a run whose last network isn't its best: {found:?}");
    let highest = seen.iter().filter_map(|progress| progress.validation).map(|score| score.correct).max();
    assert_eq!(highest, Some(found.score.correct));
    let score = evaluate(&best, &tiny_images(31), &Device::flex(), &mut |_, _| ()).unwrap();
    assert_eq!(score, found.score);
    let file = crate::import::read_tensors(&best_dir.path().join("best.safetensors")).unwrap();
    assert_eq!(file, best.to_tensors());
    let config = FitConfig { keep: Keep::Last, ..rough(last_dir.path()) };
    let (last, _) = run_quantized(quantized(12), &config, usize::MAX);
    assert_ne!(last.as_ref().unwrap().to_tensors(), file);
    assert_eq!(last.unwrap().to_tensors(), state(&config).tensors);
    assert!(!last_dir.path().join("best.safetensors").exists());
}

#[test]
fn the_average_is_what_is_returned_and_validated() {
    let dir = tempfile::tempdir().unwrap();
    let config = FitConfig { keep: Keep::Last, ..everything(dir.path()) };
    let (trained, seen) = run_quantized(quantized(12), &config, usize::MAX);
    let (trained, state) = (trained.unwrap(), state(&config));
    assert_eq!(Some(trained.to_tensors()), state.ema);
    assert_ne!(trained.to_tensors(), state.tensors);
    let score = evaluate(&trained, &tiny_images(31), &Device::flex(), &mut |_, _| ()).unwrap();
    assert_eq!(seen.last().unwrap().validation, Some(score));
}

#[test]
fn a_scale_that_overflows_is_named_by_its_layer() {
    let dir = tempfile::tempdir().unwrap();
    let mut tensors = quantized(12).to_tensors();
    tensors.get_mut("down.log2_scale").unwrap().fill(200.0);
    let start = quantized(12).with_tensors(&tensors, "test", &Device::flex()).unwrap();
    let (diverged, _) = run_quantized(start, &everything(dir.path()), usize::MAX);
    let Err(Error::Diverged { step: 0, what, layer, saved: None, .. }) = diverged else {
        panic!("{diverged:?}")
    };
    assert_eq!((what.as_str(), layer.as_str()), ("output", "down"));
}
