//! Waiting for a queue between a party's thread and its connection, and why that ended without a frame.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::frame::{End, Frame};
use super::outbox::Outbox;

/// Why a queue operation did not happen.
pub(super) enum Stop {
    SendLate,
    SendEnded,
    RecvLate,
    RecvEnded,
    Stream(End),
}

pub(super) async fn push(outbox: &Outbox, frame: Frame, wait: Duration) -> Result<(), Stop> {
    let sent = timeout(wait, outbox.send(frame)).await.map_err(|_| Stop::SendLate)?;
    sent.map_err(|_| Stop::SendEnded)
}

pub(super) async fn pull(
    inbox: &mut mpsc::Receiver<Result<Frame, End>>,
    wait: Duration,
) -> Result<Frame, Stop> {
    let received = timeout(wait, inbox.recv()).await.map_err(|_| Stop::RecvLate)?;
    received.ok_or(Stop::RecvEnded)?.map_err(Stop::Stream)
}
