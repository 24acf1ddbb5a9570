//! Each thread's scratch memory, kept between calls: zeroing and faulting it in anew took a fifth of a step.

use std::cell::RefCell;

thread_local! {
    static SCRATCH: RefCell<[Vec<f32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// Calls `work` with two buffers of the given lengths and unspecified contents.
pub(super) fn with_scratch<R>(lengths: [usize; 2], work: impl FnOnce(&mut [f32], &mut [f32]) -> R) -> R {
    let mut buffers = SCRATCH.take();
    for (buffer, length) in buffers.iter_mut().zip(lengths) {
        if buffer.len() < length {
            buffer.resize(length, 0.0);
        }
    }
    let [first, second] = &mut buffers;
    let result = work(&mut first[..lengths[0]], &mut second[..lengths[1]]);
    SCRATCH.set(buffers);
    result
}
