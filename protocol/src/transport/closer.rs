//! [`Closer`]: ends a channel from another thread.

use std::sync::{Arc, OnceLock};

use tokio::task::AbortHandle;

/// Ends one [`Channel`](super::Channel) from any thread: its deadline is over, or the server stops. Outliving the channel is harmless.
#[derive(Clone)]
pub struct Closer {
    pub(super) reader: AbortHandle,
    pub(super) writer: AbortHandle,
    reason: Arc<OnceLock<String>>,
}

impl Closer {
    pub(super) fn new(reader: AbortHandle, writer: AbortHandle) -> Self {
        Self { reader, writer, reason: Arc::default() }
    }

    /// Ends the connection. Whoever waits on the channel, or uses it next, gets [`Error::Closed`](crate::Error::Closed) with the
    /// first reason that was given. What was queued and not yet sent is lost.
    pub fn close(&self, reason: impl Into<String>) {
        // An earlier reason stays.
        let _ = self.reason.set(reason.into());
        self.reader.abort();
        self.writer.abort();
    }

    /// Why it was closed, if it was.
    pub fn reason(&self) -> Option<&str> {
        self.reason.get().map(String::as_str)
    }
}
