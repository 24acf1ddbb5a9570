//! The images a recipe names: training, calibration and test sets.

use eqo_datasets::cache::CachePlace;
use eqo_datasets::folder::FolderOptions;
use eqo_datasets::split::stratified_order;
use eqo_datasets::{Dataset, Progress, Split, cifar, folder, synthetic};
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

/// Reads or generates the sets of `section`.
///
/// # Errors
/// Those of the readers in [`eqo_datasets`]; test classes must be the training classes.
pub fn open(section: &DataSection, seed: u64, progress: Progress<'_>) -> Result<Images, Error> {
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
            let options = FolderOptions { skip_corrupt: section.skip_corrupt, ..FolderOptions::default() };
            let place = CachePlace::from_setting(&section.cache);
            let (train, left_out) = folder::read_cached(&section.train, &options, &place, progress)?;
            let options = FolderOptions { expected_classes: Some(train.classes().len()), ..options };
            let (test, left_out_of_test) = folder::read_cached(&section.test, &options, &place, progress)?;
            (train, test, left_out.len() + left_out_of_test.len())
        }
    };
    if train.classes() != test.classes() {
        return Err(Error::Classes { train: train.classes().to_vec(), test: test.classes().to_vec() });
    }
    let order = stratified_order(&train, seed);
    let calibration = train.subset(&order[..section.calibration_images.min(order.len())]);
    Ok(Images { train, calibration, test, skipped })
}
