//! What broken sessions leave at the server, for their clients to come back to.
//!
//! A ticket finds a stock only together with the client's identity, and a stock is moved out to the one connection that claims it: two
//! connections never hold the same masks.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use eqo_checkpoints::cost::TICKET_BYTES;

use super::holdings::ServerStock;
use crate::transport::Closer;

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
    /// Prepared images of all broken sessions; the oldest session goes first.
    pub images: usize,
    /// Broken sessions.
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
    places: Mutex<HashMap<Key, Place>>,
    changed: Condvar,
}

/// A hash of ticket and client.
type Key = [u8; 32];

enum Place {
    /// A connection uses the session.
    Taken(Closer),
    /// Nobody does.
    Left { stock: ServerStock, since: Instant },
}

impl Parking {
    /// An empty one.
    pub fn new(config: ParkingConfig) -> Self {
        Self { config, places: Mutex::default(), changed: Condvar::new() }
    }

    /// Broken sessions that wait for their clients, and their prepared images.
    pub fn waiting(&self) -> (usize, usize) {
        let mut places = self.lock();
        self.sweep(&mut places);
        left(&places)
            .fold((0, 0), |(count, images), (_, stock, _)| (count + 1, images + stock.images_to_keep()))
    }

    /// What the session left, which is gone from here; `None` if it's unknown or too old. A connection that still uses the session is
    /// closed: its client has given it up.
    pub(super) fn claim(&self, ticket: &Ticket, client: &[u8]) -> Option<ServerStock> {
        let (key, until) = (key(ticket, client), Instant::now() + HANDOVER);
        let mut places = self.lock();
        while let Some(Place::Taken(closer)) = places.get(&key) {
            closer.close("its client came back on another connection");
            let left = until.checked_duration_since(Instant::now())?;
            places = self.changed.wait_timeout(places, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        self.sweep(&mut places);
        match places.remove(&key)? {
            Place::Left { stock, .. } => Some(stock),
            Place::Taken(_) => None,
        }
    }

    /// A connection uses this session from now on, until the stay is dropped.
    pub(super) fn stay(&self, ticket: &Ticket, client: &[u8], closer: Closer) -> Stay<'_> {
        let key = key(ticket, client);
        self.lock().insert(key, Place::Taken(closer));
        Stay { parking: self, key, stock: None }
    }

    /// Drops what is too old, or too much.
    fn sweep(&self, places: &mut HashMap<Key, Place>) {
        let ParkingConfig { keep, images, sessions } = self.config;
        places.retain(|_, place| !matches!(place, Place::Left { since, .. } if since.elapsed() > keep));
        loop {
            let held: usize = left(places).map(|(_, stock, _)| stock.images_to_keep()).sum();
            if held <= images && left(places).count() <= sessions {
                return;
            }
            let oldest = left(places).min_by_key(|(_, _, since)| *since).map(|(key, ..)| *key);
            let Some(oldest) = oldest else { return };
            places.remove(&oldest);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Place>> {
        // Every change is a single call: a panic elsewhere leaves nothing half done.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn left(places: &HashMap<Key, Place>) -> impl Iterator<Item = (&Key, &ServerStock, Instant)> {
    places.iter().filter_map(|(key, place)| match place {
        Place::Left { stock, since } => Some((key, stock, *since)),
        Place::Taken(_) => None,
    })
}

fn key(ticket: &Ticket, client: &[u8]) -> Key {
    blake3::Hasher::new().update(ticket).update(client).finalize().into()
}

/// A connection's use of a session.
pub(super) struct Stay<'p> {
    parking: &'p Parking,
    key: Key,
    stock: Option<ServerStock>,
}

impl Stay<'_> {
    /// Ends it, and leaves the stock behind if there is anything in it.
    pub(super) fn leave(mut self, stock: ServerStock) {
        self.stock = Some(stock).filter(|stock| stock.images_to_keep() > 0);
    }
}

impl Drop for Stay<'_> {
    fn drop(&mut self) {
        let mut places = self.parking.lock();
        places.remove(&self.key);
        if let Some(stock) = self.stock.take() {
            places.insert(self.key, Place::Left { stock, since: Instant::now() });
            self.parking.sweep(&mut places);
        }
        self.parking.changed.notify_all();
    }
}
