//! [`Outbox`]: the queue that a channel's frames leave through, straight to the writer task or along a link.

use std::thread::Thread;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::{SendError, TrySendError};

use super::Link;
use super::channel::QUEUE_FRAMES;
use super::delay_line::{DelayLine, Sent};
use super::frame::Frame;

pub(super) struct Outbox {
    queue: Queue,
    line: Option<DelayLine>,
}

enum Queue {
    Direct(mpsc::Sender<Frame>),
    Shaped(mpsc::Sender<Sent>, Thread),
    Closed,
}

impl Outbox {
    /// A queue and what the writer task takes from it.
    pub(super) fn direct() -> (Self, mpsc::Receiver<Frame>) {
        let (queue, to_write) = mpsc::channel(QUEUE_FRAMES);
        (Self { queue: Queue::Direct(queue), line: None }, to_write)
    }

    /// The same, by way of `link`.
    ///
    /// # Errors
    /// If the system has no thread to spare.
    pub(super) fn shaped(link: Link) -> std::io::Result<(Self, mpsc::Receiver<Frame>)> {
        let (queue, sent) = mpsc::channel(QUEUE_FRAMES);
        let (arrived, to_write) = mpsc::channel(QUEUE_FRAMES);
        let line = DelayLine::start(link, sent, arrived)?;
        let queue = Queue::Shaped(queue, line.thread().clone());
        Ok((Self { queue, line: Some(line) }, to_write))
    }

    /// Queues `frame` if there is room now.
    pub(super) fn try_send(&self, frame: Frame) -> Result<(), TrySendError<Frame>> {
        match &self.queue {
            Queue::Direct(queue) => queue.try_send(frame),
            Queue::Shaped(queue, thread) => match queue.try_reserve() {
                Ok(place) => {
                    place.send((Instant::now(), frame));
                    thread.unpark();
                    Ok(())
                }
                Err(TrySendError::Full(())) => Err(TrySendError::Full(frame)),
                Err(TrySendError::Closed(())) => Err(TrySendError::Closed(frame)),
            },
            Queue::Closed => Err(TrySendError::Closed(frame)),
        }
    }

    /// Queues `frame` when there is room.
    pub(super) async fn send(&self, frame: Frame) -> Result<(), SendError<()>> {
        match &self.queue {
            Queue::Direct(queue) => queue.reserve().await?.send(frame),
            Queue::Shaped(queue, thread) => {
                queue.reserve().await?.send((Instant::now(), frame));
                thread.unpark();
            }
            Queue::Closed => return Err(SendError(())),
        }
        Ok(())
    }

    /// No more frames will be sent: the writer task ends after those that were.
    pub(super) fn close(&mut self) {
        // Closing must come before waking.
        if let Queue::Shaped(queue, thread) = std::mem::replace(&mut self.queue, Queue::Closed) {
            drop(queue);
            thread.unpark();
        }
    }

    /// Takes the link's thread out; it ends when the value is dropped.
    pub(super) fn take_line(&mut self) -> Option<DelayLine> {
        self.line.take()
    }
}
