//! `eqo bench table`: protocols beside each other on the same networks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::environment::Environment;
use super::execute::Conditions;
use super::files::{Document, prepare};
use crate::args::{Given, NamedNetwork, TableArgs};
use crate::evaluation::PrivateFigures;
use crate::exit::{Failure, Kind};
use crate::interrupt;
use crate::progress::Progress;

pub(super) mod contender;
mod notes;
mod page;
mod row;
mod text;

use contender::Contender;
use notes::ProfileNote;
use row::{LayerRun, Row};

/// What the command prints; its JSON is a contract with other tools.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Table {
    environment: Environment,
    /// Of eqo and eqo+ with random weights, where no plan says otherwise.
    weight_bits: u8,
    act_bits: u8,
    /// Runs of each row.
    repeat: usize,
    /// What the profiles are.
    profiles: Vec<ProfileNote>,
    rows: Vec<Row>,
}

pub(super) fn run(args: &TableArgs) -> Result<(), Failure> {
    if let Some(file) = &args.from {
        return Table::read(file)?.present(&args.measurement);
    }
    interrupt::watch()?;
    prepare(&args.measurement)?;
    let environment = Environment::new(args.measurement.seed);
    let contenders = contenders(args)?;
    let table = Table {
        environment,
        weight_bits: args.weight_bits,
        act_bits: args.act_bits,
        repeat: args.repeat,
        profiles: args.profiles.iter().map(|&profile| ProfileNote::of(profile)).collect(),
        rows: rows(&contenders, args)?,
    };
    table.present(&args.measurement)
}

/// Every model by every profile; what can be refused is refused here, before anything runs.
fn contenders(args: &TableArgs) -> Result<Vec<Contender>, Failure> {
    let mut contenders = Vec::new();
    for model in &args.models {
        for &profile in &args.profiles {
            interrupt::check("nothing was sent yet")?;
            contenders.push(Contender::new(model, profile, args)?);
        }
    }
    let unused = |given: &&Given| !contenders.iter().any(|contender| contender.takes(given));
    match args.checkpoint.iter().chain(&args.plan).find(unused) {
        Some(given) => {
            let (name, file) = (given.profile.name(), given.file.display());
            let models = args.models.join(", ");
            let message = format!(
                "{name}={file}: expected a network for {name} in --profiles and of one of --models ({models}), found another"
            );
            Err(Failure::new(Kind::Usage, message))
        }
        None => Ok(contenders),
    }
}

fn rows(contenders: &[Contender], args: &TableArgs) -> Result<Vec<Row>, Failure> {
    let conditions = |network: NamedNetwork| Conditions {
        network,
        timeout: args.measurement.timeout,
        seed: args.measurement.seed,
    };
    let executed = |contender: &Contender| {
        !args.modelled.contains(&contender.profile) && contender.predicted.bytes_total() <= args.execute_up_to
    };
    let mut runs: BTreeMap<(usize, usize), Vec<PrivateFigures>> = BTreeMap::new();
    let bar = Progress::new("rows");
    let all = args.repeat * args.network.len() * contenders.iter().filter(|one| executed(one)).count();
    // Round and round: what else the machine does in a while falls on all rows alike.
    for _ in 0..args.repeat {
        for (link, &network) in args.network.iter().enumerate() {
            for (index, contender) in contenders.iter().enumerate().filter(|(_, one)| executed(one)) {
                interrupt::check("nothing was written")?;
                bar.set(runs.values().map(Vec::len).sum(), all);
                let figures = contender.run(conditions(network))?;
                runs.entry((index, link)).or_default().push(figures);
            }
        }
    }
    drop(bar);
    let mut rows = Vec::new();
    for (index, contender) in contenders.iter().enumerate() {
        let layers: Vec<LayerRun> = if args.layers && !executed(contender) {
            contender.run_layers(conditions(NamedNetwork::Loopback))?
        } else {
            Vec::new()
        };
        for (link, &network) in args.network.iter().enumerate() {
            let runs = runs.remove(&(index, link)).unwrap_or_default();
            rows.push(Row::new(contender, network, &runs, &layers));
        }
    }
    Ok(rows)
}
