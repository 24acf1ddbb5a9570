//! New buffers that all cores clear, each the part that it is about to write: one core zeroing and faulting in every
//! output took a sixth of a step.
#![allow(unsafe_code, reason = "a vector's length is set once every part of it is written")]

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

/// A buffer of numbers that aren't there yet.
pub(super) struct Fresh {
    numbers: Vec<f32>,
    length: usize,
    /// Numbers of the last split that are zero by now.
    cleared: AtomicUsize,
}

/// A part of a [`Fresh`] buffer that nobody else has.
pub(super) struct Part<'a> {
    numbers: &'a mut [MaybeUninit<f32>],
    cleared: &'a AtomicUsize,
}

impl Fresh {
    pub(super) fn new(length: usize) -> Self {
        Self { numbers: Vec::with_capacity(length), length, cleared: AtomicUsize::new(0) }
    }

    /// Consecutive parts of these lengths, which must not add up to more than the buffer.
    pub(super) fn parts(&mut self, lengths: impl Iterator<Item = usize>) -> impl Iterator<Item = Part<'_>> {
        *self.cleared.get_mut() = 0;
        let (mut rest, cleared) = (&mut self.numbers.spare_capacity_mut()[..self.length], &self.cleared);
        lengths.map(move |length| {
            let (numbers, others) = std::mem::take(&mut rest).split_at_mut(length);
            rest = others;
            Part { numbers, cleared }
        })
    }

    /// The numbers.
    ///
    /// # Panics
    /// Unless every number was in a part of the last split and [`Part::zeros`] was called on it.
    pub(super) fn into_vec(mut self) -> Vec<f32> {
        assert_eq!(self.cleared.into_inner(), self.length, "every part of a buffer is cleared");
        // SAFETY: the capacity is at least `length`. Parts of one split don't overlap and each is counted once, after
        // clearing it, so the first `length` numbers are initialized when the counts add up to `length`.
        unsafe { self.numbers.set_len(self.length) };
        self.numbers
    }
}

impl<'a> Part<'a> {
    /// The first `length` numbers, as a part of its own.
    pub(super) fn split_off(&mut self, length: usize) -> Self {
        let (numbers, rest) = std::mem::take(&mut self.numbers).split_at_mut(length);
        self.numbers = rest;
        Self { numbers, cleared: self.cleared }
    }

    /// The numbers, all zero.
    pub(super) fn zeros(self) -> &'a mut [f32] {
        self.numbers.fill(MaybeUninit::new(0.0));
        self.cleared.fetch_add(self.numbers.len(), Ordering::Relaxed);
        // SAFETY: every element was written above.
        unsafe { self.numbers.assume_init_mut() }
    }
}

/// `length` numbers, written by `write` in parts of `chunk`, zero before; it also gets the part's index.
pub(super) fn filled(length: usize, chunk: usize, write: impl Fn(usize, &mut [f32]) + Sync) -> Vec<f32> {
    let mut fresh = Fresh::new(length);
    let lengths = (0..length).step_by(chunk).map(|start| chunk.min(length - start));
    let parts: Vec<Part<'_>> = fresh.parts(lengths).collect();
    parts.into_par_iter().enumerate().for_each(|(index, part)| write(index, part.zeros()));
    fresh.into_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_zero_consecutive_and_all_there() {
        let mut fresh = Fresh::new(10);
        let mut parts: Vec<Part<'_>> = fresh.parts([3, 0, 7].into_iter()).collect();
        let piece = parts[2].split_off(4);
        parts.insert(2, piece);
        for (index, part) in parts.into_iter().enumerate() {
            let numbers = part.zeros();
            assert!(numbers.iter().all(|&number| number == 0.0));
            numbers.fill(index as f32 + 1.0);
        }
        assert_eq!(fresh.into_vec(), [[1.0; 3].as_slice(), &[3.0; 4], &[4.0; 3]].concat());
        for length in [0, 1, 6, 7, 26] {
            let numbers = filled(length, 7, |index, part| {
                part.iter_mut().zip(7 * index..).for_each(|(number, at)| *number += at as f32);
            });
            assert!(
                numbers.len() == length && numbers.iter().zip(0..).all(|(&number, at)| number == at as f32)
            );
        }
    }

    #[test]
    #[should_panic(expected = "every part of a buffer is cleared")]
    fn a_buffer_with_an_unwritten_part_is_never_read() {
        let mut fresh = Fresh::new(4);
        for part in fresh.parts([2, 2].into_iter()).take(1) {
            part.zeros();
        }
        // A second split forgets what the first one cleared.
        for part in fresh.parts([2, 2].into_iter()).take(1) {
            part.zeros();
        }
        fresh.into_vec();
    }
}
