//! [`Channel`]: the synchronous face of a connection.

use std::sync::mpsc as std_mpsc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::closer::Closer;
use super::frame::{End, Frame, MAX_FRAME, read_frames, split, write_frames};
use super::outbox::Outbox;
use super::pool::Pool;
use super::wait::{Stop, pull, push};
use super::{Link, Meter, Scope};
use crate::Error;

mod ended;

/// How many frames may wait in each direction between the party's thread and the connection.
pub const QUEUE_FRAMES: usize = 8;

/// How long a dropped channel waits for its link's thread after it was told to end.
const LINE_END: Duration = Duration::from_secs(1);

/// Settings of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TransportConfig {
    /// The longest wait for the peer to make any progress: to take a frame or to finish sending one. A link's own time
    /// comes on top.
    pub timeout: Duration,
    /// The network to imitate on what this party sends; the peer must do the same. None of it if `None`.
    pub link: Option<Link>,
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(60), link: None }
    }
}

/// A connection to the other party, used from one thread outside the tokio runtime.
///
/// Dropping it sends everything that was queued, for which the peer has the configured timeout, then closes the stream.
pub struct Channel {
    runtime: Handle,
    timeout: Duration,
    outbox: Outbox,
    inbox: mpsc::Receiver<Result<Frame, End>>,
    closer: Closer,
    written: std_mpsc::Receiver<std::io::Result<()>>,
    meter: Meter,
    pool: Pool,
    flight: Option<u32>,
}

impl Channel {
    /// Starts the reader and writer tasks of `stream` on `runtime`.
    pub fn over<S>(stream: S, runtime: &Handle, config: TransportConfig) -> Self
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (input, output) = tokio::io::split(stream);
        let (read, inbox) = mpsc::channel(QUEUE_FRAMES);
        let (done, written) = std_mpsc::channel();
        let (outbox, to_write) = open_outbox(config.link, &done);
        let pool = Pool::default();
        let (used, filled) = (pool.clone(), pool.clone());
        let writing = async move {
            // The receiver may be gone: nobody is left to hear about it.
            let _ = done.send(write_frames(output, to_write, used).await);
        };
        let writer = runtime.spawn(writing).abort_handle();
        let other_half = writer.clone();
        let reading = async move {
            // Nobody takes what is still to be written, and the writer may never be told: over TLS the reader's last alert takes its
            // place in the socket's queue.
            if read_frames(input, read, filled).await {
                other_half.abort();
            }
        };
        let reader = runtime.spawn(reading).abort_handle();
        let meter = Meter::new();
        let runtime = runtime.clone();
        let timeout =
            config.timeout.saturating_add(config.link.map_or(Duration::ZERO, |link| link.patience()));
        let closer = Closer::new(reader, writer);
        Self { runtime, timeout, outbox, inbox, closer, written, meter, pool, flight: None }
    }

    /// Sends `payload`, in as many frames as it needs; an empty one sends nothing.
    ///
    /// # Errors
    /// [`Error::Timeout`] or [`Error::PeerClosed`] if the peer stopped taking frames.
    ///
    /// # Communication cost
    /// [`wire_bytes`](super::wire_bytes)`(payload.len())` to the peer.
    pub fn send(&mut self, payload: Vec<u8>) -> Result<(), Error> {
        for frame in split(payload, self.depth_to_send()) {
            self.meter.sent(frame.wire_bytes(), frame.depth);
            let pushed = match self.outbox.try_send(frame) {
                Ok(()) => Ok(()),
                Err(mpsc::error::TrySendError::Full(frame)) => {
                    self.runtime.block_on(push(&self.outbox, frame, self.timeout))
                }
                Err(mpsc::error::TrySendError::Closed(_)) => Err(Stop::SendEnded),
            };
            pushed.map_err(|stop| self.error(stop))?;
        }
        Ok(())
    }

    /// Receives exactly `len` bytes, sent by one [`send`](Self::send) of that length.
    ///
    /// # Errors
    /// [`Error::PeerLength`] if a frame has another length; [`Error::Timeout`], [`Error::PeerClosed`],
    /// [`Error::PeerData`].
    pub fn recv(&mut self, len: usize) -> Result<Vec<u8>, Error> {
        let mut message = Vec::new();
        while message.len() < len {
            let frame = self.next_frame()?;
            let payload = self.accept(frame, (len - message.len()).min(MAX_FRAME))?;
            if message.is_empty() {
                message = payload;
            } else {
                message.extend_from_slice(&payload);
                self.pool.give(payload);
            }
        }
        Ok(message)
    }

    /// A buffer of `len` bytes of no meaning, to be filled and sent.
    pub(crate) fn buffer(&self, len: usize) -> Vec<u8> {
        self.pool.take(len)
    }

    /// Takes back the memory of a received message.
    pub(crate) fn recycle(&self, message: Vec<u8>) {
        self.pool.give(message);
    }

    /// Both parties send at once: sends `mine` and receives the peer's message of the same length, in one round.
    ///
    /// # Errors
    /// As [`send`](Self::send) and [`recv`](Self::recv).
    pub fn exchange(&mut self, mine: Vec<u8>) -> Result<Vec<u8>, Error> {
        let len = mine.len();
        self.exchange_sized(mine, len)
    }

    /// [`exchange`](Self::exchange) with a peer whose message has `their_len` bytes. Sending and receiving run side by
    /// side, so it can't deadlock at any length.
    ///
    /// # Errors
    /// As [`send`](Self::send) and [`recv`](Self::recv).
    pub fn exchange_sized(&mut self, mine: Vec<u8>, their_len: usize) -> Result<Vec<u8>, Error> {
        let frames = split(mine, self.depth_to_send());
        for frame in &frames {
            self.meter.sent(frame.wire_bytes(), frame.depth);
        }
        let (outbox, inbox, wait) = (&self.outbox, &mut self.inbox, self.timeout);
        let sending = async {
            for frame in frames {
                push(outbox, frame, wait).await?;
            }
            Ok(())
        };
        let receiving = async {
            let mut frames = Vec::new();
            for _ in 0..super::frame_count(their_len as u64) {
                frames.push(pull(inbox, wait).await?);
            }
            Ok(frames)
        };
        let joined = self.runtime.block_on(async { tokio::try_join!(sending, receiving) });
        let ((), received) = joined.map_err(|stop| self.error(stop))?;
        let mut message = Vec::with_capacity(their_len);
        for frame in received {
            let payload = self.accept(frame, (their_len - message.len()).min(MAX_FRAME))?;
            message.extend_from_slice(&payload);
            self.pool.give(payload);
        }
        Ok(message)
    }

    /// Sends a message whose length the peer doesn't know: its `u32` length, then itself, as one payload.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    ///
    /// # Communication cost
    /// [`wire_bytes`](super::wire_bytes)`(4 + payload.len())` to the peer.
    pub fn send_message(&mut self, payload: &[u8]) -> Result<(), Error> {
        let length = u32::try_from(payload.len()).map_err(|_| Error::Config {
            what: "message length",
            expected: format!("at most {} bytes", u32::MAX),
            found: payload.len().to_string(),
            next: "send bulk data with a length that both parties know",
        })?;
        let mut framed = Vec::with_capacity(4 + payload.len());
        framed.extend_from_slice(&length.to_le_bytes());
        framed.extend_from_slice(payload);
        self.send(framed)
    }

    /// Receives what [`send_message`](Self::send_message) sent, if it has at most `max` bytes.
    ///
    /// # Errors
    /// [`Error::PeerLength`] if it is longer or its frames contradict its length, before more than one frame is held.
    pub fn recv_bounded(&mut self, max: usize) -> Result<Vec<u8>, Error> {
        let first = self.next_frame()?;
        let Some((length, _)) = first.payload.split_first_chunk::<4>() else {
            return Err(self.length_error(4, first.payload.len()));
        };
        let length = u32::from_le_bytes(*length) as usize;
        if length > max {
            return Err(self.length_error(max, length));
        }
        let mut message = self.accept(first, (4 + length).min(MAX_FRAME))?.split_off(4);
        message.extend(self.recv(length - message.len())?);
        Ok(message)
    }

    /// Runs `body`, whose sent messages depend on nothing it receives: they all count as one round, however they
    /// interleave with what is received.
    ///
    /// # Errors
    /// Those of `body`.
    pub fn flight<T>(&mut self, body: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        let outer = self.flight;
        self.flight = Some(self.depth_to_send());
        let result = body(self);
        self.flight = outer;
        result
    }

    /// Books the following traffic under `scope`.
    pub fn set_scope(&mut self, scope: Scope) {
        self.meter.set_scope(scope);
    }

    /// What was sent and received so far.
    pub fn meter(&self) -> &Meter {
        &self.meter
    }

    /// A handle that ends this channel from another thread.
    pub fn closer(&self) -> Closer {
        self.closer.clone()
    }

    /// Forgets what the peer sent and nobody took, and takes no more: nothing can be received any more.
    pub(crate) fn end_receiving(&mut self) {
        self.inbox.close();
        while self.inbox.try_recv().is_ok() {}
    }

    fn depth_to_send(&self) -> u32 {
        self.flight.unwrap_or(self.meter.received_depth().saturating_add(1))
    }

    fn next_frame(&mut self) -> Result<Frame, Error> {
        let frame = match self.inbox.try_recv() {
            Ok(frame) => frame.map_err(Stop::Stream),
            Err(_) => self.runtime.block_on(pull(&mut self.inbox, self.timeout)),
        };
        frame.map_err(|stop| self.error(stop))
    }

    fn accept(&mut self, frame: Frame, expected: usize) -> Result<Vec<u8>, Error> {
        if frame.payload.len() != expected {
            return Err(self.length_error(expected, frame.payload.len()));
        }
        if !(1..=self.meter.depth_limit()).contains(&frame.depth) {
            return Err(Error::PeerData {
                scope: self.meter.scope(),
                what: "a frame's causal depth",
                expected: "at most one more than the deepest frame sent to it",
                found: frame.depth.to_string(),
            });
        }
        self.meter.received(frame.wire_bytes(), frame.depth);
        Ok(frame.payload)
    }

    fn length_error(&self, expected: usize, found: usize) -> Error {
        Error::PeerLength { scope: self.meter.scope(), expected: expected as u64, found: found as u64 }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        // Closing the queue is what tells the writer task to finish.
        self.outbox.close();
        let line = self.outbox.take_line();
        // The writer task empties its queue by itself, but a peer that stopped reading must not keep it and its socket
        // for ever. Waiting for it here matters because the caller may stop the runtime next; on a runtime's own thread
        // that could starve the task.
        if Handle::try_current().is_err() {
            let _ = self.written.recv_timeout(self.timeout);
            self.closer.writer.abort();
            // Without a writer a link's thread has nothing to wait for; it only needs to be scheduled.
            if let Some(line) = line {
                line.end(LINE_END);
            }
        } else {
            let (writer, wait) = (self.closer.writer.clone(), self.timeout);
            self.runtime.spawn(async move {
                sleep(wait).await;
                writer.abort();
                drop(line);
            });
        }
        self.closer.reader.abort();
    }
}

/// The queue to the writer task. A link that can't be had closes it at once, and `done` tells why.
fn open_outbox(
    link: Option<Link>,
    done: &std_mpsc::Sender<std::io::Result<()>>,
) -> (Outbox, mpsc::Receiver<Frame>) {
    let Some(link) = link else { return Outbox::direct() };
    Outbox::shaped(link).unwrap_or_else(|error| {
        // The receiver is this channel's own and lives.
        let _ = done.send(Err(error));
        let (mut outbox, to_write) = Outbox::direct();
        outbox.close();
        (outbox, to_write)
    })
}
