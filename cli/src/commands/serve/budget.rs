//! How much memory sessions may take together, if nobody says.

use crate::memory;

/// What is assumed of a machine that doesn't tell.
const UNKNOWN: u64 = 4 << 30;

/// What a client that waits can make the server hold: frames that were received and that nobody took.
const WAITING_BYTES: u64 = 9 << 20;

/// Bytes for running sessions and for their prepared inferences.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    pub(super) memory: u64,
    pub(super) stock: u64,
}

impl Budget {
    /// From megabytes that were asked for, with a queue of this length. By itself the server takes half of what the machine has,
    /// and half of that for the stock.
    pub(super) fn new(memory: Option<u64>, stock: Option<u64>, queue: usize) -> Self {
        let given = |megabytes: u64| megabytes.saturating_mul(1_000_000);
        let whole = memory.map_or_else(|| memory::of_machine().unwrap_or(UNKNOWN) / 2, given);
        let memory = whole.saturating_sub(WAITING_BYTES * queue as u64);
        Self { memory, stock: stock.map_or(memory / 2, given).min(memory) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_comes_off_the_memory_and_the_stock_fits_in_the_rest() {
        let budget = Budget::new(Some(1000), None, 10);
        assert_eq!((budget.memory, budget.stock), (1_000_000_000 - 10 * WAITING_BYTES, budget.memory / 2));
        assert_eq!(Budget::new(Some(1000), Some(7), 0).stock, 7_000_000);
        assert_eq!(Budget::new(Some(5), Some(7), 0).stock, 5_000_000);
        assert_eq!(Budget::new(Some(5), None, 1).memory, 0);
        assert!(Budget::new(None, None, 0).memory > 0);
    }
}
