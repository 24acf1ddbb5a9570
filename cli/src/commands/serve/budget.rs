//! How much memory sessions may take together, if nobody says.

use crate::memory;

/// What is assumed of a machine that doesn't tell.
const UNKNOWN: u64 = 4 << 30;

/// What a client that waits can make the server hold: frames that were received and that nobody took.
const WAITING_BYTES: u64 = 9 << 20;

/// What one can that hasn't said yet what it wants: a frame.
const KNOCKING_BYTES: u64 = 1 << 20;

/// Whom there must be room for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guests {
    /// Sessions at the same time.
    pub(super) sessions: usize,
    /// Clients that wait.
    pub(super) queue: usize,
    /// Clients at the door.
    pub(super) knocking: usize,
    /// Whether clients may come back to broken sessions.
    pub(super) returns: bool,
}

/// Bytes, by what they are for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    /// Running sessions, with their prepared inferences.
    pub(super) memory: u64,
    /// Prepared inferences of running sessions.
    pub(super) stock: u64,
    /// Those of one session.
    pub(super) share: u64,
    /// Those of all broken sessions together.
    pub(super) parked: u64,
}

impl Budget {
    /// From megabytes that were asked for. By itself the server takes half of what the machine has, and half of that for the stock,
    /// of which every session and the broken ones together have equal shares.
    pub(super) fn new(memory: Option<u64>, stock: Option<u64>, guests: Guests) -> Self {
        let given = |megabytes: u64| megabytes.saturating_mul(1_000_000);
        let whole = memory.map_or_else(|| memory::of_machine().unwrap_or(UNKNOWN) / 2, given);
        let others = WAITING_BYTES * guests.queue as u64 + KNOCKING_BYTES * guests.knocking as u64;
        let rest = whole.saturating_sub(others);
        let stock = stock.map_or(rest / 2, given).min(rest);
        let share = stock / (guests.sessions as u64 + u64::from(guests.returns));
        let parked = if guests.returns { share } else { 0 };
        Self { memory: rest - parked, stock: stock - parked, share, parked }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALONE: Guests = Guests { sessions: 1, queue: 0, knocking: 0, returns: false };

    #[test]
    fn queue_door_and_broken_sessions_come_off_the_memory_and_the_stock_fits_in_it() {
        let guests = Guests { sessions: 2, queue: 10, knocking: 64, returns: true };
        let budget = Budget::new(Some(1000), None, guests);
        let rest = 1_000_000_000 - 10 * WAITING_BYTES - 64 * KNOCKING_BYTES;
        assert_eq!((budget.share, budget.parked), (rest / 6, rest / 6));
        assert_eq!((budget.stock, budget.memory), (rest / 2 - rest / 6, rest - rest / 6));
        let alone = |memory, stock| Budget::new(memory, stock, ALONE);
        assert_eq!(alone(Some(1000), Some(7)).stock, 7_000_000);
        assert_eq!(alone(Some(5), Some(7)).stock, 5_000_000);
        assert_eq!(Budget::new(Some(5), None, Guests { queue: 1, ..ALONE }).memory, 0);
        assert!(alone(None, None).memory > 0);
    }
}
