//! What broken sessions leave at the server, for their clients to come back to.
//!
//! A ticket finds a stock only together with the client's identity, and a stock is moved out to the one connection that claims it, under
//! one lock: two connections never hold the same masks. Of several connections that claim a session the last one to come gets it.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use eqo_checkpoints::cost::TICKET_BYTES;

use super::holdings::ServerStock;
use crate::Error;
use crate::transport::{Closer, Scope};

#[cfg(test)]
mod tests;

/// The name of a session, known to its two parties.
pub(super) type Ticket = [u8; TICKET_BYTES];

/// Instead of a ticket: there is nothing to come back to.
pub(super) const NO_TICKET: Ticket = [0; TICKET_BYTES];

/// How long a returning client waits until its old connection, which it closes by this, is let go.
const HANDOVER: Duration = Duration::from_secs(10);

/// What a server keeps of broken sessions, and how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParkingConfig {
    /// From the end of the connection.
    pub keep: Duration,
    /// Prepared images of all broken sessions. Where they are too many, the client that has most gives up its oldest session.
    pub images: usize,
    /// Broken sessions, likewise.
    pub sessions: usize,
}

impl Default for ParkingConfig {
    fn default() -> Self {
        Self { keep: Duration::from_secs(120), images: 64, sessions: 64 }
    }
}

/// Broken sessions of one checkpoint. Sessions of another checkpoint need another one.
pub struct Parking {
    config: ParkingConfig,
    places: Mutex<Places>,
    changed: Condvar,
}

#[derive(Default)]
struct Places {
    by_key: HashMap<Key, Place>,
    /// Of the connection that came last.
    last_turn: u64,
    /// Whether nothing is kept any more.
    closed: bool,
}

/// A hash of ticket and client, or of the client alone.
type Key = [u8; 32];

struct Place {
    /// Whose it is.
    client: Key,
    /// The connection that claimed it last.
    turn: u64,
    state: State,
}

enum State {
    /// A connection uses the session.
    Taken(Closer),
    /// Nobody does.
    Left { stock: ServerStock, since: Instant },
}

/// What a returning client finds.
pub(super) enum Claim<'p> {
    /// Its session, which is moved out.
    Found(Box<(ServerStock, Stay<'p>)>),
    /// The server doesn't know it, or not any more.
    Unknown,
    /// Another connection has it, and has not let go of it in time, or came later.
    InUse,
}

impl Parking {
    /// An empty one.
    pub fn new(config: ParkingConfig) -> Self {
        Self { config, places: Mutex::default(), changed: Condvar::new() }
    }

    /// Broken sessions that wait for their clients, and their prepared images.
    pub fn waiting(&self) -> (usize, usize) {
        self.sweep();
        let places = self.lock();
        left(&places).fold((0, 0), |(count, images), left| (count + 1, images + left.images))
    }

    /// Forgets what is older than it may be. Whatever else happens here does it too; call it now and then where nothing may happen.
    pub fn sweep(&self) {
        let mut places = self.lock();
        let forgotten = self.forget(&mut places);
        drop(places);
        // Wiping may take a while, and others wait for the lock.
        drop(forgotten);
    }

    /// Forgets everything, and keeps nothing from now on: its checkpoint is no longer served to new connections.
    pub fn close(&self) {
        self.lock().closed = true;
        self.sweep();
    }

    /// A client came back, and isn't let in yet: closes the connection that still uses its session, and doesn't wait for it. The turn
    /// of the one that came back, or nothing if its session isn't here.
    pub(super) fn call_off(&self, ticket: &Ticket, client: &[u8]) -> Option<u64> {
        let mut places = self.lock();
        let turn = places.next_turn();
        let place = places.by_key.get_mut(&key(ticket, client))?;
        place.turn = turn;
        if let State::Taken(old) = &place.state {
            give_up(old);
        }
        Some(turn)
    }

    /// Gives what the session left to a connection with this closer. Another one that still uses it is closed: its client has given it
    /// up. `turn` is that of [`call_off`](Self::call_off), if the connection was made before now.
    pub(super) fn claim(
        &self,
        (ticket, client): (&Ticket, &[u8]),
        turn: Option<u64>,
        closer: Closer,
    ) -> Claim<'_> {
        self.sweep();
        let (key, until) = (key(ticket, client), Instant::now() + HANDOVER);
        let mut places = self.lock();
        let turn = turn.unwrap_or_else(|| places.next_turn());
        loop {
            let Some(place) = places.by_key.get_mut(&key) else { return Claim::Unknown };
            if place.turn > turn {
                return Claim::InUse;
            }
            place.turn = turn;
            match &mut place.state {
                State::Taken(old) => give_up(old),
                State::Left { .. } => break,
            }
            let Some(left) = until.checked_duration_since(Instant::now()) else { return Claim::InUse };
            places = self.changed.wait_timeout(places, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let taken = Place { client: identity(client), turn, state: State::Taken(closer) };
        match places.by_key.insert(key, taken).map(|place| place.state) {
            Some(State::Left { stock, since }) => {
                Claim::Found(Box::new((stock, self.stay_at(key, Some(since)))))
            }
            _ => Claim::Unknown,
        }
    }

    /// A connection with this closer uses a new session, until the stay is dropped.
    pub(super) fn stay(&self, ticket: &Ticket, client: &[u8], closer: Closer) -> Stay<'_> {
        self.sweep();
        let key = key(ticket, client);
        let mut places = self.lock();
        let turn = places.next_turn();
        places.by_key.insert(key, Place { client: identity(client), turn, state: State::Taken(closer) });
        self.stay_at(key, None)
    }

    fn stay_at(&self, key: Key, left_since: Option<Instant>) -> Stay<'_> {
        Stay { parking: self, key, left_since, stock: None }
    }

    /// Takes out what is too old, or too much.
    fn forget(&self, places: &mut Places) -> Vec<Place> {
        let ParkingConfig { keep, images, sessions } = self.config;
        let old =
            left(places).filter(|left| places.closed || left.since.elapsed() > keep).map(|left| left.key);
        let mut forgotten: Vec<Key> = old.collect();
        let mut kept: Vec<Left> = left(places).filter(|left| !forgotten.contains(&left.key)).collect();
        while kept.len() > sessions || kept.iter().map(|left| left.images).sum::<usize>() > images {
            let of_client = |client: Key| {
                let its = kept.iter().filter(|left| left.client == client);
                its.fold((0, 0), |(held, count), left| (held + left.images, count + 1))
            };
            let greediest =
                |left: &(usize, &Left)| (of_client(left.1.client), std::cmp::Reverse(left.1.since));
            let Some((at, _)) = kept.iter().enumerate().max_by_key(greediest) else { break };
            forgotten.push(kept.remove(at).key);
        }
        forgotten.iter().filter_map(|key| places.by_key.remove(key)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        // Every change is a single call: a panic elsewhere leaves nothing half done.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Places {
    fn next_turn(&mut self) -> u64 {
        self.last_turn += 1;
        self.last_turn
    }
}

/// A session that waits.
#[derive(Clone, Copy)]
struct Left {
    key: Key,
    client: Key,
    images: usize,
    since: Instant,
}

fn left(places: &Places) -> impl Iterator<Item = Left> {
    places.by_key.iter().filter_map(|(key, place)| match &place.state {
        State::Left { stock, since } => {
            Some(Left { key: *key, client: place.client, images: stock.images_to_keep(), since: *since })
        }
        State::Taken(_) => None,
    })
}

/// Closes a connection that its client has left.
fn give_up(old: &Closer) {
    old.close("its client came back on another connection");
}

fn key(ticket: &Ticket, client: &[u8]) -> Key {
    blake3::Hasher::new().update(ticket).update(client).finalize().into()
}

fn identity(client: &[u8]) -> Key {
    blake3::hash(client).into()
}

/// A connection's use of a session.
pub(super) struct Stay<'p> {
    parking: &'p Parking,
    key: Key,
    /// When an earlier connection left what this one has not gone on with yet.
    left_since: Option<Instant>,
    stock: Option<ServerStock>,
}

impl Stay<'_> {
    /// The session goes on: its time counts anew when it breaks.
    pub(super) fn begin(&mut self) {
        self.left_since = None;
    }

    /// Ends it, and leaves the stock behind if there is anything in it, and not more than everybody's together may be.
    pub(super) fn leave(mut self, stock: ServerStock) {
        let room = 1..=self.parking.config.images;
        self.stock = Some(stock).filter(|stock| room.contains(&stock.images_to_keep()));
    }
}

impl Drop for Stay<'_> {
    fn drop(&mut self) {
        let mut places = self.parking.lock();
        if let Some(mut place) = places.by_key.remove(&self.key)
            && let Some(stock) = self.stock.take()
        {
            place.state = State::Left { stock, since: self.left_since.unwrap_or_else(Instant::now) };
            places.by_key.insert(self.key, place);
        }
        drop(places);
        self.parking.sweep();
        self.parking.changed.notify_all();
    }
}

/// What the server's operator reads of a claim that failed.
pub(super) fn in_use() -> Error {
    let reason = "another connection still uses the session that this client came back to".to_owned();
    Error::Closed { scope: Scope::Handshake, reason }
}
