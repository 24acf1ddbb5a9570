//! The images a recipe names: training, calibration and test sets.

use eqo_datasets::cache::CachePlace;
use eqo_datasets::folder::FolderOptions;
use eqo_datasets::split::stratified_order;
use eqo_datasets::{Dataset, Progress, Resize, Split, cifar, folder, synthetic};
use eqo_train::recipe::{DataKind, DataSection};

use crate::Error;

/// The sets of one recipe.
pub struct Images {
    /// What training draws from.
    pub train: Dataset,
    /// A stratified sample of the training set: chooses scales, verifies the lowering. Never test images.
    pub calibration: Dataset,
    /// What accuracy is measured on.
    pub test: Dataset,
    /// Files left out because they couldn't be decoded (`data.skip_corrupt`).
    pub skipped: usize,
}

/// Reads or generates the sets of `section` for a network whose images have this (height, width).
///
/// Images of folders are resized; training images may stay larger than the network's, for resized crops.
///
/// # Errors
/// Those of the readers in [`eqo_datasets`]; test classes must be the training classes.
pub fn open(
    section: &DataSection,
    seed: u64,
    size: [usize; 2],
    progress: Progress<'_>,
) -> Result<Images, Error> {
    let (train, test, skipped) = match section.kind {
        DataKind::Synthetic => {
            let train = synthetic::generate(seed, section.train_images);
            (train, synthetic::generate_test(seed, section.test_images), 0)
        }
        DataKind::Cifar10 => (
            cifar::read_cifar10(&section.train, Split::Train)?,
            cifar::read_cifar10(&section.train, Split::Test)?,
            0,
        ),
        DataKind::Cifar100 => (
            cifar::read_cifar100(&section.train, Split::Train)?,
            cifar::read_cifar100(&section.train, Split::Test)?,
            0,
        ),
        DataKind::Folder => {
            let options = FolderOptions {
                resize: training_resize(section, size),
                skip_corrupt: section.skip_corrupt,
                ..FolderOptions::default()
            };
            let place = CachePlace::from_setting(&section.cache);
            let (train, left_out) = folder::read_cached(&section.train, &options, &place, progress)?;
            let options = FolderOptions {
                resize: test_resize(section, size),
                expected_classes: Some(train.classes().len()),
                ..options
            };
            let (test, left_out_of_test) = folder::read_cached(&section.test, &options, &place, progress)?;
            (train, test, left_out.len() + left_out_of_test.len())
        }
    };
    if train.classes() != test.classes() {
        return Err(Error::Classes { train: train.classes().to_vec(), test: test.classes().to_vec() });
    }
    let order = stratified_order(&train, seed);
    let calibration = train.subset(&order[..section.calibration_images.min(order.len())]);
    let calibration = as_tested(calibration, section, size)?;
    Ok(Images { train, calibration, test, skipped })
}

/// The middle square of each training image.
fn training_resize(section: &DataSection, [height, width]: [usize; 2]) -> Option<Resize> {
    let side = if section.train_resize > 0 { section.train_resize } else { height };
    (height == width).then_some(Resize { shorter_side: side, centre_crop: Some(side) })
}

/// What networks with square images are tested on; others get images as they are.
fn test_resize(section: &DataSection, [height, width]: [usize; 2]) -> Option<Resize> {
    let shorter_side = if section.test_resize > 0 { section.test_resize } else { height };
    (height == width).then_some(Resize { shorter_side, centre_crop: Some(height) })
}

/// Training images that were kept larger than the network's, as test images would be seen.
fn as_tested(images: Dataset, section: &DataSection, size: [usize; 2]) -> Result<Dataset, Error> {
    match test_resize(section, size) {
        Some(resize) if [images.height(), images.width()] != size => Ok(images.resized(&resize)?),
        _ => Ok(images),
    }
}
