//! `eqo train` and `eqo quantize`: the stages of a recipe, each skipped while its inputs and output are unchanged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use burn::tensor::Device;
use eqo_checkpoints::arch::Arch;
use eqo_checkpoints::engine::Engine;
use eqo_checkpoints::format::{Checkpoint, Metadata};
use eqo_checkpoints::plan::BitPlan;
use eqo_datasets::{Dataset, Normalization};
use eqo_train::fit::{self, FitConfig, Teacher};
use eqo_train::net::Net;
use eqo_train::recipe::{DataSection, FitSection, Recipe};
use eqo_train::tensors::NamedTensors;
use eqo_train::{Classifier, Layers, device, import};

use crate::images::{self, Images};
use crate::report::QuantizeReport;
use crate::stages::{Json, Stages, hash_file, hash_inputs, hash_tensors, write_whole};
use crate::{Error, lower};

mod plan;
mod qat;
mod scores;
mod sweep;

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
    /// More of a training stage.
    pub training: Option<fit::Progress>,
}

/// A recipe's run in an output folder.
pub struct Pipeline {
    recipe: Recipe,
    out: PathBuf,
    arch: Arch,
    plan: BitPlan,
    images: Images,
    /// Hash of what decides the float network.
    float_inputs: String,
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
        // Layers and the images' size don't depend on the number of classes: a wrong one is refused before any image is read.
        let known = recipe.model.architecture(None)?;
        let plan = recipe.bits.plan(&known)?;
        std::fs::create_dir_all(out).map_err(|source| Error::Io {
            path: out.to_owned(),
            action: "create",
            source,
        })?;
        let reading = |done, total| report(hooks, "read images", done, total);
        let [_, height, width] = known.shapes()[0];
        let images = images::open(&recipe.data, recipe.seed, [height, width], &reading)?;
        let arch = recipe.model.architecture(Some(images.train.classes().len()))?;
        write_whole(&out.join("recipe.toml"), recipe.to_toml().as_bytes())?;
        let float_inputs = float_inputs(&recipe, &images);
        let (out, stages, seconds) = (out.to_owned(), Stages::open(out), BTreeMap::new());
        Ok(Self { recipe, out, arch, plan, images, float_inputs, device, resume, stages, seconds })
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
        let inputs = self.float_inputs.clone();
        if self.stages.is_fresh("float", &inputs, &output) {
            return Ok(import::read_tensors(&output)?);
        }
        self.stages.start("float")?;
        let started = Instant::now();
        let mut net = self.initial_net()?;
        if self.recipe.float.steps > 0 {
            let identity = hash_inputs(&[&self.arch, &hash_tensors(&net.to_tensors())]);
            let config = self.fit_config(&self.recipe.float, "float", identity);
            net = self.fit("float", net, None, (&config, None), hooks)?;
        }
        let tensors = net.to_tensors();
        import::save_tensors(&output, &tensors, &[("arch", &self.arch.name)])?;
        self.finish("float", &inputs, started)?;
        Ok(tensors)
    }

    /// Runs every stage, verifies, and exports `<out>/model.safetensors` and `<out>/report.json`.
    ///
    /// # Errors
    /// Those of the stages, [`Error::Mismatch`] if the engines disagree (nothing is exported then).
    pub fn quantize(&mut self, hooks: &Hooks<'_>) -> Result<QuantizeReport, Error> {
        let float = self.train_float(hooks)?;
        let net = self.train_qat_from(&float, hooks)?;
        let started = Instant::now();
        let classes = self.images.train.classes();
        let (graph, weights) =
            lower::lower(&self.arch, &self.plan, net.export()?, &self.normalization(), classes)?;
        self.rings(&self.plan).check(&graph)?;
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
            plan: self.plan.clone(),
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

    fn fit<N: Layers>(
        &self,
        stage: &str,
        net: N,
        teacher: Option<Teacher<'_>>,
        (config, project): (&FitConfig, Option<fit::Project<'_>>),
        hooks: &Hooks<'_>,
    ) -> Result<N, Error> {
        let mut progress = |step: &fit::Progress| {
            let note = format!("loss {:.3}, {:.0} images/s", step.loss, step.images_per_second);
            (hooks.progress)(Progress {
                stage,
                done: step.step,
                total: step.steps,
                note,
                training: Some(*step),
            });
        };
        let fit_hooks = fit::Hooks { stop: hooks.stop, progress: &mut progress, project };
        Ok(fit::fit(net, teacher, &self.images.train, self.images.validation.as_ref(), config, fit_hooks)?)
    }

    fn initial_net(&self) -> Result<Net, Error> {
        match &self.recipe.model.weights {
            Some(path) => self.float_net(&import::read_network(path, &self.arch)?),
            None => Ok(Net::random(&self.arch, self.normalization(), self.recipe.seed, &self.device)?),
        }
    }

    fn float_net(&self, tensors: &NamedTensors) -> Result<Net, Error> {
        let origin = self
            .recipe
            .model
            .weights
            .as_ref()
            .map_or("trained weights".to_owned(), |p| p.display().to_string());
        Ok(Net::from_tensors(&self.arch, self.normalization(), tensors, &origin, &self.device)?)
    }

    fn normalization(&self) -> Normalization {
        Normalization { mean: self.recipe.data.mean, std: self.recipe.data.std }
    }

    /// Settings of a training; `identity` is a hash of what it starts from.
    fn fit_config(&self, section: &FitSection, stage: &str, identity: String) -> FitConfig {
        let config = FitConfig::new(section, &self.normalization(), self.recipe.seed, self.out.join(stage));
        FitConfig { identity, resume: self.resume, ..config }
    }

    fn finish(&mut self, stage: &str, inputs: &str, started: Instant) -> Result<(), Error> {
        self.seconds.insert(stage.to_owned(), started.elapsed().as_secs_f64());
        self.stages.finish(stage, inputs)
    }
}

/// Whatever decides the float network.
fn float_inputs(recipe: &Recipe, images: &Images) -> String {
    let weights = recipe.model.weights.as_deref().map(hash_file);
    let (train, validation) = (hash_images(&images.train), images.validation.as_ref().map(hash_images));
    // Where decoded images are kept changes nothing.
    let data = DataSection { cache: String::new(), ..recipe.data.clone() };
    let parts: [&dyn Json; 7] =
        [&recipe.model.arch, &weights, &train, &validation, &data, &recipe.float, &recipe.seed];
    hash_inputs(&parts)
}

fn hash_images(images: &Dataset) -> String {
    let mut hasher = blake3::Hasher::new();
    (0..images.len()).for_each(|index| {
        hasher.update(images.image(index));
    });
    images.labels().iter().for_each(|label| {
        hasher.update(&label.to_le_bytes());
    });
    hasher.finalize().to_hex().to_string()
}

fn report(hooks: &Hooks<'_>, stage: &str, done: usize, total: usize) {
    (hooks.progress)(Progress { stage, done, total, note: String::new(), training: None });
}
