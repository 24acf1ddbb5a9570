//! Who is being served now.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use eqo_protocol::transport::{Closer, Traffic};
use serde::Serialize;

use super::client::ClientId;

/// The number of a session, since the server began.
pub(super) type SessionId = u64;

/// All live sessions.
#[derive(Default)]
pub(super) struct Live(Mutex<State>);

#[derive(Default)]
struct State {
    next: SessionId,
    sessions: BTreeMap<SessionId, Session>,
}

/// What is known of a session. Nothing of it is secret.
pub(super) struct Session {
    client: String,
    since: Instant,
    closer: Closer,
    /// Bytes of a prepared image.
    image_bytes: u64,
    pub(super) doing: String,
    /// Images that were answered.
    pub(super) images: u64,
    /// Images that are prepared.
    pub(super) prepared: u64,
    pub(super) traffic: Traffic,
}

/// The same for the page.
#[derive(Serialize)]
pub(super) struct SessionRow {
    id: SessionId,
    client: String,
    seconds: f64,
    doing: String,
    images: u64,
    prepared: u64,
    bytes_sent: u64,
    bytes_received: u64,
}

/// What is prepared in all sessions.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Stocked {
    pub(super) images: u64,
    pub(super) bytes: u64,
}

/// Takes its session off the list when it is dropped.
pub(super) struct Listed<'a> {
    live: &'a Live,
    pub(super) id: SessionId,
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.live.lock().sessions.remove(&self.id);
    }
}

impl Live {
    /// A session begins.
    pub(super) fn begin(&self, client: &ClientId, closer: Closer, image_bytes: u64) -> Listed<'_> {
        let mut state = self.lock();
        let id = state.next;
        state.next += 1;
        let session = Session {
            client: client.to_string(),
            since: Instant::now(),
            closer,
            image_bytes,
            doing: "handshake".to_owned(),
            images: 0,
            prepared: 0,
            traffic: Traffic::default(),
        };
        state.sessions.insert(id, session);
        Listed { live: self, id }
    }

    pub(super) fn update(&self, id: SessionId, change: impl FnOnce(&mut Session)) {
        if let Some(session) = self.lock().sessions.get_mut(&id) {
            change(session);
        }
    }

    /// Ends every session.
    pub(super) fn close_all(&self, reason: &str) {
        self.lock().sessions.values().for_each(|session| session.closer.close(reason));
    }

    pub(super) fn stocked(&self) -> Stocked {
        self.lock().sessions.values().fold(Stocked::default(), |sum, session| Stocked {
            images: sum.images + session.prepared,
            bytes: sum.bytes + session.prepared * session.image_bytes,
        })
    }

    pub(super) fn rows(&self) -> Vec<SessionRow> {
        let row = |(&id, session): (&SessionId, &Session)| SessionRow {
            id,
            client: session.client.clone(),
            seconds: session.since.elapsed().as_secs_f64(),
            doing: session.doing.clone(),
            images: session.images,
            prepared: session.prepared,
            bytes_sent: session.traffic.bytes_sent,
            bytes_received: session.traffic.bytes_received,
        };
        self.lock().sessions.iter().map(row).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A list is whole between any two writes.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
