//! `eqo data`: download and check datasets.

use eqo_datasets::{Manifest, fetch};

use crate::args::{DataArgs, DataCommand};
use crate::exit::{Failure, Kind};
use crate::output;
use crate::progress::Progress;

pub(crate) fn run(command: &DataCommand) -> Result<(), Failure> {
    match command {
        DataCommand::Fetch(args) => {
            let bar = Progress::new(&args.name);
            let folder = fetch::fetch(&manifest(args)?, &args.dir, &|done, total| bar.set(done, total))?;
            output::text(&format!("{}", folder.display()))
        }
        DataCommand::Verify(args) => {
            let manifest = manifest(args)?;
            fetch::verify(&manifest, &args.dir)?;
            let folder = args.dir.join(&manifest.folder);
            output::text(&format!("{}: {} files match", folder.display(), manifest.files.len()))
        }
    }
}

fn manifest(args: &DataArgs) -> Result<Manifest, Failure> {
    let Some(path) = &args.manifest else { return Ok(Manifest::builtin(&args.name)?) };
    let text = std::fs::read_to_string(path).map_err(|error| {
        let next = "pass the manifest of the dataset, such as datasets/manifests/cifar10.toml";
        Failure::new(Kind::Data, format!("{}: can't read the manifest: {error}; {next}", path.display()))
    })?;
    let manifest = Manifest::parse(&text, &path.display().to_string())?;
    if manifest.name == args.name {
        return Ok(manifest);
    }
    let (path, found, asked) = (path.display(), &manifest.name, &args.name);
    Err(Failure::new(
        Kind::Usage,
        format!("{path}: expected the manifest of {asked}, found {found}; name {found} instead"),
    ))
}
