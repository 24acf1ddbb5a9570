//! Wall time by scope, waiting for the peer included.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::transport::Scope;

pub(crate) struct Clock {
    scope: Scope,
    since: Instant,
    spent: BTreeMap<Scope, Duration>,
}

impl Clock {
    /// Starts with the handshake.
    pub(crate) fn start() -> Self {
        Self { scope: Scope::Handshake, since: Instant::now(), spent: BTreeMap::new() }
    }

    /// What follows belongs to `scope`.
    pub(crate) fn enter(&mut self, scope: Scope) {
        let now = Instant::now();
        *self.spent.entry(self.scope).or_default() += now - self.since;
        (self.scope, self.since) = (scope, now);
    }

    /// Drops the time since the last change: nobody was being served.
    pub(crate) fn skip(&mut self, scope: Scope) {
        (self.scope, self.since) = (scope, Instant::now());
    }

    pub(crate) fn seconds(&self, scope: Scope) -> f64 {
        self.spent.get(&scope).map_or(0.0, Duration::as_secs_f64)
    }
}
