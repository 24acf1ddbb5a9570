//! Which images each step sees, and a thread that prepares them ahead.
//!
//! Order and augmentation are functions of (seed, epoch, image), never of what ran before or of how many threads there
//! are: a resumed run sees the same batches.

use std::ops::Range;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::Scope;
use std::time::{Duration, Instant};

use eqo_datasets::{CHANNELS, Dataset};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::augment::Augment;

/// Most batches prepared ahead of the step that runs.
const MOST_AHEAD: usize = 8;
/// Pixels prepared ahead, in bytes, unless two batches are more.
const BYTES_AHEAD: usize = 128 << 20;

/// Images of one step.
pub(super) struct Batch {
    /// `[count, CHANNELS, height, width]`, size as [`Source::size`].
    pub(super) pixels: Vec<u8>,
    /// `[count]`.
    pub(super) labels: Vec<u16>,
    /// How long the trainer waited for it.
    pub(super) waited: Duration,
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

/// Where batches come from.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) images: &'a Dataset,
    pub(super) order: Order,
    pub(super) augment: Augment,
}

impl<'a> Source<'a> {
    /// The batches of `steps` in order, prepared ahead by a thread that ends when the receiver is dropped.
    pub(super) fn prefetch<'scope>(self, scope: &'scope Scope<'scope, '_>, steps: Range<usize>) -> Batches
    where
        'a: 'scope,
    {
        let mut permutation = (usize::MAX, Vec::new());
        let make = move |step| {
            let epoch = self.order.epoch(step);
            if permutation.0 != epoch {
                permutation = (epoch, self.order.permutation(epoch));
            }
            let start = step % self.order.steps_per_epoch() * self.order.batch;
            self.batch(epoch, &permutation.1[start..start + self.order.batch])
        };
        prefetch(scope, steps, self.ahead(), make)
    }

    /// Batches kept ready: enough to ride out a slow one, within bounded memory.
    fn ahead(&self) -> usize {
        (BYTES_AHEAD / (self.order.batch * self.image_bytes()).max(1)).clamp(2, MOST_AHEAD)
    }

    fn image_bytes(&self) -> usize {
        CHANNELS * self.images.height() * self.images.width()
    }

    /// One image's augmentation is a task: all cores share a batch.
    fn batch(&self, epoch: usize, chosen: &[usize]) -> Batch {
        let size = [self.images.height(), self.images.width()];
        let each = self.image_bytes();
        let mut pixels = vec![0; chosen.len() * each];
        pixels.par_chunks_exact_mut(each).zip(chosen).for_each(|(place, &index)| {
            let mut rng = self.order.rng(epoch, index as u64);
            self.augment.draw(self.images.image(index), size, &mut rng, place);
        });
        let labels = chosen.iter().map(|&index| self.images.label(index)).collect();
        Batch { pixels, labels, waited: Duration::ZERO }
    }
}

/// Prepared batches; each knows how long [`next`](Iterator::next) waited for it.
pub(super) struct Batches(Receiver<Batch>);

impl Iterator for Batches {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let asked = Instant::now();
        let batch = self.0.recv().ok()?;
        Some(Batch { waited: asked.elapsed(), ..batch })
    }
}

/// `make(step)` for each of `steps`, at most `ahead` of them waiting to be taken.
fn prefetch<'scope>(
    scope: &'scope Scope<'scope, '_>,
    steps: Range<usize>,
    ahead: usize,
    mut make: impl FnMut(usize) -> Batch + Send + 'scope,
) -> Batches {
    let (sender, receiver) = sync_channel(ahead);
    scope.spawn(move || {
        for step in steps {
            if sender.send(make(step)).is_err() {
                return;
            }
        }
    });
    Batches(receiver)
}

#[cfg(test)]
mod tests;
