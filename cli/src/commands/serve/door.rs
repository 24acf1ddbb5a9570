//! The door: threads wait here for their turn, and a place is given back however its session ends.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::admission::{Admission, Grant, Limits, Obstacle, Outcome, Refused, Ticket};
use super::client::ClientId;
use super::model::{Model, Models};

/// Where clients wait.
pub(super) struct Door {
    models: Arc<Models>,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    book: Admission<ClientId>,
    /// What became of connections whose threads haven't woken yet.
    settled: BTreeMap<Ticket, Result<Place, Refused>>,
}

/// What there is to say about the door now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crowd {
    pub(super) running: usize,
    pub(super) waiting: usize,
    pub(super) begun: usize,
    pub(super) reserved: u64,
    /// Why a newcomer would have to wait.
    pub(super) obstacle: Option<Obstacle>,
}

/// The right to one session of this model; dropping it lets the next client in.
pub(super) struct Place {
    door: Arc<Door>,
    pub(super) grant: Grant<ClientId>,
    pub(super) model: Arc<Model>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.door.lock();
        state.book.release(&self.grant);
        self.door.settle(&mut state);
    }
}

impl Door {
    pub(super) fn new(limits: Limits, models: Arc<Models>) -> Arc<Self> {
        let state = State { book: Admission::new(limits), settled: BTreeMap::new() };
        Arc::new(Self { models, state: Mutex::new(state), changed: Condvar::new() })
    }

    /// Waits for a place, at most for `wait`.
    pub(super) fn enter(self: &Arc<Self>, client: &ClientId, wait: Duration) -> Result<Place, Refused> {
        let deadline = Instant::now() + wait;
        let mut state = self.lock();
        let ticket = state.book.arrive(client.clone());
        self.settle(&mut state);
        loop {
            if let Some(settled) = state.settled.remove(&ticket) {
                return settled;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.book.leave(client, ticket);
                return Err(Refused::WaitedTooLong);
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Turns away whoever waits, and whoever comes.
    pub(super) fn close(self: &Arc<Self>) {
        let mut state = self.lock();
        state.book.close();
        self.settle(&mut state);
    }

    /// Another model may fit where the old one did not.
    pub(super) fn look_again(self: &Arc<Self>) {
        self.settle(&mut self.lock());
    }

    /// Whether nobody will be let in any more.
    pub(super) fn is_over(&self) -> bool {
        self.lock().book.is_over()
    }

    pub(super) fn crowd(&self) -> Crowd {
        let offers = self.models.current();
        let book = &self.lock().book;
        Crowd {
            running: book.running(),
            waiting: book.waiting(),
            begun: book.begun(),
            reserved: book.reserved(),
            obstacle: book.obstacle(&offers.offers),
        }
    }

    fn settle(self: &Arc<Self>, state: &mut State) {
        let model = self.models.current();
        for (ticket, outcome) in state.book.settle(&model.offers) {
            let settled = match outcome {
                Outcome::Granted(grant) => {
                    Ok(Place { door: Arc::clone(self), grant, model: Arc::clone(&model) })
                }
                Outcome::TurnedAway(refused) => Err(refused),
            };
            state.settled.insert(ticket, settled);
        }
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whoever panicked while holding it left a book that is whole: it panics nowhere between two writes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::commands::serve::model::Wishes;

    fn door(concurrent: usize) -> Arc<Door> {
        let tiny = concat!(env!("CARGO_MANIFEST_DIR"), "/../checkpoints/fixtures/tiny.safetensors");
        let wishes = Wishes { max_batch: 2, stock: 1 << 30, parked: 0 };
        let models = Arc::new(Models::read(tiny.as_ref(), wishes).unwrap());
        let limits = Limits {
            concurrent,
            per_client: concurrent,
            queue: 4,
            sessions: usize::MAX,
            memory: 1 << 32,
            threads: 1,
            processors: 1,
        };
        Door::new(limits, models)
    }

    fn client(number: u8) -> ClientId {
        ClientId::Certificate([number; 32])
    }

    #[test]
    fn a_place_is_given_back_even_when_its_session_panics() {
        let door = door(1);
        let inside = Arc::clone(&door);
        let panicked = thread::spawn(move || {
            let _place = inside.enter(&client(1), Duration::ZERO).ok();
            assert_eq!(inside.crowd().running, 1);
            panic!("a session that fails");
        });
        assert!(panicked.join().is_err());
        assert_eq!((door.crowd().running, door.crowd().reserved), (0, 0));
        assert!(door.enter(&client(2), Duration::ZERO).is_ok());
    }

    #[test]
    fn whoever_waits_gets_the_place_that_is_given_back_or_is_turned_away_in_the_end() {
        let door = door(1);
        let place = door.enter(&client(1), Duration::ZERO).ok().unwrap();
        assert!(matches!(door.enter(&client(2), Duration::from_millis(1)), Err(Refused::WaitedTooLong)));
        assert_eq!(door.crowd().waiting, 0);
        let second = Arc::clone(&door);
        let second = thread::spawn(move || second.enter(&client(2), Duration::from_secs(60)));
        while door.crowd().waiting == 0 {
            thread::yield_now();
        }
        drop(place);
        let place = second.join().unwrap().ok().unwrap();
        let third = Arc::clone(&door);
        let third = thread::spawn(move || third.enter(&client(3), Duration::from_secs(60)).map(drop));
        while door.crowd().waiting == 0 {
            thread::yield_now();
        }
        door.close();
        assert!(matches!(third.join().unwrap(), Err(Refused::Draining)));
        drop(place);
        assert_eq!(door.crowd().running, 0);
    }
}
