//! A protocol and a network of layers, ready to be predicted and run.

use std::path::{Path, PathBuf};

use eqo_checkpoints::arch::Arch;
use eqo_checkpoints::baseline::Program;
use eqo_checkpoints::plan::BitPlan;
use eqo_checkpoints::{Checkpoint, cost, random};

use super::row::LayerRun;
use crate::args::{Given, NamedNetwork, PrivateArgs, Profile, TableArgs, TableProfile, Tile};
use crate::commands::bench::execute::{self, Conditions};
use crate::commands::bench::figures::Figures;
use crate::commands::bench::place::Place;
use crate::commands::bench::program::{ProgramSpec, Protocol, architecture, program};
use crate::commands::compare::candidate::Candidate;
use crate::evaluation::PrivateFigures;
use crate::exit::{Failure, Kind};
use crate::progress::{self, Progress};

/// One cell of models by profiles.
pub(super) struct Contender {
    pub(super) model: String,
    pub(super) profile: TableProfile,
    plays: Plays,
    /// What the cost model says.
    pub(super) predicted: Figures,
    /// The same model by SiRNN: what ratios refer to.
    pub(super) sirnn: Program,
    /// Where its weights are from.
    pub(super) weights: String,
    /// Of a trained checkpoint.
    pub(super) accuracy: Option<f64>,
    /// The file on the command line that it is of.
    given: Option<PathBuf>,
}

enum Plays {
    Earlier { spec: ProgramSpec, program: Program },
    Ours { checkpoint: Box<Checkpoint>, file: Place, parameters: PrivateArgs },
}

/// What our protocol runs, before it lies in a file.
struct Network {
    checkpoint: Checkpoint,
    /// The file that it was read from.
    file: Option<PathBuf>,
    accuracy: Option<f64>,
    /// The file on the command line, its own or its plan's.
    given: Option<PathBuf>,
}

impl Contender {
    pub(super) fn new(model: &str, profile: TableProfile, args: &TableArgs) -> Result<Self, Failure> {
        let arch = architecture(model)?;
        let sirnn = program(Protocol::Sirnn, &arch)?;
        let seed = args.measurement.seed;
        let mut contender = match profile.ours() {
            None => Self::earlier(model, profile, (&arch, seed))?,
            Some(ours) => Self::ours(&arch, profile, ours, args)?,
        };
        contender.sirnn = sirnn;
        Ok(contender)
    }

    fn earlier(model: &str, profile: TableProfile, (arch, seed): (&Arch, u64)) -> Result<Self, Failure> {
        let protocol = match profile {
            TableProfile::Cryptflow2 => Protocol::Cryptflow2,
            TableProfile::Copriv => Protocol::Copriv,
            TableProfile::Coinn => Protocol::Coinn,
            TableProfile::Sirnn | TableProfile::Eqo | TableProfile::EqoPlus => Protocol::Sirnn,
        };
        let program = program(protocol, arch)?;
        let predicted = Figures::of_program(&program);
        let spec = ProgramSpec::random(protocol, model, seed);
        Ok(Self::with(model, profile, Plays::Earlier { spec, program }, predicted))
    }

    fn ours(
        arch: &Arch,
        profile: TableProfile,
        (own, tile): (Profile, Tile),
        args: &TableArgs,
    ) -> Result<Self, Failure> {
        let network = match trained(arch, profile, args)? {
            Some(network) => network,
            None => untrained(arch, profile, tile, args)?,
        };
        let parameters = PrivateArgs::of(own);
        let predicted = Figures::of_graph(network.checkpoint.graph(), parameters.ot());
        let file = Place::new(network.file.as_deref())?;
        let weights = network.file.as_ref().map(|file| file.display().to_string());
        if network.file.is_none() {
            network.checkpoint.write(&file.path)?;
        }
        let plays = Plays::Ours { checkpoint: Box::new(network.checkpoint), file, parameters };
        let contender = Self::with(&arch.name, profile, plays, predicted);
        let weights = weights.unwrap_or(contender.weights);
        Ok(Self { accuracy: network.accuracy, weights, given: network.given, ..contender })
    }

    fn with(model: &str, profile: TableProfile, plays: Plays, predicted: Figures) -> Self {
        let sirnn = Program { name: String::new(), ops: Vec::new() };
        let weights = "random".to_owned();
        Self {
            model: model.to_owned(),
            profile,
            plays,
            predicted,
            sirnn,
            weights,
            accuracy: None,
            given: None,
        }
    }

    /// Both parties as two processes; fails with exit code 1 unless private is plain and measured is predicted.
    pub(super) fn run(&self, conditions: Conditions) -> Result<PrivateFigures, Failure> {
        let figures = match &self.plays {
            Plays::Earlier { spec, .. } => execute::program(spec, self.profile.name(), conditions)?,
            Plays::Ours { checkpoint, file, parameters } => {
                execute::checkpoint(checkpoint, &file.path, *parameters, conditions)?
            }
        };
        figures.verdict(1).map_err(|failure| failure.at(self.name()))?;
        if Figures::measured(&figures) != self.predicted {
            let message = format!(
                "{}: expected the predicted bytes and rounds of every operator, found others",
                self.name()
            );
            return Err(Failure::new(Kind::Check, message));
        }
        Ok(figures)
    }

    /// One layer of every shape, each checked as a whole network is. Ours has none: it can be run as a whole.
    pub(super) fn run_layers(&self, conditions: Conditions) -> Result<Vec<LayerRun>, Failure> {
        let Plays::Earlier { spec, program } = &self.plays else { return Ok(Vec::new()) };
        let mut shapes: Vec<([u8; 32], &str, usize)> = Vec::new();
        for name in program.layers() {
            let Some(layer) = program.layer(name) else { continue };
            if cost::baseline(&layer.program).ops.iter().all(|flow| flow.bytes() == 0) {
                continue;
            }
            match shapes.iter_mut().find(|(shape, ..)| *shape == layer.shape()) {
                Some((_, _, count)) => *count += 1,
                None => shapes.push((layer.shape(), name, 1)),
            }
        }
        let conditions = Conditions { network: NamedNetwork::Loopback, ..conditions };
        let run = |&(_, name, count): &([u8; 32], &str, usize)| {
            let figures = execute::program(&spec.layer(name), self.profile.name(), conditions)?;
            figures.verdict(1).map_err(|failure| failure.at(format!("{}, {name}", self.name())))?;
            let seconds = figures.seconds_offline + figures.seconds_online;
            Ok(LayerRun { layer: name.to_owned(), count, bytes: figures.bytes_total, seconds })
        };
        shapes.iter().map(run).collect()
    }

    /// Whether a file on the command line is of this network.
    pub(super) fn takes(&self, given: &Given) -> bool {
        given.profile == self.profile && self.given.as_deref() == Some(&given.file)
    }

    /// What messages call it.
    pub(super) fn name(&self) -> String {
        format!("{}, {}", self.model, self.profile.name())
    }
}

/// The checkpoint given for this profile, if it is of this architecture.
fn trained(arch: &Arch, profile: TableProfile, args: &TableArgs) -> Result<Option<Network>, Failure> {
    for given in args.checkpoint.iter().filter(|given| given.profile == profile) {
        let candidate = Candidate::read(&given.file)?;
        if candidate.checkpoint.graph().graph().name != arch.name {
            continue;
        }
        let accuracy = match &candidate.reported {
            Ok(counted) => Some(counted.correct as f64 / counted.images as f64),
            Err(reason) => {
                progress::line(&format!("{}: no accuracy, because {reason}", given.file.display()));
                None
            }
        };
        let (file, given) = (Some(candidate.path), Some(given.file.clone()));
        return Ok(Some(Network { checkpoint: candidate.checkpoint, file, accuracy, given }));
    }
    Ok(None)
}

/// Random weights at the plan given for this profile, or at the same bits everywhere.
fn untrained(arch: &Arch, profile: TableProfile, tile: Tile, args: &TableArgs) -> Result<Network, Failure> {
    let mut plan = BitPlan::uniform(arch, args.weight_bits, args.act_bits).with_tiles(arch, tile.algorithm());
    let mut given = None;
    for file in args.plan.iter().filter(|given| given.profile == profile).map(|given| &given.file) {
        let own = read_plan(file)?;
        if own.layers.keys().all(|name| plan.layers.contains_key(name)) {
            plan.layers.extend(own.layers);
            given = Some(file.clone());
        }
    }
    let bar = Progress::new("random weights");
    let seed = args.measurement.seed;
    let checkpoint = random::checkpoint(arch, &plan, seed, &|done, total| bar.set(done, total))?;
    Ok(Network { checkpoint, file: None, accuracy: None, given })
}

/// A plan as `eqo plan` writes it.
pub(in crate::commands::bench) fn read_plan(file: &Path) -> Result<BitPlan, Failure> {
    let failure = |error: String| {
        let next = "name a plan that `eqo plan` wrote";
        Failure::new(Kind::Usage, format!("{}: {error}; {next}", file.display()))
    };
    let text = std::fs::read_to_string(file).map_err(|error| failure(format!("read failed: {error}")))?;
    toml::from_str(&text).map_err(|error| failure(format!("expected a plan: {error}")))
}
