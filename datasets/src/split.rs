//! Deterministic, class-balanced division of a dataset into train, calibration and test.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::dataset::Dataset;
use crate::error::{Error, Result};

/// How many images leave the training part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitSizes {
    /// Images for calibration (activation ranges, Hessian traces).
    pub calibration: usize,
    /// Images held out for accuracy.
    pub test: usize,
}

/// Indices of three disjoint parts that together cover the dataset; pass them to [`Dataset::subset`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splits {
    /// Everything that isn't calibration or test.
    pub train: Vec<usize>,
    /// `SplitSizes::calibration` images.
    pub calibration: Vec<usize>,
    /// `SplitSizes::test` images.
    pub test: Vec<usize>,
}

/// Splits `dataset` by `seed`; the same dataset, seed and sizes always give the same parts.
///
/// Each part has the classes in the proportions of the whole, up to rounding.
/// The test part depends on its own size only, so changing the calibration size leaks nothing into it.
///
/// # Errors
/// [`Error::Split`] when the sizes exceed the dataset.
pub fn split(dataset: &Dataset, seed: u64, sizes: SplitSizes) -> Result<Splits> {
    let SplitSizes { calibration, test } = sizes;
    let images = dataset.len();
    let held_out = calibration.checked_add(test).filter(|&held_out| held_out <= images);
    let Some(held_out) = held_out else {
        return Err(Error::Split { name: dataset.name().to_owned(), images, calibration, test });
    };
    let order = stratified_order(dataset, seed);
    Ok(Splits {
        test: order[..test].to_vec(),
        calibration: order[test..held_out].to_vec(),
        train: order[held_out..].to_vec(),
    })
}

/// All indices in a seeded random order of which **every prefix** has the classes in proportion,
/// up to rounding. The first n are a fair sample for `--images n`.
#[must_use]
pub fn stratified_order(dataset: &Dataset, seed: u64) -> Vec<usize> {
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); dataset.classes().len()];
    for (index, &label) in dataset.labels().iter().enumerate() {
        members[usize::from(label)].push(index);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // Ties between classes are broken by a random class order, so no class is always first.
    members.shuffle(&mut rng);
    let mut order = Vec::with_capacity(dataset.len());
    for class in &mut members {
        class.shuffle(&mut rng);
        let size = class.len() as u64;
        // Image r of a class of n stands at fraction (2r + 1) / 2n of the order, in 32-bit fixed point.
        let place = |rank: usize| ((2 * rank as u64 + 1) << 32) / (2 * size);
        order.extend(class.iter().enumerate().map(|(rank, &index)| (place(rank), index)));
    }
    order.sort_by_key(|&(place, _)| place); // stable: equal places keep the random class order
    order.into_iter().map(|(_, index)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labelled(labels: Vec<u16>) -> Dataset {
        let classes = (0..4).map(|class| class.to_string()).collect();
        Dataset::new("labels", classes, (1, 1), vec![0; 3 * labels.len()], labels).unwrap()
    }

    proptest! {
        #[test]
        fn splits_are_disjoint_covering_stratified_and_repeatable(
            labels in prop::collection::vec(0_u16..4, 1..200),
            seed: u64,
            calibration in 0.0..0.5_f64,
            test in 0.0..0.5_f64,
        ) {
            let dataset = labelled(labels);
            let images = dataset.len() as f64;
            let sizes =
                SplitSizes { calibration: (calibration * images) as usize, test: (test * images) as usize };
            let splits = split(&dataset, seed, sizes).unwrap();
            prop_assert_eq!(&split(&dataset, seed, sizes).unwrap(), &splits);
            prop_assert_eq!((splits.calibration.len(), splits.test.len()), (sizes.calibration, sizes.test));

            let mut all = [&splits.train[..], &splits.calibration, &splits.test].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..dataset.len()).collect::<Vec<_>>());

            let found = dataset.subset(&splits.test).class_sizes();
            for (found, whole) in found.into_iter().zip(dataset.class_sizes()) {
                let fair = whole as f64 * sizes.test as f64 / images;
                prop_assert!((found as f64 - fair).abs() <= 2.5, "{found} of {whole}, fair {fair}");
            }
        }
    }

    #[test]
    fn balanced_classes_split_exactly_evenly() {
        let dataset = labelled((0..400).map(|i| i % 4).collect());
        let splits = split(&dataset, 7, SplitSizes { calibration: 40, test: 100 }).unwrap();
        assert_eq!(dataset.subset(&splits.test).class_sizes(), [25; 4]);
        assert_eq!(dataset.subset(&splits.calibration).class_sizes(), [10; 4]);
        assert_eq!(dataset.subset(&splits.train).class_sizes(), [65; 4]);
    }

    #[test]
    fn another_seed_gives_another_split_and_too_large_sizes_are_refused() {
        let dataset = labelled((0..100).map(|i| i % 4).collect());
        let sizes = SplitSizes { calibration: 10, test: 10 };
        assert_ne!(split(&dataset, 1, sizes).unwrap(), split(&dataset, 2, sizes).unwrap());
        for (calibration, test) in [(50, 51), (usize::MAX, 2)] {
            let refused = split(&dataset, 1, SplitSizes { calibration, test });
            assert!(matches!(refused, Err(Error::Split { images: 100, .. })));
        }
    }
}
