//! Many images on all cores.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Engine;
use crate::Error;

impl Engine {
    /// Logits of consecutive images, `pixels` being `[images][channels][height][width]`, in the same order.
    ///
    /// Runs on every core; `progress` is told (images done, images in all) from any of them.
    ///
    /// # Errors
    /// [`Error::Image`] unless `pixels` is a whole number of images of the graph's shape.
    pub fn run_all(
        &self,
        pixels: &[u8],
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Vec<Vec<i64>>, Error> {
        let expected = self.graph.shape(0);
        let each: usize = expected.iter().product();
        if !pixels.len().is_multiple_of(each) {
            return Err(Error::Image { expected, found: pixels.len() });
        }
        let images: Vec<&[u8]> = pixels.chunks_exact(each).collect();
        let next = AtomicUsize::new(0);
        let done = AtomicUsize::new(0);
        let results: Mutex<Vec<Result<_, Error>>> =
            Mutex::new(images.iter().map(|_| Ok(Vec::new())).collect());
        let work = || {
            while let Some(index) = claim(&next, images.len()) {
                let logits = self.run(images[index]);
                // A poisoned lock means another worker panicked; the scope then panics anyway.
                results.lock().unwrap_or_else(std::sync::PoisonError::into_inner)[index] = logits;
                progress(done.fetch_add(1, Ordering::Relaxed) + 1, images.len());
            }
        };
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(images.len().max(1));
        std::thread::scope(|scope| {
            for _ in 1..workers {
                scope.spawn(work);
            }
            work();
        });
        results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).into_iter().collect()
    }
}

fn claim(next: &AtomicUsize, count: usize) -> Option<usize> {
    Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&index| index < count)
}

/// The class of the largest logit, the first of equal ones.
pub fn class_of(logits: &[i64]) -> usize {
    logits.iter().enumerate().rev().max_by_key(|&(_, logit)| logit).map_or(0, |(class, _)| class)
}
