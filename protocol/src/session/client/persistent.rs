//! A client that connects again when its connection breaks.

use std::thread;
use std::time::Duration;

use eqo_checkpoints::graph::CheckedGraph;

use super::{Client, ClientConfig, connect};
use crate::Error;
use crate::layers::Entered;
use crate::transport::{Channel, Refusal, Scope};

/// How often a client connects again before it gives up, and how long it waits before it does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// New connections for one request; 0 gives up at once.
    pub attempts: u32,
    /// Before the first; twice as long before each further one, at most 30 s.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { attempts: 5, pause: Duration::from_millis(500) }
    }
}

/// Between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A [`Client`] that resumes its session on a new connection whenever one breaks, and asks again for what was interrupted.
pub struct PersistentClient<D> {
    client: Client,
    dial: D,
    patience: Patience,
    /// Of connections that broke.
    earlier_bytes: u64,
    /// Set while there is no connection, after a patience that came to its end.
    lost: bool,
    reconnections: u32,
}

impl<D: FnMut() -> Result<Channel, Error>> PersistentClient<D> {
    /// Opens a session over a connection that `dial` makes, and later ones if need be. A server that is busy is asked again; one that
    /// can't be reached at all is an error at once.
    ///
    /// # Errors
    /// Those of `dial` and [`connect`].
    pub fn connect(mut dial: D, config: &ClientConfig, patience: Patience) -> Result<Self, Error> {
        let mut pauses = Pauses::new(patience);
        let client = loop {
            match connect(dial()?, config) {
                Ok(client) => break client,
                Err(error @ Error::TurnedAway { .. }) => pauses.next(error)?,
                Err(error) => return Err(error),
            }
        };
        Ok(Self { client, dial, patience, earlier_bytes: 0, lost: false, reconnections: 0 })
    }

    /// The public graph of the server's network.
    pub fn graph(&self) -> &CheckedGraph {
        self.client.graph()
    }

    /// As [`Client::max_batch`].
    pub fn max_batch(&self) -> usize {
        self.client.max_batch()
    }

    /// As [`Client::watch`].
    pub fn watch(&mut self, watch: impl FnMut(Entered) + Send + 'static) {
        self.client.watch(watch);
    }

    /// As [`Client::prepare`].
    ///
    /// # Errors
    /// As [`Client::prepare`]; those of the connection once this client's patience is at its end.
    pub fn prepare(&mut self, batch: usize) -> Result<(), Error> {
        self.insist(|client| client.prepare(batch))
    }

    /// As [`Client::prepared`].
    pub fn prepared(&self, batch: usize) -> usize {
        self.client.prepared(batch)
    }

    /// As [`Client::infer`].
    ///
    /// # Errors
    /// As [`Client::infer`]; those of the connection once this client's patience is at its end.
    pub fn infer(&mut self, images: &[impl AsRef<[u8]>]) -> Result<Vec<Vec<i64>>, Error> {
        self.insist(|client| client.infer(images))
    }

    /// As [`Client::classify`].
    ///
    /// # Errors
    /// As [`Client::classify`]; those of the connection once this client's patience is at its end.
    pub fn classify(&mut self, images: &[impl AsRef<[u8]>]) -> Result<Vec<usize>, Error> {
        self.insist(|client| client.classify(images))
    }

    /// Bytes in both directions so far, of all connections but those that broke before the session went on.
    pub fn bytes(&self) -> u64 {
        self.earlier_bytes + self.client.report().bytes()
    }

    /// How often a connection broke and was replaced.
    pub fn reconnections(&self) -> u32 {
        self.reconnections
    }

    /// Ends the session; all is said and done, so that a connection that breaks just then is no error.
    ///
    /// # Errors
    /// As [`Client::close`], but for those of the connection.
    pub fn close(self) -> Result<(), Error> {
        match self.client.close() {
            Err(error) if !error.is_connection() && !self.lost => Err(error),
            _ => Ok(()),
        }
    }

    /// Asks until there is an answer.
    fn insist<T>(&mut self, mut ask: impl FnMut(&mut Client) -> Result<T, Error>) -> Result<T, Error> {
        let mut pauses = Pauses::new(self.patience);
        if self.lost {
            let found = "no connection since an earlier request".to_owned();
            self.reconnect(Error::PeerClosed { scope: Scope::Request, found }, &mut pauses)?;
        }
        loop {
            match ask(&mut self.client) {
                Err(error) if error.is_connection() => self.reconnect(error, &mut pauses)?,
                answer => return answer,
            }
        }
    }

    fn reconnect(&mut self, mut error: Error, pauses: &mut Pauses) -> Result<(), Error> {
        self.lost = true;
        let broken_bytes = self.client.report().bytes();
        loop {
            pauses.next(error)?;
            let resumed = (self.dial)().and_then(|channel| self.client.resume(channel));
            match resumed {
                Ok(_) => {
                    self.lost = false;
                    self.earlier_bytes += broken_bytes;
                    self.reconnections += 1;
                    return Ok(());
                }
                // A server that starts anew can't be reached for a while.
                Err(Error::Io { action, source, next }) => error = Error::Io { action, source, next },
                Err(again) if is_passing(&again) => error = again,
                Err(other) => return Err(other),
            }
        }
    }
}

/// Whether another attempt to come back may succeed: also after a handshake that was cut off.
fn is_passing(error: &Error) -> bool {
    error.is_connection()
        || matches!(error, Error::TurnedAway { .. } | Error::TlsRefused { refusal: Refusal::Handshake, .. })
}

/// What is left of a client's patience.
struct Pauses {
    left: u32,
    pause: Duration,
}

impl Pauses {
    fn new(patience: Patience) -> Self {
        Self { left: patience.attempts, pause: patience.pause }
    }

    /// Waits, or gives up with `error`.
    fn next(&mut self, error: Error) -> Result<(), Error> {
        self.left = self.left.checked_sub(1).ok_or(error)?;
        thread::sleep(self.pause.min(LONGEST_PAUSE));
        self.pause = self.pause.saturating_mul(2);
        Ok(())
    }
}
