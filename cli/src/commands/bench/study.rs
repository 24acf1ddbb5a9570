//! `eqo bench study`: what each optimization saves, one after the other.

use serde::{Deserialize, Serialize};

use super::environment::Environment;
use super::execute::{self, Conditions};
use super::figures::{Figures, OperatorBytes};
use super::files::{Document, markdown_table, prepare};
use super::place::Place;
use crate::args::StudyArgs;
use crate::evaluation::PrivateFigures;
use crate::exit::{Failure, Kind};
use crate::output::{self, megabytes};
use crate::progress::Progress;
use crate::report::stacked::{Bar, Stacked};
use crate::report::{escape, head};
use crate::{images, interrupt};

mod networks;
mod steps;

use networks::Networks;
use steps::{Runs, Step, steps};

/// What the command prints; its JSON is a contract with other tools.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Study {
    environment: Environment,
    arch: String,
    weight_bits: u8,
    act_bits: u8,
    network: String,
    rows: Vec<Row>,
}

/// One step, executed. Bytes are of one image, both directions, set-up included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Row {
    step: String,
    /// What is different from the step before.
    what: String,
    bytes_offline: u64,
    bytes_online: u64,
    bytes_total: u64,
    rounds_online: u64,
    seconds_online: f64,
    seconds_total: f64,
    /// Bytes of the step before over its own.
    ratio_to_previous: f64,
    /// Bytes of the first step over its own.
    ratio_to_sirnn: f64,
    /// 1 if any logit differs from the clear: for quantized steps from the integer engine's.
    mismatches: usize,
    /// Steps with the same letter compute the same network, and their logits are the same integers.
    weights: String,
    operators: Vec<OperatorBytes>,
}

pub(super) fn run(args: &StudyArgs) -> Result<(), Failure> {
    if let Some(file) = &args.from {
        return Study::read(file)?.present(&args.measurement);
    }
    interrupt::watch()?;
    prepare(&args.measurement)?;
    let environment = Environment::new(args.measurement.seed);
    let networks = Networks::new(args)?;
    let mut rows: Vec<Row> = Vec::new();
    let steps = steps(&networks)?;
    let bar = Progress::new("steps");
    for (index, step) in steps.iter().enumerate() {
        interrupt::check("nothing was written")?;
        bar.set(index, steps.len());
        let figures = play(step, &networks, args)?;
        rows.push(Row::new(step, &figures, rows.last(), rows.first()));
    }
    drop(bar);
    let study = Study {
        environment,
        arch: networks.arch.name.clone(),
        weight_bits: args.weight_bits,
        act_bits: args.act_bits,
        network: args.network.name().to_owned(),
        rows,
    };
    study.present(&args.measurement)
}

/// Both parties of a step as two processes; fails with exit code 1 unless private is plain and measured is predicted.
fn play(step: &Step, networks: &Networks, args: &StudyArgs) -> Result<PrivateFigures, Failure> {
    let seed = args.measurement.seed;
    let conditions = Conditions { network: args.network, timeout: args.measurement.timeout, seed };
    let figures = match &step.runs {
        Runs::Earlier(spec) => execute::program(spec, "sirnn", conditions)?,
        Runs::Ours { checkpoint, parameters } => {
            let file = Place::new(None)?;
            checkpoint.write(&file.path)?;
            let logits = checkpoint.engine().run(&images::random(seed, 1, checkpoint.graph().shape(0))?)?;
            let expected = networks.logits(step.weights)?;
            if expected.is_some_and(|expected| expected != logits) {
                let message = format!("{}: expected the logits of the steps before, found others", step.name);
                return Err(Failure::new(Kind::Check, message));
            }
            execute::checkpoint(checkpoint, &file.path, *parameters, conditions)?
        }
    };
    figures.verdict(1).map_err(|failure| failure.at(step.name))?;
    Ok(figures)
}

impl Row {
    fn new(step: &Step, measured: &PrivateFigures, previous: Option<&Self>, first: Option<&Self>) -> Self {
        let figures = Figures::measured(measured);
        let total = figures.bytes_total();
        let ratio = |row: Option<&Self>| row.map_or(1.0, |row| row.bytes_total as f64 / total as f64);
        Self {
            step: step.name.to_owned(),
            what: step.what.clone(),
            bytes_offline: figures.bytes_offline,
            bytes_online: figures.bytes_online,
            bytes_total: total,
            rounds_online: figures.rounds_online,
            seconds_online: measured.seconds_online,
            seconds_total: measured.seconds_offline + measured.seconds_online,
            ratio_to_previous: ratio(previous),
            ratio_to_sirnn: ratio(first),
            mismatches: measured.mismatches,
            weights: step.weights.to_owned(),
            operators: figures.operators,
        }
    }

    fn cells(&self) -> Vec<String> {
        let [offline, online, total] =
            [self.bytes_offline, self.bytes_online, self.bytes_total].map(megabytes);
        let ratios = [self.ratio_to_previous, self.ratio_to_sirnn].map(|ratio| format!("{ratio:.2}x"));
        let seconds = [self.seconds_online, self.seconds_total].map(|seconds| format!("{seconds:.2}"));
        let words = [self.step.clone(), self.what.clone(), self.weights.clone()];
        let numbers = [offline, online, total].into_iter().chain(ratios);
        let rounds = [self.rounds_online.to_string()];
        words.into_iter().chain(numbers).chain(rounds).chain(seconds).collect()
    }
}

/// Columns of words, and all.
const WORDS: usize = 3;
const HEADER: [&str; 11] = [
    "step",
    "what",
    "weights",
    "MB offline",
    "MB online",
    "MB",
    "less than before",
    "less than sirnn",
    "rounds online",
    "s online",
    "s",
];

impl Study {
    fn provenance(&self) -> String {
        let (arch, network) = (&self.arch, &self.network);
        let bits = format!("W{}A{}", self.weight_bits, self.act_bits);
        format!(
            "{arch}, {bits}, random weights (the same letter: the same logits), {network}, every step executed by two processes; MB of one image, both directions, set-up included. {}",
            self.environment.sentence()
        )
    }

    fn cells(&self) -> Vec<Vec<String>> {
        self.rows.iter().map(Row::cells).collect()
    }
}

impl Document for Study {
    const NAME: &'static str = "study";

    fn text(&self) -> String {
        format!("{}\n\n{}", output::table(&HEADER, WORDS, self.cells()), self.provenance())
    }

    fn markdown(&self) -> String {
        let table = markdown_table(&HEADER.map(str::to_owned), WORDS, &self.cells());
        format!("{table}\n{}\n", self.provenance())
    }

    fn page(&self) -> Result<String, Failure> {
        let bars = self.rows.iter().map(|row| Bar {
            label: row.step.clone(),
            values: [row.bytes_offline, row.bytes_online].map(|bytes| bytes as f64 / 1e6).to_vec(),
        });
        let parts = vec!["offline".to_owned(), "online".to_owned()];
        let plot = Stacked { bars: bars.collect(), parts, axis: "MB".to_owned() }.svg()?;
        let text = escape(&self.text());
        Ok(format!("{}<pre>{text}</pre>{plot}</html>\n", head("Step by step from SiRNN")))
    }
}
