//! Gradual lowering of the bits: every phase is trained, resumed and cached by itself.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use eqo_quant::Error;
use eqo_quant::pipeline::{Hooks, Pipeline, Progress};
use eqo_train::recipe::Recipe;
use eqo_train::tensors::NamedTensors;
use eqo_train::{QatNet, import};

const RECIPE: &str = "
[model]
arch = 'cifar-resnet8'
[data]
train_images = 40
validation_images = 16
test_images = 10
calibration_images = 10
[float]
steps = 2
batch_size = 8
[qat]
steps = 3
batch_size = 8
optimizer = 'adamw'
learning_rate = 0.001
ema_decay = 0.9
validate_every = 2
gradual = [8, 6]
gradual_steps = 2
[bits]
weight = 3
[bits.layers.'layer2.0.conv2']
weight = 7
";

type Trained = (Result<QatNet, Error>, Vec<(String, usize)>);

fn recipe() -> Recipe {
    Recipe::parse(RECIPE, "test", &[]).unwrap()
}

/// Trains, resuming, as far as `steps` optimizer steps; also gives the steps done, as (stage, step).
fn train(recipe: Recipe, out: &Path, steps: usize) -> Trained {
    train_from(recipe, out, (true, steps))
}

fn train_from(recipe: Recipe, out: &Path, (resume, steps): (bool, usize)) -> Trained {
    let (stop, seen) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let progress = |progress: Progress<'_>| {
        if ["float", "qat-8", "qat-6", "qat"].contains(&progress.stage) {
            let mut seen = seen.lock().unwrap();
            seen.push((progress.stage.to_owned(), progress.done));
            stop.store(seen.len() >= steps, Ordering::Relaxed);
        }
    };
    let hooks = Hooks { stop: &stop, progress: &progress };
    let mut pipeline = Pipeline::new(recipe, out, resume, &hooks).unwrap();
    let trained = pipeline.train_qat(&hooks);
    drop(pipeline);
    (trained, seen.into_inner().unwrap())
}

fn weights(out: &Path) -> [NamedTensors; 4] {
    ["float", "qat-8", "qat-6", "qat"]
        .map(|stage| import::read_tensors(&out.join(format!("{stage}.safetensors"))).unwrap())
}

#[test]
fn phases_that_are_stopped_at_every_step_end_in_the_same_bits() {
    let [straight, stopped] = [0; 2].map(|_| tempfile::tempdir().unwrap());
    let (net, all) = train(recipe(), straight.path(), usize::MAX);
    let plan = net.unwrap().plan().clone();
    let stages: Vec<&str> = all.iter().map(|(stage, _)| stage.as_str()).collect();
    assert_eq!(stages, ["float", "float", "qat-8", "qat-8", "qat-6", "qat-6", "qat", "qat", "qat"]);
    let bits =
        ["conv1", "layer1.0.conv1", "layer2.0.conv2", "linear"].map(|name| plan.layers[name].weight_bits);
    assert_eq!(bits, [8, 3, 7, 8]);

    let mut done = Vec::new();
    loop {
        let (trained, seen) = train(recipe(), stopped.path(), 1);
        done.extend(seen);
        match trained {
            Err(Error::Train(eqo_train::Error::Interrupted { .. })) => {}
            trained => break drop(trained.unwrap()),
        }
    }
    assert_eq!(done, all);
    assert!(weights(stopped.path()) == weights(straight.path()));
}

#[test]
fn finished_phases_are_not_repeated_and_a_change_repeats_only_what_follows() {
    let dir = tempfile::tempdir().unwrap();
    train(recipe(), dir.path(), usize::MAX).0.unwrap();
    assert_eq!(train(recipe(), dir.path(), usize::MAX).1, []);
    let mut fewer_bits = recipe();
    fewer_bits.bits.weight = 2;
    let (trained, seen) = train_from(fewer_bits, dir.path(), (false, usize::MAX));
    assert_eq!(trained.unwrap().plan().layers["layer1.0.conv1"].weight_bits, 2);
    let last = [1, 2, 3].map(|step| ("qat".to_owned(), step));
    assert_eq!(seen, last, "phases of 8 and 6 bits don't depend on the last");
}
