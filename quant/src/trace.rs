//! Traces of the Hessian, layer by layer, by Hutchinson's estimate (HAWQ-V2, Dong et al. 2020, §3).
//!
//! A probe is a batch of images and random signs, and a sample of the trace of every layer's block, or of one. By products
//! it is `v·(H·v)` of a direction v in one layer's taps: moving all layers at once would cost as much for the same error,
//! because the blocks between layers come in as noise, and the first layer's (whose taps are thousands of times finer)
//! drowns the rest. By squares ([`eqo_train::curvature`]) it is the diagonal of all blocks in one backward pass, the same on
//! average. Probes go on until a layer's standard error is within the tolerance. Everything is a function of the seed, and the state
//! is kept now and then and before stopping: an interrupted estimate goes on from there and ends in the same bits.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use eqo_datasets::Dataset;
use eqo_datasets::split::stratified_order;
use eqo_train::curvature::{Curved, FloatTaps, Squares, Variable};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::stages::write_toml;

/// How traces are estimated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TraceConfig {
    /// Of the directions and of the order of the images.
    pub seed: u64,
    /// Images of a probe.
    pub batch_size: usize,
    /// Largest relative standard error, e.g. 0.05.
    pub tolerance: f64,
    /// Probes before a layer may stop.
    pub least: usize,
    /// Probes after which every layer stops.
    pub most: usize,
}

/// What is known of one layer so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// The layer's name.
    pub layer: String,
    /// Probes in which it moved.
    pub probes: usize,
    /// Mean of the probes: the trace.
    pub trace: f64,
    /// Sum of squared distances of the probes from their mean.
    spread: f64,
    /// Values that the trace is a sum over; for activations the mean over images of those above zero.
    pub count: f64,
    /// Parts of the trace, `[taps or kernel positions][out]`, or `[1][channels]` for activations.
    pub parts: Vec<Vec<f64>>,
}

/// Estimated traces, and what they belong to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Traces {
    /// Hash of network, images and settings.
    identity: String,
    /// One for each layer, in order.
    pub layers: Vec<Trace>,
}

/// How an estimate is shown and stopped.
pub struct TraceHooks<'a> {
    /// Ends the estimate after the probe that runs, in [`Error::Stopped`]; what was found is kept.
    pub stop: &'a AtomicBool,
    /// Layers done, of how many, and the relative standard error of the one that runs.
    pub progress: &'a mut dyn FnMut(usize, usize, f64),
}

impl Trace {
    /// Of the trace.
    pub fn standard_error(&self) -> f64 {
        let samples = self.probes as f64;
        if self.probes < 2 { f64::INFINITY } else { (self.spread / (samples - 1.0) / samples).sqrt() }
    }

    /// Standard error over the trace's magnitude; 0 for a trace of 0.
    pub fn relative_error(&self) -> f64 {
        if self.trace == 0.0 && self.probes > 1 { 0.0 } else { self.standard_error() / self.trace.abs() }
    }

    /// Half of the width of the 95% confidence interval.
    pub fn confidence(&self) -> f64 {
        1.96 * self.standard_error()
    }

    /// Trace by value: the mean second derivative.
    pub fn mean(&self) -> f64 {
        if self.count > 0.0 { self.trace / self.count } else { 0.0 }
    }

    /// Mean second derivative by the values of each tap (or kernel position).
    pub fn tap_means(&self) -> Vec<f64> {
        let count = (self.count / self.parts.len().max(1) as f64).max(f64::MIN_POSITIVE);
        self.parts.iter().map(|tap| tap.iter().sum::<f64>() / count).collect()
    }

    fn add(&mut self, curved: &Curved) -> Result<(), Error> {
        let value: f64 = curved.sums.iter().flatten().sum();
        if !value.is_finite() {
            return Err(Error::Curvature { layer: self.layer.clone(), found: value });
        }
        self.probes += 1;
        let share = 1.0 / self.probes as f64;
        let before = value - self.trace;
        self.trace += before * share;
        self.spread += before * (value - self.trace);
        self.count += (curved.count - self.count) * share;
        if self.parts.is_empty() {
            self.parts = curved.sums.iter().map(|row| vec![0.0; row.len()]).collect();
        }
        for (mean, found) in self.parts.iter_mut().flatten().zip(curved.sums.iter().flatten()) {
            *mean += (found - *mean) * share;
        }
        Ok(())
    }

    fn is_done(&self, config: &TraceConfig) -> bool {
        self.probes >= config.most || self.probes >= config.least && self.relative_error() <= config.tolerance
    }
}

/// How a trace is estimated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curvature {
    /// By products of the Hessian with directions in the taps of one layer at a time.
    Products,
    /// By squared gradients, all layers in one backward pass.
    Squares(Squares, Variable),
}

/// Estimates the traces of `net` by `curvature` on `images`; the state is kept in `file`, and taken up from there if it is that
/// of the same network (`identity`), images and settings.
///
/// # Errors
/// Those of [`FloatTaps::probe`], an interruption, [`Error::Io`] if the state can't be written.
pub fn estimate(
    net: &FloatTaps,
    images: &Dataset,
    (curvature, identity): (Curvature, &str),
    config: &TraceConfig,
    (file, hooks): (&Path, TraceHooks<'_>),
) -> Result<Traces, Error> {
    let traces = Traces::open(file, identity, net);
    let order = stratified_order(images, config.seed);
    let mut estimate = Estimate { net, images, config, file, hooks, order, traces };
    match curvature {
        Curvature::Products => (0..net.layer_names().len()).try_for_each(|layer| estimate.products(layer))?,
        Curvature::Squares(squares, variable) => estimate.squares((squares, variable))?,
    }
    Ok(estimate.traces)
}

/// An estimate at work.
struct Estimate<'a, 'h> {
    net: &'a FloatTaps,
    images: &'a Dataset,
    config: &'a TraceConfig,
    file: &'a Path,
    hooks: TraceHooks<'h>,
    order: Vec<usize>,
    traces: Traces,
}

impl Estimate<'_, '_> {
    fn products(&mut self, layer: usize) -> Result<(), Error> {
        while !self.traces.layers[layer].is_done(self.config) {
            let probes = self.show(layer);
            let (batch, seed) = (self.batch(probes), self.config.seed ^ probe_seed(layer, probes));
            let found = self.net.probe(self.images, &batch, layer, seed)?;
            self.traces.layers[layer].add(&found)?;
            self.keep(layer)?;
        }
        Ok(())
    }

    /// Layers all have the same samples, so the slowest one decides.
    fn squares(&mut self, of: (Squares, Variable)) -> Result<(), Error> {
        while let Some(slowest) = self.traces.layers.iter().position(|layer| !layer.is_done(self.config)) {
            let probes = self.show(slowest);
            let (batch, seed) = (self.batch(probes), self.config.seed ^ probe_seed(0, probes));
            let found = self.net.squares(self.images, &batch, of, seed)?;
            self.traces.layers.iter_mut().zip(&found).try_for_each(|(layer, found)| layer.add(found))?;
            self.keep(slowest)?;
        }
        Ok(())
    }

    /// Reports `layer` and returns the probes it had.
    fn show(&mut self, layer: usize) -> usize {
        let trace = &self.traces.layers[layer];
        (self.hooks.progress)(layer, self.traces.layers.len(), trace.relative_error());
        trace.probes
    }

    /// The images of a probe.
    fn batch(&self, probe: usize) -> Vec<usize> {
        let size = self.config.batch_size.clamp(1, self.order.len().max(1));
        (0..size).map(|at| self.order[(probe * size + at) % self.order.len()]).collect()
    }

    /// Writes the state now and then, when `layer` is done, and before stopping.
    fn keep(&self, layer: usize) -> Result<(), Error> {
        let stop = self.hooks.stop.load(Ordering::Relaxed);
        let layer = &self.traces.layers[layer];
        if stop || layer.probes.is_multiple_of(KEPT_EVERY) || layer.is_done(self.config) {
            // TOML, because floats come back as they were.
            write_toml(self.file, &self.traces)?;
        }
        if stop {
            return Err(Error::Stopped { what: "an estimate of the Hessian" });
        }
        Ok(())
    }
}

/// Probes between writes of the state.
const KEPT_EVERY: usize = 16;

/// Odd multiples are far apart for neighbouring probes.
fn probe_seed(layer: usize, probe: usize) -> u64 {
    (((layer as u64) << 32) | (probe as u64 + 1)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl Traces {
    fn open(file: &Path, identity: &str, net: &FloatTaps) -> Self {
        let kept: Option<Self> =
            std::fs::read_to_string(file).ok().and_then(|text| toml::from_str(&text).ok());
        kept.filter(|traces| traces.identity == identity).unwrap_or_else(|| {
            let layer = |name: &str| Trace { layer: name.to_owned(), ..Trace::default() };
            let layers = net.layer_names().into_iter().map(layer).collect();
            Self { identity: identity.to_owned(), layers }
        })
    }
}
