//! The private protocol applies the engine's layout to shares and to batches; both give what it gives one plain image.

use eqo_checkpoints::Checkpoint;
use eqo_checkpoints::graph::{Conv, Op};
use eqo_checkpoints::layout::{ConvLayout, shortcut, sum_pool};
use eqo_checkpoints::testing::{Spec, random_checkpoint};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const BATCH: usize = 3;

proptest! {
    #[test]
    fn gather_and_scatter_commute_with_sharing_and_batching(seed in any::<u64>()) {
        let checkpoint = random_checkpoint(seed, &Spec::random(seed));
        for (conv, layout, input, _) in convolutions(&checkpoint) {
            commutes(seed, input.iter().product(), |images: &[u64]| layout.gather(images), layout.columns());
            let products = layout.taps() * conv.out_channels * layout.columns();
            let scatter = |products: &[u64]| layout.scatter(products);
            let [first, second] = shares(seed, products);
            prop_assert_eq!(sum(&scatter(&first), &scatter(&second)), scatter(&sum(&first, &second)));
        }
    }

    #[test]
    fn shortcuts_and_sums_commute_with_sharing(seed in any::<u64>()) {
        let checkpoint = random_checkpoint(seed, &Spec::every_kind());
        for (conv, _, _, output) in convolutions(&checkpoint) {
            let Some(spec) = &conv.shortcut else { continue };
            let from = checkpoint.graph().shape(spec.input);
            let add = |values: &[u64]| shortcut(spec, from, output, values);
            let [first, second] = shares(seed, BATCH * from.iter().product::<usize>());
            prop_assert_eq!(sum(&add(&first), &add(&second)), add(&sum(&first, &second)));
            let pool = |values: &[u64]| sum_pool(from[1] * from[2], values);
            prop_assert_eq!(sum(&pool(&first), &pool(&second)), pool(&sum(&first, &second)));
        }
    }

    #[test]
    fn scattering_a_batch_equals_scattering_its_images(seed in any::<u64>()) {
        let checkpoint = random_checkpoint(seed, &Spec::random(seed));
        for (conv, layout, _, _) in convolutions(&checkpoint) {
            let (rows, columns) = (layout.taps() * conv.out_channels, layout.columns());
            let [products, _] = shares(seed, rows * BATCH * columns);
            let images: Vec<u64> = (0..BATCH)
                .flat_map(|image| layout.scatter(&columns_of(&products, image, columns)))
                .collect();
            prop_assert_eq!(layout.scatter(&products), images);
        }
    }
}

/// `f` of a batch of shares equals, column by column, `f` of each image's sum.
fn commutes(seed: u64, elements: usize, f: impl Fn(&[u64]) -> Vec<u64>, columns: usize) {
    let [first, second] = shares(seed, BATCH * elements);
    let batch = sum(&f(&first), &f(&second));
    for (image, plain) in sum(&first, &second).chunks(elements).enumerate() {
        assert_eq!(columns_of(&batch, image, columns), f(plain), "image {image}");
    }
}

/// The columns of one image out of rows that hold a batch.
fn columns_of(rows: &[u64], image: usize, columns: usize) -> Vec<u64> {
    rows.chunks(BATCH * columns).flat_map(|row| &row[image * columns..][..columns]).copied().collect()
}

fn convolutions(checkpoint: &Checkpoint) -> Vec<(&Conv, ConvLayout, [usize; 3], [usize; 3])> {
    let graph = checkpoint.graph();
    let nodes = graph.nodes().iter().enumerate();
    nodes
        .filter_map(|(id, node)| match &node.op {
            Op::Conv(conv) => {
                let (input, output) = (graph.shape(conv.input), graph.shape(id));
                Some((conv, ConvLayout::new(conv, input, output), input, output))
            }
            Op::Input(_) | Op::MaxPool(_) | Op::SumPool { .. } => None,
        })
        .collect()
}

fn shares(seed: u64, count: usize) -> [Vec<u64>; 2] {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    [0, 1].map(|_| (0..count).map(|_| rng.random()).collect())
}

fn sum(first: &[u64], second: &[u64]) -> Vec<u64> {
    first.iter().zip(second).map(|(a, b)| a.wrapping_add(*b)).collect()
}
