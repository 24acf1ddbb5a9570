//! `eqo bench model`: private inference of a network nobody trained.

use eqo_checkpoints::arch::Arch;
use eqo_checkpoints::plan::BitPlan;
use eqo_checkpoints::{Checkpoint, random};

use super::place::Place;
use crate::args::BenchModelArgs;
use crate::exit::Failure;
use crate::progress::Progress;
use crate::{images, interrupt, private};

pub(crate) fn run(args: &BenchModelArgs) -> Result<(), Failure> {
    // From here on Ctrl-C ends the command in order, so that its temporary file goes with it.
    interrupt::watch()?;
    let checkpoint = network(args)?;
    let place = Place::new(args.save.as_deref())?;
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
    let algorithm = args.tile.algorithm();
    let plan = BitPlan::uniform(&arch, args.weight_bits, args.act_bits).with_tiles(&arch, algorithm);
    let (weight, act) = (args.weight_bits, args.act_bits);
    arch.name = format!("{}-w{weight}a{act}-{}-random", args.arch, algorithm.name());
    let bar = Progress::new("random weights");
    Ok(random::checkpoint(&arch, &plan, args.seed, &|done, total| bar.set(done, total))?)
}
