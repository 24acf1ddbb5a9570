//! `eqo bench primitives`: what each oblivious transfer and gate sends and how much of a core it takes.

use serde::Serialize;

use crate::args::BenchPrimitivesArgs;
use crate::exit::{Failure, Kind};
use crate::progress::Progress;
use crate::{interrupt, output};

mod catalogue;
mod pair;

use catalogue::{Primitive, catalogue};
use pair::{Cost, Measured, Part};

/// The least processor time of several runs counts: what else the machine does only adds to it. At least and at most so
/// many, and no more once they took this many seconds of it.
const RUNS: std::ops::RangeInclusive<usize> = 3..=50;
const ENOUGH: f64 = 0.3;

/// What the command prints; its JSON is a contract with other tools.
#[derive(Serialize)]
struct Report {
    /// OT extension under the gates.
    ot: String,
    primitives: Vec<Row>,
}

/// One primitive. Bits count both directions with frame headers.
#[derive(Debug, Serialize)]
struct Row {
    /// What `--only` takes.
    name: String,
    /// Bits of an element: of the ring, of an OT's messages.
    bits: u32,
    /// Elements at once.
    elements: usize,
    /// What depends on the inputs.
    bits_per_element_online: f64,
    /// The rest: the random OTs it uses up, what it sends with them; for an OT itself all of it.
    bits_per_element_offline: f64,
    /// Of a gate's online part; of all of an OT.
    rounds: u64,
    /// Elements a second of processor time, of both parties and their network threads, random OTs included.
    million_per_core_second: f64,
}

pub(crate) fn run(args: &BenchPrimitivesArgs) -> Result<(), Failure> {
    interrupt::watch()?;
    let chosen = chosen(catalogue(args.elements as usize, args.ot), &args.only)?;
    let bar = Progress::new("primitives");
    let mut rows = Vec::with_capacity(chosen.len());
    for (index, primitive) in chosen.iter().enumerate() {
        bar.set(index, chosen.len());
        rows.push(row(primitive)?);
    }
    drop(bar);
    let report = Report { ot: catalogue::ot_name(args.ot), primitives: rows };
    if args.json { output::json(&report) } else { output::text(&report.table()) }
}

/// The primitives of these names, all if there are none.
fn chosen(all: Vec<Primitive>, only: &[String]) -> Result<Vec<Primitive>, Failure> {
    if let Some(unknown) = only.iter().find(|name| all.iter().all(|primitive| primitive.name != **name)) {
        let names: Vec<&str> = all.iter().map(|primitive| primitive.name.as_str()).collect();
        let message = format!("--only: expected one of {}, found {unknown:?}", names.join(", "));
        return Err(Failure::new(Kind::Usage, message));
    }
    let wanted = |primitive: &Primitive| only.is_empty() || only.contains(&primitive.name);
    Ok(all.into_iter().filter(wanted).collect())
}

fn row(primitive: &Primitive) -> Result<Row, Failure> {
    let mut best = Row::new(primitive, &pair::run(primitive)?);
    let (mut runs, mut seconds) = (1, best.seconds());
    while runs < *RUNS.start() || (runs < *RUNS.end() && seconds < ENOUGH) {
        interrupt::check("measure fewer with --only NAME")?;
        let row = Row::new(primitive, &pair::run(primitive)?);
        (runs, seconds) = (runs + 1, seconds + row.seconds());
        if row.million_per_core_second > best.million_per_core_second {
            best = row;
        }
    }
    Ok(best)
}

impl Row {
    fn new(primitive: &Primitive, measured: &Measured) -> Self {
        // What a primitive makes offline for others to use is all it does.
        let (elements, offline, online) = match primitive.part {
            Part::Setup => (primitive.elements, measured.setup, Cost::default()),
            Part::Extension => (measured.made, measured.extension, Cost::default()),
            Part::Gate => (primitive.elements, measured.gate_offline(), measured.online),
        };
        let each = |bytes: f64| 8.0 * bytes / elements as f64;
        Self {
            name: primitive.name.clone(),
            bits: primitive.bits,
            elements,
            bits_per_element_online: each(online.bytes),
            bits_per_element_offline: each(offline.bytes),
            rounds: if primitive.part == Part::Gate { online.rounds } else { offline.rounds },
            million_per_core_second: elements as f64 / (online.seconds + offline.seconds) / 1e6,
        }
    }

    /// Processor time of the run.
    fn seconds(&self) -> f64 {
        self.elements as f64 / 1e6 / self.million_per_core_second
    }
}

impl Report {
    fn table(&self) -> String {
        let header = ["primitive", "bits", "elements", "bits online", "bits offline", "rounds", "M/core s"];
        let rows = self.primitives.iter().map(|row| {
            vec![
                row.name.clone(),
                row.bits.to_string(),
                row.elements.to_string(),
                format!("{:.2}", row.bits_per_element_online),
                format!("{:.2}", row.bits_per_element_offline),
                row.rounds.to_string(),
                format!("{:.3}", row.million_per_core_second),
            ]
        });
        format!(
            "{}\n\nbits of an element, both directions; gates on {}",
            output::table(&header, 1, rows),
            self.ot
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Ot;

    #[test]
    fn every_primitive_runs_and_costs_the_bits_of_its_formula() {
        let rows: Vec<Row> = catalogue(4096, Ot::Softspoken4)
            .iter()
            .map(|primitive| Row::new(primitive, &pair::run(primitive).unwrap()))
            .collect();
        let of = |name: &str| rows.iter().find(|row| row.name == name).unwrap();
        let close = |found: f64, formula: f64| (formula..formula + 1.0).contains(&found);
        // A random OT sends 128/k − 1 bits, a COT its choice and its correction, an AND four opened bits.
        for (name, bits) in [("random-ot-softspoken1", 127.0), ("random-ot-softspoken8", 15.0)] {
            assert!(close(of(name).bits_per_element_offline, bits), "{:?}", of(name));
        }
        assert!(close(of("cot").bits_per_element_online, 17.0), "{:?}", of("cot"));
        assert!(close(of("cot").bits_per_element_offline, 31.0), "{:?}", of("cot"));
        assert!(close(of("and").bits_per_element_online, 4.0), "{:?}", of("and"));
        let rounds = |name: &str| of(name).rounds;
        assert_eq!(["base-ot", "cot", "and", "multiplex", "matmul"].map(rounds), [2, 2, 1, 2, 0]);
    }

    #[test]
    fn unknown_names_are_refused_with_the_known_ones() {
        let refused = chosen(catalogue(1, Ot::Softspoken4), &["andd".to_owned()]).err().unwrap().to_string();
        assert!(refused.contains("andd") && refused.contains("requantize"), "{refused}");
        assert_eq!(chosen(catalogue(1, Ot::Softspoken4), &["and".to_owned()]).unwrap().len(), 1);
    }
}
