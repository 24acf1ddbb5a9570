//! Which images each step sees, and a thread that prepares them ahead.
//!
//! Order and augmentation are functions of (seed, epoch, image), never of what ran before: a resumed run sees the
//! same batches.

use std::ops::Range;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;

use eqo_datasets::Dataset;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::augment::Augment;

/// Batches prepared ahead of the step that runs.
const AHEAD: usize = 2;

/// Images of one step.
pub(super) struct Batch {
    /// `[count, CHANNELS, height, width]`.
    pub(super) pixels: Vec<u8>,
    /// `[count]`.
    pub(super) labels: Vec<u16>,
}

/// The order of the images.
#[derive(Clone, Copy)]
pub(super) struct Order {
    images: usize,
    batch: usize,
    seed: u64,
}

impl Order {
    /// Both counts at least 1.
    pub(super) fn new(images: usize, batch_size: usize, seed: u64) -> Self {
        Self { images, batch: batch_size.min(images), seed }
    }

    /// Full batches in an epoch, at least 1.
    pub(super) fn steps_per_epoch(&self) -> usize {
        self.images / self.batch
    }

    /// The epoch that `step` belongs to, both from 0.
    pub(super) fn epoch(&self, step: usize) -> usize {
        step / self.steps_per_epoch()
    }

    fn permutation(&self, epoch: usize) -> Vec<usize> {
        let mut images: Vec<usize> = (0..self.images).collect();
        images.shuffle(&mut self.rng(epoch, u64::MAX));
        images
    }

    /// `subject` is an image, or the largest number for the order itself.
    fn rng(&self, epoch: usize, subject: u64) -> ChaCha8Rng {
        let mut seed = [0; 32];
        for (bytes, word) in seed.chunks_exact_mut(8).zip([self.seed, epoch as u64, subject]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        ChaCha8Rng::from_seed(seed)
    }
}

/// The batches of `steps` in order, prepared by a thread that ends when the receiver is dropped.
pub(super) fn prefetch<'scope>(
    scope: &'scope Scope<'scope, '_>,
    images: &'scope Dataset,
    order: Order,
    augment: Augment,
    steps: Range<usize>,
) -> Receiver<Batch> {
    let (sender, receiver) = sync_channel(AHEAD);
    scope.spawn(move || {
        let mut current = None;
        for step in steps {
            let epoch = order.epoch(step);
            if current.as_ref().is_none_or(|(of, _)| *of != epoch) {
                current = Some((epoch, order.permutation(epoch)));
            }
            let Some((_, permutation)) = &current else { return };
            let start = step % order.steps_per_epoch() * order.batch;
            let batch = assemble(images, order, augment, epoch, &permutation[start..start + order.batch]);
            if sender.send(batch).is_err() {
                return;
            }
        }
    });
    receiver
}

fn assemble(images: &Dataset, order: Order, augment: Augment, epoch: usize, chosen: &[usize]) -> Batch {
    let size = [images.height(), images.width()];
    let mut pixels = Vec::with_capacity(chosen.len() * images.image(0).len());
    for &index in chosen {
        augment.append(images.image(index), size, &mut order.rng(epoch, index as u64), &mut pixels);
    }
    Batch { pixels, labels: chosen.iter().map(|&index| images.label(index)).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eqo_datasets::{Normalization, synthetic};

    fn collect(images: &Dataset, order: Order, steps: Range<usize>) -> Vec<(Vec<u8>, Vec<u16>)> {
        let augment = Augment::new(2, true, &Normalization::SYNTHETIC);
        std::thread::scope(|scope| {
            let batches = prefetch(scope, images, order, augment, steps);
            batches.iter().map(|batch| (batch.pixels, batch.labels)).collect()
        })
    }

    #[test]
    fn starting_late_gives_the_same_batches_as_starting_at_the_beginning() {
        let images = synthetic::generate(1, 23);
        let order = Order::new(23, 5, 9);
        assert_eq!(order.steps_per_epoch(), 4);
        let all = collect(&images, order, 0..11);
        assert_eq!(all.len(), 11);
        assert_eq!(all[6..], collect(&images, order, 6..11));
        assert_ne!(all, collect(&images, Order::new(23, 5, 10), 0..11));
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
        let batches = collect(&images, Order::new(1, 8, 3), 0..6);
        let distinct: std::collections::BTreeSet<_> = batches.into_iter().collect();
        assert!(distinct.len() > 3, "{}", distinct.len());
    }

    #[test]
    fn dropping_the_receiver_ends_the_thread() {
        let images = synthetic::generate(1, 4);
        let order = Order::new(4, 2, 3);
        std::thread::scope(|scope| {
            let augment = Augment::new(0, false, &Normalization::SYNTHETIC);
            let batches = prefetch(scope, &images, order, augment, 0..usize::MAX);
            assert_eq!(batches.iter().take(3).count(), 3);
        });
    }
}
