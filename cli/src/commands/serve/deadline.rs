//! A time by which a connection must have come to something.

use std::time::Duration;

use eqo_protocol::transport::Closer;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::sleep;

/// Ends a connection unless it is dropped in time.
pub(super) struct Deadline(AbortHandle);

impl Deadline {
    pub(super) fn set(runtime: &Handle, closer: Closer, after: Duration, reason: &'static str) -> Self {
        let task = runtime.spawn(async move {
            sleep(after).await;
            closer.close(reason);
        });
        Self(task.abort_handle())
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        self.0.abort();
    }
}
