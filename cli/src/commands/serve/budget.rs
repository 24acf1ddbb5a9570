//! How much memory sessions may take together, if nobody says.

use crate::memory;

/// What is assumed of a machine that doesn't tell.
const UNKNOWN: u64 = 4 << 30;

/// What a client that waits can make the server hold: frames that were received and that nobody took.
const WAITING_BYTES: u64 = 9 << 20;

/// Bytes, by what they are for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// Running sessions, with their prepared inferences.
    pub(super) memory: u64,
    /// Prepared inferences of all sessions, and of broken ones.
    pub(super) stock: u64,
    /// Those of one session; those of all broken ones.
    pub(super) share: u64,
}

impl Budget {
    /// From megabytes that were asked for, with so many sessions at the same time and a queue of this length. By itself the server
    /// takes half of what the machine has, and half of that for the stock.
    pub(super) fn new(memory: Option<u64>, stock: Option<u64>, [concurrent, queue]: [usize; 2]) -> Self {
        let given = |megabytes: u64| megabytes.saturating_mul(1_000_000);
        let whole = memory.map_or_else(|| memory::of_machine().unwrap_or(UNKNOWN) / 2, given);
        let rest = whole.saturating_sub(WAITING_BYTES * queue as u64);
        let stock = stock.map_or(rest / 2, given).min(rest);
        let share = stock / (concurrent as u64 + 1);
        Self { memory: rest - share, stock, share }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_and_broken_sessions_come_off_the_memory_and_the_stock_fits_in_it() {
        let budget = Budget::new(Some(1000), None, [2, 10]);
        let rest = 1_000_000_000 - 10 * WAITING_BYTES;
        assert_eq!((budget.stock, budget.share), (rest / 2, rest / 6));
        assert_eq!(budget.memory + budget.share, rest);
        assert_eq!(Budget::new(Some(1000), Some(7), [1, 0]).stock, 7_000_000);
        assert_eq!(Budget::new(Some(5), Some(7), [1, 0]).stock, 5_000_000);
        assert_eq!(Budget::new(Some(5), None, [1, 1]).memory, 0);
        assert!(Budget::new(None, None, [1, 0]).memory > 0);
    }
}
