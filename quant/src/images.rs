//! The images a recipe names: training, calibration and test sets.

use eqo_datasets::cache::CachePlace;
use eqo_datasets::folder::FolderOptions;
use eqo_datasets::split::stratified_order;
use eqo_datasets::{Dataset, Progress, Resize, Split, cifar, folder, synthetic};
use eqo_train::recipe::{DataKind, DataSection, RecipeError};

use crate::Error;

/// The sets of one recipe.
pub struct Images {
    /// What training draws from.
    pub train: Dataset,
    /// What was held out of it to validate the training (`data.validation_images`).
    pub validation: Option<Dataset>,
    /// A stratified sample of the training set: chooses scales, verifies the lowering. Never test images.
    pub calibration: Dataset,
    /// What accuracy is measured on.
    pub test: Dataset,
    /// Files left out because they couldn't be decoded (`data.skip_corrupt`).
    pub skipped: usize,
}

/// Reads or generates the sets of `section` for a network whose images have this (height, width).
///
/// Images of folders are resized; training images may stay larger than the network's, for resized crops. The sets of 32x32
/// images are brought to a network's size, so that any network can be tried on them.
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
    let (train, test) = match section.kind {
        DataKind::Folder => (train, test),
        _ => (as_tested(train, section, size)?, as_tested(test, section, size)?),
    };
    if train.classes() != test.classes() {
        return Err(Error::Classes { train: train.classes().to_vec(), test: test.classes().to_vec() });
    }
    let (train, validation) = hold_out(train, section.validation_images, seed)?;
    let order = stratified_order(&train, seed);
    let calibration = train.subset(&order[..section.calibration_images.min(order.len())]);
    let calibration = as_tested(calibration, section, size)?;
    let validation = validation.map(|images| as_tested(images, section, size)).transpose()?;
    Ok(Images { train, validation, calibration, test, skipped })
}

/// Takes `count` images, classes in proportion, out of the training set.
fn hold_out(train: Dataset, count: usize, seed: u64) -> Result<(Dataset, Option<Dataset>), Error> {
    if count == 0 {
        return Ok((train, None));
    }
    if count >= train.len() {
        return Err(RecipeError::Value {
            key: "data.validation_images".to_owned(),
            expected: "fewer than the training images",
            found: format!("{count} of {}", train.len()),
        }
        .into());
    }
    let mut order = stratified_order(&train, seed);
    let mut rest = order.split_off(count);
    rest.sort_unstable();
    Ok((train.subset(&rest), Some(train.subset(&order))))
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
pub(crate) fn as_tested(images: Dataset, section: &DataSection, size: [usize; 2]) -> Result<Dataset, Error> {
    match test_resize(section, size) {
        Some(resize) if [images.height(), images.width()] != size => Ok(images.resized(&resize)?),
        _ => Ok(images),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn open_with(validation_images: usize) -> Result<Images, Error> {
        let section =
            DataSection { train_images: 60, test_images: 10, validation_images, ..DataSection::default() };
        open(&section, 3, [32, 32], &|_, _| ())
    }

    #[test]
    fn validation_images_are_balanced_and_nothing_else_sees_them() {
        let whole = open_with(0).unwrap();
        assert!(whole.validation.is_none());
        let held = open_with(20).unwrap();
        let validation = held.validation.unwrap();
        let set =
            |images: &Dataset| (0..images.len()).map(|i| images.image(i).to_vec()).collect::<BTreeSet<_>>();
        let (kept, out) = (set(&held.train), set(&validation));
        assert_eq!((kept.len(), out.len()), (40, 20));
        assert!(kept.is_disjoint(&out) && out.is_disjoint(&set(&held.calibration)));
        assert_eq!(&kept | &out, set(&whole.train));
        let counts = (0..10).map(|class| validation.labels().iter().filter(|&&label| label == class).count());
        assert!(counts.into_iter().all(|count| count == 2));
        assert_eq!(set(&held.test), set(&whole.test));
    }

    #[test]
    fn the_built_in_set_comes_in_the_size_of_the_network() {
        let section = DataSection { train_images: 6, test_images: 4, ..DataSection::default() };
        let images = open(&section, 3, [64, 64], &|_, _| ()).unwrap();
        for set in [&images.train, &images.test, &images.calibration] {
            assert_eq!((set.height(), set.width()), (64, 64));
        }
        let small = open(&section, 3, [32, 32], &|_, _| ()).unwrap();
        let mean = |set: &Dataset| {
            set.pixels().iter().map(|&x| f64::from(x)).sum::<f64>() / set.pixels().len() as f64
        };
        assert!((mean(&images.test) - mean(&small.test)).abs() < 1.0);
    }

    #[test]
    fn holding_out_everything_is_refused_by_key() {
        let error = open_with(60).err().unwrap().to_string();
        assert!(error.contains("data.validation_images") && error.contains("60 of 60"), "{error}");
    }
}
