//! Claims about the batches: same bits however many threads, however slow, wherever the run starts.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::*;
use eqo_datasets::{Normalization, synthetic};

fn source(images: &Dataset, batch: usize, seed: u64) -> Source<'_> {
    let augment = Augment::new(2, true, &Normalization::SYNTHETIC);
    Source { images, order: Order::new(images.len(), batch, seed), augment }
}

type Bits = Vec<(Vec<u8>, Vec<u16>)>;

fn bits(batches: Batches) -> Bits {
    batches.map(|batch| (batch.pixels, batch.labels)).collect()
}

fn collect(source: Source<'_>, steps: Range<usize>) -> Bits {
    thread::scope(|scope| bits(source.prefetch(scope, steps)))
}

#[test]
fn starting_late_gives_the_same_batches_as_starting_at_the_beginning() {
    let images = synthetic::generate(1, 23);
    let nine = source(&images, 5, 9);
    assert_eq!(nine.order.steps_per_epoch(), 4);
    let all = collect(nine, 0..11);
    assert_eq!(all.len(), 11);
    assert_eq!(all[6..], collect(nine, 6..11));
    assert_ne!(all, collect(source(&images, 5, 10), 0..11));
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let images = synthetic::generate(1, 40);
    let source = source(&images, 40, 3);
    let chosen: Vec<usize> = (0..40).rev().collect();
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| source.batch(2, &chosen)).pixels
    };
    let one = with(1);
    assert!([2, 3, 7].into_iter().all(|threads| with(threads) == one));
}

#[test]
fn a_slow_producer_and_a_slow_consumer_change_no_bit_and_memory_stays_bounded() {
    let images = synthetic::generate(4, 12);
    let source = source(&images, 4, 7);
    let expected = collect(source, 0..9);
    let chosen = |step: usize| {
        let permutation = source.order.permutation(source.order.epoch(step));
        let start = step % 3 * 4;
        source.batch(source.order.epoch(step), &permutation[start..start + 4])
    };
    let nap = || thread::sleep(Duration::from_millis(3));

    let mut waited = Duration::ZERO;
    let slow: Bits = thread::scope(|scope| {
        let make = |step| {
            nap();
            chosen(step)
        };
        let batches = prefetch(scope, 0..9, 2, make).inspect(|batch| waited += batch.waited);
        batches.map(|batch| (batch.pixels, batch.labels)).collect()
    });
    assert!(slow == expected && waited > Duration::ZERO);

    let (made, mut taken) = (AtomicUsize::new(0), 0);
    let patient: Bits = thread::scope(|scope| {
        let make = |step| {
            made.fetch_add(1, Ordering::SeqCst);
            chosen(step)
        };
        let take = |batch: Batch| {
            nap();
            taken += 1;
            // Two in the queue, one in the maker's hand.
            assert!(made.load(Ordering::SeqCst) <= taken + 3, "memory is bounded");
            (batch.pixels, batch.labels)
        };
        prefetch(scope, 0..9, 2, make).map(take).collect()
    });
    assert_eq!(patient, expected);
}

#[test]
fn large_batches_are_prepared_fewer_at_a_time() {
    let images = synthetic::generate(1, 2);
    let ahead = |images: &Dataset, batch| {
        let order = Order { images: images.len(), batch, seed: 1 };
        Source { order, ..source(images, 1, 1) }.ahead()
    };
    assert_eq!(ahead(&images, 100), MOST_AHEAD);
    assert_eq!(ahead(&images, 10_000), 4);
    assert_eq!(ahead(&images, 1_000_000), 2);
}

#[test]
fn an_epoch_shows_every_image_at_most_once_in_a_new_order() {
    let order = Order::new(20, 5, 3);
    let mut epochs: Vec<Vec<usize>> = (0..2).map(|epoch| order.permutation(epoch)).collect();
    assert_ne!(epochs[0], epochs[1]);
    epochs.iter_mut().for_each(|epoch| epoch.sort_unstable());
    assert!(epochs.iter().all(|epoch| epoch.iter().copied().eq(0..20)));
}

#[test]
fn one_image_is_augmented_differently_in_each_epoch() {
    let images = synthetic::generate(1, 1);
    let batches = collect(source(&images, 8, 3), 0..6);
    let distinct: std::collections::BTreeSet<_> = batches.into_iter().collect();
    assert!(distinct.len() > 3, "{}", distinct.len());
}

#[test]
fn dropping_the_receiver_ends_the_thread() {
    let images = synthetic::generate(1, 4);
    thread::scope(|scope| {
        let batches = source(&images, 2, 3).prefetch(scope, 0..usize::MAX);
        assert_eq!(batches.take(3).count(), 3);
    });
}
