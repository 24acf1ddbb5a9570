//! `eqo compare`: accuracy against bytes of several runs, each of them predicted and, where asked for, measured.

use std::path::Path;

use crate::args::CompareArgs;
use crate::exit::{Failure, Kind};
use crate::interrupt;

pub(crate) mod candidate;
pub(crate) mod front;
mod images;
mod network;
mod row;
mod table;
mod traffic;

use candidate::Candidate;
use images::TestImages;
use row::measure;
use table::Comparison;

pub(crate) fn run(args: &CompareArgs) -> Result<(), Failure> {
    interrupt::watch()?;
    // Whatever can be refused is refused before the first network runs.
    if let Some(out) = &args.out {
        check_folder(out)?;
    }
    let candidates: Vec<Candidate> =
        args.runs.iter().map(|text| Candidate::read(text)).collect::<Result<_, _>>()?;
    let mut images = TestImages::new(args.data.as_deref());
    if args.data.is_none() {
        candidates.iter().try_for_each(|candidate| candidate.known_accuracy().map(drop))?;
    }
    let mut rows = Vec::with_capacity(candidates.len());
    for candidate in &candidates {
        interrupt::check("nothing was written")?;
        rows.push(measure(candidate, &mut images, args).map_err(|failure| failure.at(&candidate.name))?);
    }
    let comparison = Comparison::new(rows, args);
    comparison.print(args.json)?;
    if let Some(out) = &args.out {
        comparison.write(out)?;
    }
    comparison.verdict()
}

/// The folder of a file that will be written.
fn check_folder(file: &Path) -> Result<(), Failure> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if folder.is_dir() {
        return Ok(());
    }
    let message = format!("--out: expected a folder {}, found none; create it first", folder.display());
    Err(Failure::new(Kind::Usage, message))
}
