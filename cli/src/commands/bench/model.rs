//! `eqo bench model`: private inference of a network nobody trained.

use std::path::PathBuf;

use eqo_checkpoints::arch::Arch;
use eqo_checkpoints::plan::BitPlan;
use eqo_checkpoints::winograd::Algorithm;
use eqo_checkpoints::{Checkpoint, random};
use tempfile::TempDir;

use crate::args::{BenchModelArgs, Tile};
use crate::exit::{Failure, Kind};
use crate::progress::Progress;
use crate::{images, interrupt, private};

pub(crate) fn run(args: &BenchModelArgs) -> Result<(), Failure> {
    // From here on Ctrl-C ends the command in order, so that its temporary file goes with it.
    interrupt::watch()?;
    let checkpoint = network(args)?;
    let place = Place::of(args)?;
    checkpoint.write(&place.path)?;
    let pixels = images::random(args.seed, args.images, checkpoint.graph().shape(0))?;
    interrupt::check("nothing was sent yet")?;
    let setting = private::Setting {
        checkpoint: &place.path,
        parameters: args.parameters,
        timeout: args.timeout,
        network: args.network,
    };
    let evaluation = private::measure(&checkpoint.engine(), &pixels, &setting)?;
    evaluation.print(args.json)?;
    private::verdict(&evaluation)
}

/// Random weights at the bits asked for, named after all of it: `cifar-resnet32-w2a6-f2x2-random`.
fn network(args: &BenchModelArgs) -> Result<Checkpoint, Failure> {
    let mut arch =
        Arch::by_name(&args.arch, args.classes.map_or_else(|| Arch::usual_classes(&args.arch), usize::from))?;
    let algorithm = match args.tile {
        Tile::Direct => Algorithm::Direct,
        Tile::Two => Algorithm::F2x2,
        Tile::Four => Algorithm::F4x4,
        Tile::Phases => Algorithm::P2x2,
    };
    let plan = BitPlan::uniform(&arch, args.weight_bits, args.act_bits).with_tiles(&arch, algorithm);
    let (weight, act) = (args.weight_bits, args.act_bits);
    arch.name = format!("{}-w{weight}a{act}-{}-random", args.arch, algorithm.name());
    let bar = Progress::new("random weights");
    Ok(random::checkpoint(&arch, &plan, args.seed, &|done, total| bar.set(done, total))?)
}

/// Where the server process finds the checkpoint.
struct Place {
    path: PathBuf,
    /// Removed with this value.
    _folder: Option<TempDir>,
}

impl Place {
    fn of(args: &BenchModelArgs) -> Result<Self, Failure> {
        if let Some(path) = &args.save {
            return Ok(Self { path: path.clone(), _folder: None });
        }
        let folder = tempfile::Builder::new().prefix("eqo-bench-").tempdir().map_err(|error| {
            let next = "make room in the folder for temporary files, set TMPDIR, or pass --save FILE";
            Failure::new(Kind::Data, format!("temporary folder: create failed: {error}; {next}"))
        })?;
        Ok(Self { path: folder.path().join("model.safetensors"), _folder: Some(folder) })
    }
}
