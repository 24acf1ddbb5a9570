//! Labelled images for an evaluation.

use std::path::Path;

use eqo_checkpoints::random;
use eqo_datasets::folder::FolderOptions;
use eqo_datasets::split::stratified_order;
use eqo_datasets::{Dataset, Resize, Split, load_image, synthetic};

use crate::exit::{Failure, Kind};
use crate::progress::{self, Progress};

/// The name that stands for the built-in set.
const SYNTHETIC: &str = "synthetic";

/// Images of the built-in set when no number is given.
const SYNTHETIC_IMAGES: usize = 1000;

/// More bytes of generated images are refused: they are all kept in memory. 100,000 images of 32x32.
const MOST_GENERATED: usize = 100_000 * 3 * 32 * 32;

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
        in_memory(count, choice.size)?;
        let images = synthetic::generate_test(choice.seed, count);
        return match to_fit(choice.size) {
            Some(resize) if [images.height(), images.width()] != choice.size => {
                Ok((images.resized(&resize)?, 0))
            }
            _ => Ok((images, 0)),
        };
    }
    let options = FolderOptions {
        resize: to_fit(choice.size),
        expected_classes: choice.classes,
        skip_corrupt: choice.skip_corrupt,
    };
    let bar = Progress::new("reading images");
    let (dataset, skipped) =
        eqo_datasets::open(choice.data, Split::Test, &options, &|done, total| bar.set(done, total))?;
    drop(bar);
    skipped.iter().for_each(|error| progress::line(&format!("skipped: {error}")));
    match choice.images {
        Some(count) if count < dataset.len() => Ok((sample(&dataset, count, choice.seed), skipped.len())),
        _ => Ok((dataset, skipped.len())),
    }
}

/// `count` images of `dataset`, or all if it has fewer, classes in proportion.
pub(crate) fn sample(dataset: &Dataset, count: usize, seed: u64) -> Dataset {
    let order = stratified_order(dataset, seed);
    dataset.subset(&order[..count.min(order.len())])
}

/// `count` random images, `[images][channels][height][width]`, for a network that only gets measured.
pub(crate) fn random(seed: u64, count: usize, shape: [usize; 3]) -> Result<Vec<u8>, Failure> {
    in_memory(count, [shape[1], shape[2]])?;
    Ok(random::images(seed, count, shape))
}

/// Refuses more generated images than memory should hold.
fn in_memory(count: usize, [height, width]: [usize; 2]) -> Result<(), Failure> {
    let most = MOST_GENERATED / (3 * height * width).max(1);
    if count <= most {
        return Ok(());
    }
    let message = format!("--images: expected at most {most} generated images, found {count}; ask for fewer");
    Err(Failure::new(Kind::Usage, message))
}

/// One image at the network's size.
pub(crate) fn load(path: &Path, [height, width]: [usize; 2]) -> Result<Vec<u8>, Failure> {
    let image = load_image(path, to_fit([height, width]))?;
    if [image.height(), image.width()] == [height, width] {
        return Ok(image.into_pixels());
    }
    let (path, found) = (path.display(), [image.height(), image.width()]);
    let message = format!(
        "{path}: expected {height} x {width} pixels, found {} x {}; resize it first",
        found[0], found[1]
    );
    Err(Failure::new(Kind::Data, message))
}

/// The resize that makes any image as large as a network with square images wants it; images of that size stay as they
/// are. Other networks get their images as they are.
fn to_fit([height, width]: [usize; 2]) -> Option<Resize> {
    (height == width).then_some(Resize { shorter_side: height, centre_crop: Some(height) })
}
