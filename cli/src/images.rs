//! Labelled images for an evaluation.

use std::path::Path;

use eqo_datasets::folder::FolderOptions;
use eqo_datasets::split::stratified_order;
use eqo_datasets::{Dataset, Resize, Split, synthetic};

use crate::exit::Failure;
use crate::progress::{self, Progress};

/// The name that stands for the built-in set.
const SYNTHETIC: &str = "synthetic";

/// Images of the built-in set when no number is given.
const SYNTHETIC_IMAGES: usize = 1000;

/// Which images.
pub(crate) struct Choice<'a> {
    /// A directory, or `synthetic`.
    pub(crate) data: &'a Path,
    /// At most this many, classes in proportion.
    pub(crate) images: Option<usize>,
    /// Leave undecodable files out.
    pub(crate) skip_corrupt: bool,
    /// Seed of the built-in set.
    pub(crate) seed: u64,
    /// Classes of the network, if it says.
    pub(crate) classes: Option<usize>,
    /// Height and width of the network's images.
    pub(crate) size: [usize; 2],
}

/// The images chosen, and how many were left out as undecodable.
pub(crate) fn open(choice: &Choice<'_>) -> Result<(Dataset, usize), Failure> {
    if choice.data == Path::new(SYNTHETIC) {
        let count = choice.images.unwrap_or(SYNTHETIC_IMAGES);
        return Ok((synthetic::generate(choice.seed, count), 0));
    }
    let options = FolderOptions {
        resize: Some(to_fit(choice.size)),
        expected_classes: choice.classes,
        skip_corrupt: choice.skip_corrupt,
    };
    let bar = Progress::new("reading images");
    let (dataset, skipped) =
        eqo_datasets::open(choice.data, Split::Test, &options, &|done, total| bar.set(done, total))?;
    drop(bar);
    skipped.iter().for_each(|error| progress::line(&format!("skipped: {error}")));
    let count = choice.images.unwrap_or(dataset.len()).min(dataset.len());
    if count < dataset.len() {
        let order = stratified_order(&dataset, choice.seed);
        return Ok((dataset.subset(&order[..count]), skipped.len()));
    }
    Ok((dataset, skipped.len()))
}

/// The resize that makes any image as large as a network wants it; images of that size stay as they are.
pub(crate) fn to_fit([height, width]: [usize; 2]) -> Resize {
    let side = height.min(width);
    Resize { shorter_side: side, centre_crop: Some(side) }
}
