//! `eqo train` and `eqo quantize`: the stages of a recipe, each skipped while its inputs and output are unchanged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use burn::tensor::Device;
use eqo_checkpoints::arch::Arch;
use eqo_checkpoints::engine::{Engine, class_of};
use eqo_checkpoints::format::{Checkpoint, Metadata};
use eqo_checkpoints::plan::BitPlan;
use eqo_datasets::{Dataset, Normalization};
use eqo_train::evaluate::{Score, evaluate};
use eqo_train::fit::{self, FitConfig, Teacher};
use eqo_train::net::Net;
use eqo_train::recipe::{FitSection, Recipe};
use eqo_train::tensors::NamedTensors;
use eqo_train::{Classifier, QatNet, device, import};

use crate::images::{self, Images};
use crate::report::{Accuracy, QuantizeReport};
use crate::stages::{Json, Stages, hash_file, hash_inputs, write_whole};
use crate::verify::{Verified, verify};
use crate::{Error, fold, lower};

/// Calibration images whose every tensor is compared before a checkpoint is exported.
const VERIFIED_IMAGES: usize = 64;

/// What the caller shows and how it stops a run.
pub struct Hooks<'a> {
    /// Set from a signal handler: the running stage saves its state and ends in an error.
    pub stop: &'a AtomicBool,
    /// Called often with what is being done; must be cheap.
    pub progress: &'a (dyn Fn(Progress<'_>) + Sync),
}

/// One step of a stage.
pub struct Progress<'a> {
    /// What is being done: `read images`, `float`, `qat`, `evaluate float`, …
    pub stage: &'a str,
    /// Steps or images done.
    pub done: usize,
    /// Steps or images in all.
    pub total: usize,
    /// Loss and speed, or nothing.
    pub note: String,
}

/// A recipe's run in an output folder.
pub struct Pipeline {
    recipe: Recipe,
    out: PathBuf,
    arch: Arch,
    images: Images,
    device: Device,
    resume: bool,
    stages: Stages,
    seconds: BTreeMap<String, f64>,
}

impl Pipeline {
    /// Opens the images and the output folder.
    ///
    /// `resume` continues an interrupted fine-tune exactly where its last checkpoint is.
    ///
    /// # Errors
    /// Unreadable images, unknown architecture or device, unwritable folder.
    pub fn new(recipe: Recipe, out: &Path, resume: bool, hooks: &Hooks<'_>) -> Result<Self, Error> {
        let device = device::device_by_name(&recipe.device)?;
        std::fs::create_dir_all(out).map_err(|source| Error::Io {
            path: out.to_owned(),
            action: "create",
            source,
        })?;
        let reading = |done, total| report(hooks, "read images", done, total);
        // The size of a network's images doesn't depend on the number of classes.
        let [_, height, width] = Arch::by_name(&recipe.model.arch, 1)?.shapes()[0];
        let images = images::open(&recipe.data, recipe.seed, [height, width], &reading)?;
        let arch = Arch::by_name(&recipe.model.arch, images.train.classes().len())?;
        write_whole(&out.join("recipe.toml"), recipe.to_toml().as_bytes())?;
        let (out, stages) = (out.to_owned(), Stages::open(out));
        Ok(Self { recipe, out, arch, images, device, resume, stages, seconds: BTreeMap::new() })
    }

    /// The images in use.
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// Fine-tunes the float network (or trains it from random weights) into `<out>/float.safetensors`.
    ///
    /// # Errors
    /// Unreadable weights, divergence, interruption, unwritable output.
    pub fn train_float(&mut self, hooks: &Hooks<'_>) -> Result<NamedTensors, Error> {
        let output = self.out.join("float.safetensors");
        let inputs = self.float_inputs();
        if self.stages.is_fresh("float", &inputs, &output) {
            return Ok(import::read_tensors(&output)?);
        }
        self.stages.start("float")?;
        let started = Instant::now();
        let mut net = self.initial_net(&self.training_device())?;
        if self.recipe.float.steps > 0 {
            let config = self.fit_config(&self.recipe.float, "float", &());
            net = self.fit("float", net, None, &config, hooks)?;
        }
        let tensors = net.to_tensors();
        import::save_tensors(&output, &tensors, &[("arch", &self.arch.name)])?;
        self.finish("float", &inputs, started)?;
        Ok(tensors)
    }

    /// Fine-tunes the quantized network from the float one into `<out>/qat.safetensors`.
    ///
    /// # Errors
    /// As [`Pipeline::train_float`].
    pub fn train_qat(&mut self, hooks: &Hooks<'_>) -> Result<QatNet, Error> {
        let float = self.train_float(hooks)?;
        let output = self.out.join("qat.safetensors");
        let inputs = self.qat_inputs();
        let folded = fold::fold(&self.arch, &float, &self.normalization())?;
        let (plan, normalization) = (self.plan(), self.normalization());
        let (arch, calibration) = (&self.arch, &self.images.calibration);
        if self.stages.is_fresh("qat", &inputs, &output) {
            let tensors = import::read_tensors(&output)?;
            let origin = output.display().to_string();
            return Ok(QatNet::from_tensors(arch, &plan, normalization, &tensors, &origin, &self.device)?);
        }
        self.stages.start("qat")?;
        let started = Instant::now();
        let mut net =
            QatNet::from_folded(arch, &plan, &folded, normalization, calibration, &self.training_device())?;
        if self.recipe.qat.steps > 0 {
            let teacher = self.float_net(&float, &self.device)?;
            let config = self.fit_config(&self.recipe.qat, "qat", &self.plan());
            net = self.fit("qat", net, Some(&|pixels| teacher.logits(pixels)), &config, hooks)?;
        }
        let tensors = net.to_tensors();
        import::save_tensors(&output, &tensors, &[("arch", &self.arch.name)])?;
        self.finish("qat", &inputs, started)?;
        Ok(net.with_tensors(&tensors, "qat", &self.device)?)
    }

    /// Runs every stage, verifies, and exports `<out>/model.safetensors` and `<out>/report.json`.
    ///
    /// # Errors
    /// Those of the stages, [`Error::Mismatch`] if the engines disagree (nothing is exported then).
    pub fn quantize(&mut self, hooks: &Hooks<'_>) -> Result<QuantizeReport, Error> {
        let net = self.train_qat(hooks)?;
        let float = self.train_float(hooks)?;
        let started = Instant::now();
        let classes = self.images.train.classes();
        let (graph, weights) =
            lower::lower(&self.arch, &self.plan(), net.export()?, &self.normalization(), classes)?;
        let engine = Engine::new(graph.clone(), &weights)?;
        let verified = self.verify(&engine, &net)?;
        let integer = self.integer_score(&engine, hooks)?;
        self.seconds.insert("lower, verify, evaluate".to_owned(), started.elapsed().as_secs_f64());
        let metadata = Metadata {
            recipe: self.recipe.to_toml(),
            dataset: self.images.test.name().to_owned(),
            seed: self.recipe.seed,
            accuracy: Some(integer.accuracy()),
        };
        let graph_hash = graph.graph_hash().iter().map(|byte| format!("{byte:02x}")).collect();
        let checkpoint = self.out.join("model.safetensors");
        Checkpoint::new(graph, weights, metadata)?.write(&checkpoint)?;
        let report = QuantizeReport {
            name: self.recipe.name.clone(),
            arch: self.arch.name.clone(),
            bits: [self.recipe.bits.weight, self.recipe.bits.activation],
            float_imported: self.imported_score(hooks)?,
            float: self.float_score("evaluate float", &float, hooks)?,
            integer: integer.into(),
            verified,
            seconds: self.seconds.clone(),
            checkpoint,
            graph_hash,
        };
        self.record_test(&report)?;
        write_whole(&self.out.join("report.json"), &serde_json::to_vec_pretty(&report).unwrap_or_default())?;
        Ok(report)
    }

    fn fit<N: Classifier>(
        &self,
        stage: &'static str,
        net: N,
        teacher: Option<Teacher<'_>>,
        config: &FitConfig,
        hooks: &Hooks<'_>,
    ) -> Result<N, Error> {
        let mut progress = |step: &fit::Progress| {
            let note = format!("loss {:.3}, {:.0} images/s", step.loss, step.images_per_second);
            (hooks.progress)(Progress { stage, done: step.step, total: step.steps, note });
        };
        let fit_hooks = fit::Hooks { stop: hooks.stop, progress: &mut progress };
        Ok(fit::fit(net, teacher, &self.images.train, None, config, fit_hooks)?)
    }

    /// The test accuracies beside the curves of the stages that were trained.
    fn record_test(&self, report: &QuantizeReport) -> Result<(), Error> {
        let stages = [
            ("float", self.recipe.float.steps, report.float),
            ("qat", self.recipe.qat.steps, report.integer),
        ];
        for (stage, steps, score) in stages {
            let dir = self.out.join(stage);
            if steps > 0 && dir.is_dir() {
                let network = if stage == "qat" { "integer" } else { "float" };
                fit::record_test_accuracy(&dir, network, steps, score.accuracy)?;
            }
        }
        Ok(())
    }

    fn verify(&self, engine: &Engine, net: &QatNet) -> Result<Verified, Error> {
        let calibration = &self.images.calibration;
        let count = calibration.len().min(VERIFIED_IMAGES);
        let images: Vec<&[u8]> = (0..count).map(|index| calibration.image(index)).collect();
        verify(engine, &images, &net.trace(&images.concat())?)
    }

    fn integer_score(&self, engine: &Engine, hooks: &Hooks<'_>) -> Result<Score, Error> {
        let test = &self.images.test;
        let progress = |done, total| report(hooks, "evaluate integer", done, total);
        let logits = engine.run_all(test.pixels(), &progress)?;
        let hits = logits
            .iter()
            .zip(test.labels())
            .filter(|&(logits, &label)| class_of(logits) == usize::from(label));
        Ok(Score { correct: hits.count(), total: test.len() })
    }

    fn float_score(&self, stage: &str, tensors: &NamedTensors, hooks: &Hooks<'_>) -> Result<Accuracy, Error> {
        let net = self.float_net(tensors, &self.device)?;
        let mut progress = |done, total| report(hooks, stage, done, total);
        Ok(evaluate(&net, &self.images.test, &self.device, &mut progress)?.into())
    }

    fn imported_score(&self, hooks: &Hooks<'_>) -> Result<Option<Accuracy>, Error> {
        let Some(path) = &self.recipe.model.weights else { return Ok(None) };
        self.float_score("evaluate imported", &import::read_tensors(path)?, hooks).map(Some)
    }

    fn initial_net(&self, device: &Device) -> Result<Net, Error> {
        match &self.recipe.model.weights {
            Some(path) => self.float_net(&import::read_tensors(path)?, device),
            None => Ok(Net::random(&self.arch, self.normalization(), self.recipe.seed, device)?),
        }
    }

    fn float_net(&self, tensors: &NamedTensors, device: &Device) -> Result<Net, Error> {
        let origin = self
            .recipe
            .model
            .weights
            .as_ref()
            .map_or("trained weights".to_owned(), |p| p.display().to_string());
        Ok(Net::from_tensors(&self.arch, self.normalization(), tensors, &origin, device)?)
    }

    fn plan(&self) -> BitPlan {
        BitPlan::uniform(&self.arch, self.recipe.bits.weight, self.recipe.bits.activation)
    }

    fn normalization(&self) -> Normalization {
        Normalization { mean: self.recipe.data.mean, std: self.recipe.data.std }
    }

    fn training_device(&self) -> Device {
        self.device.clone().autodiff()
    }

    fn fit_config(&self, section: &FitSection, stage: &str, identity: &dyn Json) -> FitConfig {
        let identity = hash_inputs(&[&self.recipe.model, identity]);
        let config = FitConfig::new(section, &self.normalization(), self.recipe.seed, self.out.join(stage));
        FitConfig { identity, resume: self.resume, ..config }
    }

    fn float_inputs(&self) -> String {
        let recipe = &self.recipe;
        let weights = recipe.model.weights.as_deref().map(hash_file);
        let images = hash_images(&self.images.train);
        hash_inputs(&[&recipe.model.arch, &weights, &images, &recipe.data, &recipe.float, &recipe.seed])
    }

    fn qat_inputs(&self) -> String {
        hash_inputs(&[&self.float_inputs(), &self.recipe.qat, &self.plan()])
    }

    fn finish(&mut self, stage: &str, inputs: &str, started: Instant) -> Result<(), Error> {
        self.seconds.insert(stage.to_owned(), started.elapsed().as_secs_f64());
        self.stages.finish(stage, inputs)
    }
}

fn hash_images(images: &Dataset) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(images.pixels());
    images.labels().iter().for_each(|label| {
        hasher.update(&label.to_le_bytes());
    });
    hasher.finalize().to_hex().to_string()
}

fn report(hooks: &Hooks<'_>, stage: &str, done: usize, total: usize) {
    (hooks.progress)(Progress { stage, done, total, note: String::new() });
}
