//! Images per second of whole training steps as `fit` runs them (forward, backward, update), in one process.
//!
//! `cargo bench -p eqo -p eqo-train --bench step -- --mode qat --tile 2 --batch 64 --steps 30`; `peer/README.md` has the
//! PyTorch programs to compare with. Not Criterion: a step is a whole training run's, with its loader and optimizer.

#![expect(clippy::print_stdout, reason = "the measurements are the result")]

use std::error::Error;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use clap::{Parser, ValueEnum};
use eqo_checkpoints::arch::Arch;
use eqo_checkpoints::plan::BitPlan;
use eqo_checkpoints::winograd::Algorithm;
use eqo_datasets::{Dataset, Normalization, Resize, synthetic};
use eqo_train::fit::{FitConfig, Hooks, Progress, Teacher, fit};
use eqo_train::net::Net;
use eqo_train::qat::{FoldedLayer, FoldedWeights, QatNet};
use eqo_train::recipe::FitSection;
use eqo_train::{Classifier, Layers};

/// The allocator of the `eqo` binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Options {
    #[arg(long, value_enum, default_value = "qat")]
    mode: Mode,
    #[arg(long, default_value = "cifar-resnet20")]
    arch: String,
    #[arg(long, default_value_t = 64)]
    batch: usize,
    #[arg(long, default_value_t = 30)]
    steps: usize,
    /// Outputs of a Winograd tile, 2 or 4.
    #[arg(long, default_value_t = 2)]
    tile: usize,
    /// Distil from a float network of the same architecture.
    #[arg(long)]
    distill: bool,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Mode {
    Float,
    Qat,
    QatGeneric,
}

const NORMALIZATION: Normalization = Normalization::SYNTHETIC;

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let arch = Arch::by_name(&options.arch, 10)?;
    let float = Net::random(&arch, NORMALIZATION, 1, &Device::flex())?;
    let [_, height, width] = arch.shapes()[0];
    let resize = Resize { shorter_side: height, centre_crop: Some(width) };
    let images = synthetic::generate(1, options.batch * 8).resized(&resize)?;
    let teacher = |pixels| float.valid().logits(pixels);
    let teacher: Option<Teacher<'_>> = if options.distill { Some(&teacher) } else { None };
    match options.mode {
        Mode::Float => measure(float.clone(), teacher, &images, &options),
        Mode::Qat => measure(quantized(&arch, (&float, &images), options.tile)?, teacher, &images, &options),
        Mode::QatGeneric => {
            let net = quantized(&arch, (&float, &images), options.tile)?.with_generic_operations();
            measure(net, teacher, &images, &options)
        }
    }
}

fn measure<N: Layers>(
    net: N,
    teacher: Option<Teacher<'_>>,
    images: &Dataset,
    options: &Options,
) -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let distill_weight = if teacher.is_some() { 1.0 } else { 0.0 };
    let section = FitSection {
        steps: options.steps,
        batch_size: options.batch,
        learning_rate: 1e-4,
        distill_weight,
        checkpoint_every: options.steps,
        ..FitSection::default()
    };
    let config = FitConfig::new(&section, &NORMALIZATION, 1, dir.path().to_owned());
    let mut seconds = Vec::new();
    let mut last = Instant::now();
    let mut progress = |_: &Progress| {
        seconds.push(last.elapsed().as_secs_f64());
        last = Instant::now();
    };
    let stop = AtomicBool::new(false);
    fit(net, teacher, images, None, &config, Hooks { stop: &stop, progress: &mut progress, project: None })?;
    // The first steps allocate, and the last one writes a checkpoint.
    let mut seconds = seconds.get(2..options.steps - 1).unwrap_or_default().to_vec();
    seconds.sort_unstable_by(f64::total_cmp);
    let speed = |seconds: Option<&f64>| options.batch as f64 / seconds.copied().unwrap_or(f64::NAN);
    println!(
        "median {:.1} images/s, best {:.1}",
        speed(seconds.get(seconds.len() / 2)),
        speed(seconds.first())
    );
    Ok(())
}

/// The float network's convolutions without its normalizations, scaled down so that activations stay near one.
fn quantized(arch: &Arch, (float, images): (&Net, &Dataset), tile: usize) -> Result<QatNet, Box<dyn Error>> {
    let tensors = float.to_tensors();
    let algorithm = if tile == 4 { Algorithm::F4x4 } else { Algorithm::F2x2 };
    let plan = BitPlan::uniform(arch, 4, 6).with_tiles(arch, algorithm);
    let mut folded = FoldedWeights::new();
    for name in plan.layers.keys() {
        let weight = &tensors[&format!("{name}.weight")] * 0.5;
        let conv = arch.nodes.iter().find(|node| &node.name == name).and_then(|node| node.op.as_conv());
        let conv = conv.ok_or("the plan has a layer that the network lacks")?;
        let shape = vec![conv.out_channels, conv.in_channels, conv.kernel, conv.kernel];
        let bias = vec![0.0; shape[0]];
        folded.insert(name.clone(), FoldedLayer { weight: weight.into_shape_with_order(shape)?, bias });
    }
    Ok(QatNet::from_folded(arch, &plan, &folded, NORMALIZATION, images, &Device::flex().autodiff())?)
}
