//! Images per second of ResNet-20: inference, and whole training steps as `fit` runs them.
//!
//! Not Criterion: it turns on features that would build Burn a second time.

#![expect(clippy::print_stdout, reason = "the measurements are the result")]

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use burn::tensor::Device;
use eqo_checkpoints::arch::Arch;
use eqo_datasets::{Normalization, synthetic};
use eqo_train::evaluate::evaluate;
use eqo_train::fit::{FitConfig, Hooks, Progress, fit};
use eqo_train::net::Net;
use eqo_train::recipe::FitSection;

/// Images of a step.
const BATCH: usize = 100;
/// Steps measured, after which the run ends.
const STEPS: usize = 12;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arch = Arch::by_name("cifar-resnet20", 10)?;
    let normalization = Normalization::SYNTHETIC;
    let net = Net::random(&arch, normalization, 1, &Device::flex())?;
    let images = synthetic::generate(1, BATCH * STEPS);

    let started = Instant::now();
    evaluate(&net, &images, &Device::flex(), &mut |_, _| ())?;
    println!("inference        {:7.1} images/s", images.len() as f64 / started.elapsed().as_secs_f64());

    let dir = tempfile::tempdir()?;
    let section = FitSection { steps: STEPS, batch_size: BATCH, ..FitSection::default() };
    let config = FitConfig::new(&section, &normalization, 1, dir.path().to_owned());
    let mut fastest = 0.0_f64;
    let mut last = Instant::now();
    let mut progress = |progress: &Progress| {
        fastest = fastest.max(BATCH as f64 / last.elapsed().as_secs_f64());
        last = Instant::now();
        println!("step {:2}: mean     {:7.1} images/s", progress.step, progress.images_per_second);
    };
    let stop = AtomicBool::new(false);
    fit(net, None, &images, None, &config, Hooks { stop: &stop, progress: &mut progress })?;
    println!("fastest training {fastest:7.1} images/s");
    Ok(())
}
