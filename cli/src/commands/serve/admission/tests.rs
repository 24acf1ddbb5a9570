//! The claims of the book, on random arrivals and departures.

use proptest::prelude::*;

use super::*;

const OFFERS: [Offer; 3] = [
    Offer { batch: 4, prepared: 8, bytes: 40 },
    Offer { batch: 2, prepared: 2, bytes: 15 },
    Offer { batch: 1, prepared: 1, bytes: 10 },
];

fn limits() -> Limits {
    Limits {
        concurrent: 3,
        per_client: 2,
        queue: 4,
        sessions: usize::MAX,
        memory: 100,
        threads: 3,
        processors: 4,
    }
}

/// A book together with what it granted and promised.
struct Played {
    book: Admission<u8>,
    running: Vec<Grant<u8>>,
    waiting: Vec<(u8, Ticket)>,
    granted: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Step {
    Arrive(u8),
    Leave(usize),
    Release(usize),
}

fn steps(clients: u8, most: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..clients).prop_map(Step::Arrive),
        1 => (0..8_usize).prop_map(Step::Leave),
        3 => (0..8_usize).prop_map(Step::Release),
    ];
    proptest::collection::vec(step, 0..most)
}

impl Played {
    fn new(limits: Limits) -> Self {
        Self { book: Admission::new(limits), running: Vec::new(), waiting: Vec::new(), granted: Vec::new() }
    }

    /// The tickets that were turned away.
    fn step(&mut self, step: &Step) -> Vec<Ticket> {
        match *step {
            Step::Arrive(client) => {
                let ticket = self.book.arrive(client);
                self.waiting.push((client, ticket));
            }
            Step::Leave(which) if !self.waiting.is_empty() => {
                let (client, ticket) = self.waiting.remove(which % self.waiting.len());
                self.book.leave(&client, ticket);
            }
            Step::Release(which) if !self.running.is_empty() => {
                let grant = self.running.remove(which % self.running.len());
                self.book.release(&grant);
            }
            Step::Leave(_) | Step::Release(_) => {}
        }
        self.settle()
    }

    fn settle(&mut self) -> Vec<Ticket> {
        let mut away = Vec::new();
        for (ticket, outcome) in self.book.settle(&OFFERS) {
            let place = self.waiting.iter().position(|(_, waits)| *waits == ticket);
            let (client, _) = self.waiting.remove(place.expect("only who waits is settled"));
            match outcome {
                Outcome::Granted(grant) => {
                    assert_eq!(grant.client, client);
                    self.granted.push(client);
                    self.running.push(grant);
                }
                Outcome::TurnedAway(_) => away.push(ticket),
            }
        }
        away
    }

    fn check(&self, limits: &Limits) {
        assert!(self.running.len() <= limits.concurrent && self.waiting.len() <= limits.queue);
        assert_eq!((self.book.running(), self.book.waiting()), (self.running.len(), self.waiting.len()));
        let reserved: u64 = self.running.iter().map(|grant| grant.offer.bytes).sum();
        assert!(reserved <= limits.memory && reserved == self.book.reserved());
        for grant in &self.running {
            let same = self.running.iter().filter(|other| other.client == grant.client).count();
            assert!(same <= limits.per_client);
            assert!((1..=limits.threads).contains(&grant.threads));
        }
        let extra: usize = self.running.iter().map(|grant| grant.threads - 1).sum();
        assert!(extra < limits.processors);
        // A place is never kept from somebody who could have it.
        let may_run = |(client, _): &(u8, Ticket)| {
            self.running.iter().filter(|grant| grant.client == *client).count() < limits.per_client
        };
        assert!(self.book.obstacle(&OFFERS).is_some() || !self.waiting.iter().any(may_run));
    }
}

proptest! {
    #[test]
    fn no_limit_is_ever_exceeded_and_no_place_left_empty(
        steps in steps(5, 200), concurrent in 1..5_usize, per_client in 1..4_usize, queue in 0..6_usize, memory in 0..200_u64,
    ) {
        let limits = Limits { concurrent, per_client, queue, memory, ..limits() };
        let mut played = Played::new(limits.clone());
        for step in &steps {
            played.step(step);
            played.check(&limits);
        }
        while !played.running.is_empty() {
            played.step(&Step::Release(0));
            played.check(&limits);
        }
        prop_assert_eq!((played.book.running(), played.book.waiting(), played.book.reserved()), (0, 0, 0));
    }

    /// An adversary sends another client's connections before every release. Whoever waits and isn't turned away gets in before any
    /// other client has begun more sessions than there are connections of its own up to that one, and one each.
    #[test]
    fn nobody_waits_for_ever(before in steps(4, 100), flood in proptest::collection::vec(0..4_u8, 64)) {
        let limits = limits();
        let mut played = Played::new(limits.clone());
        before.iter().for_each(|step| drop(played.step(step)));
        let Some(&(client, ticket)) = played.waiting.first() else { return Ok(()) };
        let ahead = played.waiting.iter().filter(|(other, earlier)| *other == client && *earlier < ticket).count();
        // Running sessions of the client itself may have to end first.
        let most = (ahead + 1) * (4 + limits.concurrent);
        let mut rounds = 0;
        while played.waiting.iter().any(|(_, waits)| *waits == ticket) {
            if played.step(&Step::Arrive(flood[rounds % flood.len()])).contains(&ticket) {
                return Ok(());
            }
            played.step(&Step::Release(0));
            rounds += 1;
            prop_assert!(rounds <= most, "waits for the {rounds}th time");
        }
    }

    #[test]
    fn a_client_with_one_connection_is_never_turned_away_for_one_with_many(greedy in 6..50_usize) {
        let mut played = Played::new(limits());
        for _ in 0..greedy {
            played.step(&Step::Arrive(1));
        }
        prop_assert_eq!((played.running.len(), played.waiting.len()), (2, 4), "two sessions a client, four that wait");
        played.step(&Step::Arrive(2));
        prop_assert_eq!(played.granted.last(), Some(&2), "the third place");
        let modest = played.step(&Step::Arrive(3));
        prop_assert_eq!(modest.len(), 1);
        prop_assert!(played.waiting.iter().any(|(client, _)| *client == 3), "the greedy one makes room");
        played.step(&Step::Release(0));
        played.step(&Step::Release(0));
        prop_assert_eq!(&played.granted[3..], &[1, 3], "one turn each");
    }
}

#[test]
fn waiting_clients_take_turns() {
    let mut played = Played::new(Limits { concurrent: 1, queue: 9, ..limits() });
    for client in [1, 1, 1, 1, 2, 2, 3] {
        played.step(&Step::Arrive(client));
    }
    while !played.running.is_empty() {
        played.step(&Step::Release(0));
    }
    assert_eq!(played.granted, [1, 1, 2, 3, 1, 2, 1]);
}

#[test]
fn offers_shrink_to_the_share_and_to_what_is_left_and_one_that_never_fits_is_refused() {
    let granted = |memory: u64, concurrent: usize| {
        let mut played = Played::new(Limits { memory, concurrent, per_client: 9, queue: 0, ..limits() });
        (0..concurrent as u8).for_each(|client| drop(played.step(&Step::Arrive(client))));
        played.running.iter().map(|grant| grant.offer.batch).collect::<Vec<_>>()
    };
    assert_eq!(granted(120, 3), [4, 4, 4]);
    assert_eq!(granted(45, 3), [2, 2, 2]);
    assert_eq!(granted(29, 3), [1, 1], "less than a share each: fewer sessions");
    let mut played = Played::new(Limits { memory: 9, ..limits() });
    let ticket = played.book.arrive(1);
    assert_eq!(played.book.settle(&OFFERS), [(ticket, Outcome::TurnedAway(Refused::NoMemory))]);
}

#[test]
fn after_the_end_everybody_is_turned_away_and_running_sessions_stay() {
    let mut played = Played::new(Limits { concurrent: 1, ..limits() });
    played.step(&Step::Arrive(1));
    played.step(&Step::Arrive(2));
    played.book.close();
    assert_eq!((played.settle().len(), played.running.len()), (1, 1));
    assert_eq!(played.step(&Step::Arrive(3)).len(), 1);
    assert_eq!(played.book.obstacle(&OFFERS), Some(Obstacle::Draining));
}

#[test]
fn no_more_sessions_begin_than_were_asked_for() {
    let mut played = Played::new(Limits { sessions: 2, ..limits() });
    let away: usize = (0..4).map(|client| played.step(&Step::Arrive(client)).len()).sum();
    assert_eq!((played.book.begun(), away), (2, 2));
}
