//! Message buffers that a connection uses again, so that bulk data doesn't cost fresh pages for every frame.

use std::sync::{Arc, Mutex, PoisonError};

use super::MAX_FRAME;

/// Buffers below this size are cheaper to allocate than to keep.
const SMALLEST: usize = 64 << 10;

/// What a kept buffer holds at least, so that one serves frames of any length and a packed frame with the row that overflows it.
const CAPACITY: usize = MAX_FRAME + SMALLEST;

/// How many are kept, at most: what both queues of a channel hold.
const KEPT: usize = 16;

/// Used buffers of one connection. They hold stale messages, which both parties know.
#[derive(Clone, Default)]
pub(super) struct Pool(Arc<Mutex<Vec<Vec<u8>>>>);

impl Pool {
    /// A buffer of `len` bytes of no meaning.
    pub(super) fn take(&self, len: usize) -> Vec<u8> {
        if len < SMALLEST {
            return vec![0; len];
        }
        let used = self.buffers().pop();
        let mut buffer = used.unwrap_or_else(|| Vec::with_capacity(CAPACITY.max(len)));
        buffer.resize(len, 0);
        buffer
    }

    /// Keeps `buffer` for later, if it is worth it.
    pub(super) fn give(&self, buffer: Vec<u8>) {
        let mut buffers = self.buffers();
        if (CAPACITY..=2 * CAPACITY).contains(&buffer.capacity()) && buffers.len() < KEPT {
            buffers.push(buffer);
        }
    }

    fn buffers(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        // No code that holds the lock can panic half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_have_the_length_asked_for_and_the_pool_stays_small() {
        let pool = Pool::default();
        for len in [0, 1, SMALLEST, MAX_FRAME, SMALLEST, MAX_FRAME + 9, 5 * MAX_FRAME] {
            (0..2 * KEPT).for_each(|_| pool.give(vec![7; len]));
            assert!(pool.buffers().len() <= KEPT);
            for len in [0, SMALLEST - 1, SMALLEST, MAX_FRAME] {
                assert_eq!(pool.take(len).len(), len);
            }
        }
        assert!(pool.buffers().iter().all(|buffer| buffer.capacity() <= 2 * CAPACITY));
    }
}
