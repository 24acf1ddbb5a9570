//! Who may begin a session, and when: bookkeeping without threads and clocks.
//!
//! Clients that wait are let in round-robin by client, each client's own connections in the order they came. So whoever holds the
//! fewest connections waits for at most one session of every other client, however many connections those have. A full queue
//! makes room at the expense of the client that has most of it.

use std::collections::{BTreeMap, VecDeque};

#[cfg(test)]
mod tests;

/// What running sessions may take together. Counts of sessions are at least 1.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// Sessions at the same time.
    pub(super) concurrent: usize,
    /// Sessions of one client at the same time.
    pub(super) per_client: usize,
    /// Clients that wait.
    pub(super) queue: usize,
    /// Sessions that begin at all.
    pub(super) sessions: usize,
    /// Bytes that are reserved for running sessions.
    pub(super) memory: u64,
    /// Threads that make random OTs, of one session.
    pub(super) threads: usize,
    /// What they are shared out from: beyond the first thread of each, all sessions together have fewer than this.
    pub(super) processors: usize,
}

/// What a session may be offered: the most images of an inference, the most prepared, and what that takes at most.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Offer {
    pub(super) batch: usize,
    pub(super) prepared: usize,
    pub(super) bytes: u64,
}

/// One connection that was let in or waits.
pub(super) type Ticket = u64;

/// A session that may begin. [`Admission::release`] takes it back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Grant<C> {
    pub(super) client: C,
    pub(super) offer: Offer,
    /// Threads that make random OTs.
    pub(super) threads: usize,
}

/// What became of a connection that waited.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Outcome<C> {
    Granted(Grant<C>),
    TurnedAway(Refused),
}

/// Why a client was turned away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Refused {
    /// The queue is full.
    QueueFull,
    /// It waited for as long as a client may.
    WaitedTooLong,
    /// The server stops, or has begun all sessions it was asked for.
    Draining,
    /// The session would need more memory than the server has for all of them.
    NoMemory,
}

impl Refused {
    pub(super) const ALL: [Self; 4] = [Self::QueueFull, Self::WaitedTooLong, Self::Draining, Self::NoMemory];

    /// Its label in metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue-full",
            Self::WaitedTooLong => "waited-too-long",
            Self::Draining => "draining",
            Self::NoMemory => "no-memory",
        }
    }
}

/// Why a client that came now would have to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Obstacle {
    Draining,
    Full,
    NoMemory,
}

/// The book.
pub(super) struct Admission<C> {
    limits: Limits,
    running: BTreeMap<C, usize>,
    waiting: BTreeMap<C, VecDeque<Ticket>>,
    /// Clients that wait, the next one first.
    turns: VecDeque<C>,
    sessions: usize,
    reserved: u64,
    extra_threads: usize,
    begun: usize,
    next_ticket: Ticket,
    closed: bool,
}

impl<C: Ord + Clone> Admission<C> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            running: BTreeMap::new(),
            waiting: BTreeMap::new(),
            turns: VecDeque::new(),
            sessions: 0,
            reserved: 0,
            extra_threads: 0,
            begun: 0,
            next_ticket: 0,
            closed: false,
        }
    }

    /// A connection of `client` begins to wait; [`settle`](Self::settle) says what becomes of it.
    pub(super) fn arrive(&mut self, client: C) -> Ticket {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let waiting = self.waiting.entry(client.clone()).or_default();
        if waiting.is_empty() {
            self.turns.push_back(client);
        }
        waiting.push_back(ticket);
        ticket
    }

    /// A connection no longer waits.
    pub(super) fn leave(&mut self, client: &C, ticket: Ticket) {
        if let Some(waiting) = self.waiting.get_mut(client) {
            waiting.retain(|other| *other != ticket);
        }
        self.forget_if_none_waits(client);
    }

    /// A session has ended.
    pub(super) fn release(&mut self, grant: &Grant<C>) {
        self.sessions = self.sessions.saturating_sub(1);
        self.reserved = self.reserved.saturating_sub(grant.offer.bytes);
        self.extra_threads = self.extra_threads.saturating_sub(grant.threads - 1);
        if let Some(running) = self.running.get_mut(&grant.client) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(&grant.client);
            }
        }
    }

    /// Nobody is let in any more.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Lets in whoever may, by what a session can be offered now (`offers`, the best first), and turns away whoever is too many.
    pub(super) fn settle(&mut self, offers: &[Offer]) -> Vec<(Ticket, Outcome<C>)> {
        let mut settled = Vec::new();
        while let Some((ticket, grant)) = self.let_in(offers) {
            settled.push((ticket, Outcome::Granted(grant)));
        }
        let (room, reason) = self.room_to_wait(offers);
        while self.waiting() > room {
            let Some(ticket) = self.evict() else { break };
            settled.push((ticket, Outcome::TurnedAway(reason)));
        }
        settled
    }

    /// Sessions that run.
    pub(super) fn running(&self) -> usize {
        self.sessions
    }

    /// Connections that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.values().map(VecDeque::len).sum()
    }

    /// Sessions that were begun so far.
    pub(super) fn begun(&self) -> usize {
        self.begun
    }

    /// Bytes that are reserved for running sessions.
    pub(super) fn reserved(&self) -> u64 {
        self.reserved
    }

    /// Why a newcomer would have to wait, if it would.
    pub(super) fn obstacle(&self, offers: &[Offer]) -> Option<Obstacle> {
        if self.is_over() {
            Some(Obstacle::Draining)
        } else if self.sessions >= self.limits.concurrent {
            Some(Obstacle::Full)
        } else if self.affordable(offers).is_none() {
            Some(Obstacle::NoMemory)
        } else {
            None
        }
    }

    /// Whether nobody will be let in any more.
    pub(super) fn is_over(&self) -> bool {
        self.closed || self.begun >= self.limits.sessions
    }

    /// How many may wait, and why others can't.
    fn room_to_wait(&self, offers: &[Offer]) -> (usize, Refused) {
        if self.is_over() {
            (0, Refused::Draining)
        } else if self.sessions == 0 && self.affordable(offers).is_none() {
            // Nothing will ever be freed for them.
            (0, Refused::NoMemory)
        } else {
            (self.limits.queue, Refused::QueueFull)
        }
    }

    /// The best offer within a session's share of the memory, or within what is left if that is less. The smallest may exceed
    /// the share: then fewer sessions run than may.
    fn affordable(&self, offers: &[Offer]) -> Option<Offer> {
        let left = self.limits.memory.saturating_sub(self.reserved);
        let share = self.limits.memory / self.limits.concurrent as u64;
        let within = |most: u64| offers.iter().find(|offer| offer.bytes <= most);
        let smallest = || offers.iter().min_by_key(|offer| offer.bytes).filter(|offer| offer.bytes <= left);
        within(share.min(left)).or_else(smallest).copied()
    }

    fn let_in(&mut self, offers: &[Offer]) -> Option<(Ticket, Grant<C>)> {
        if self.obstacle(offers).is_some() {
            return None;
        }
        let offer = self.affordable(offers)?;
        let below = |client: &C| self.running.get(client).is_none_or(|&count| count < self.limits.per_client);
        let place = self.turns.iter().position(below)?;
        let client = self.turns.remove(place)?;
        let waiting = self.waiting.get_mut(&client)?;
        let ticket = waiting.pop_front()?;
        if waiting.is_empty() {
            self.waiting.remove(&client);
        } else {
            self.turns.push_back(client.clone());
        }
        let spare = self.limits.processors.saturating_sub(self.extra_threads + self.sessions + 1);
        let threads = 1 + spare.min(self.limits.threads - 1);
        *self.running.entry(client.clone()).or_default() += 1;
        self.sessions += 1;
        self.begun += 1;
        self.reserved += offer.bytes;
        self.extra_threads += threads - 1;
        Some((ticket, Grant { client, offer, threads }))
    }

    /// Takes the youngest connection of the client that has most of the queue; of several such, the one whose turn is last.
    fn evict(&mut self) -> Option<Ticket> {
        let count = |client: &C| self.waiting.get(client).map_or(0, VecDeque::len);
        let client = self.turns.iter().max_by_key(|client| count(client))?.clone();
        let ticket = self.waiting.get_mut(&client)?.pop_back();
        self.forget_if_none_waits(&client);
        ticket
    }

    fn forget_if_none_waits(&mut self, client: &C) {
        if self.waiting.get(client).is_some_and(VecDeque::is_empty) {
            self.waiting.remove(client);
            self.turns.retain(|other| other != client);
        }
    }
}
