//! The thread that makes one direction of a connection as slow as a [`Link`].
//!
//! It has a thread of its own because tokio's timer counts milliseconds and a LAN's delay is 0.15 of one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as std_mpsc;
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::Link;
use super::frame::Frame;

/// The system wakes a sleeping thread this late (50 us of timer slack and a switch): it sleeps that much less and spins.
const SPIN: Duration = Duration::from_micros(100);

/// A frame and when the party sent it. Counting from there, not from when the thread woke up, keeps the thread's own
/// delays out of the model.
pub(super) type Sent = (Instant, Frame);

/// The running thread; dropping this ends it, with whatever it holds.
pub(super) struct DelayLine {
    thread: Thread,
    stop: Arc<AtomicBool>,
    ended: std_mpsc::Receiver<()>,
}

impl DelayLine {
    /// Carries frames from `from` to `to` until either end is closed; a closed `from` is emptied first.
    ///
    /// # Errors
    /// If the system has no thread to spare.
    pub(super) fn start(
        link: Link,
        from: mpsc::Receiver<Sent>,
        to: mpsc::Sender<Frame>,
    ) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (running, ended) = std_mpsc::channel();
        let line = Line {
            link,
            from,
            to,
            stop: Arc::clone(&stop),
            epoch: Instant::now(),
            free_at: Duration::ZERO,
            under_way: VecDeque::new(),
            held: 0,
        };
        let carry = move || {
            line.carry();
            drop(running);
        };
        let thread = thread::Builder::new().name("eqo-link".into()).spawn(carry)?.thread().clone();
        Ok(Self { thread, stop, ended })
    }

    /// The thread, which must be unparked whenever something was put into its queue or the queue was closed.
    pub(super) fn thread(&self) -> &Thread {
        &self.thread
    }

    /// Ends the thread, for which it has `wait`.
    pub(super) fn end(self, wait: Duration) {
        self.interrupt();
        // Nothing is ever sent: the other end's drop is the signal. A thread that is later than this still ends.
        let _ = self.ended.recv_timeout(wait);
    }

    fn interrupt(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

impl Drop for DelayLine {
    fn drop(&mut self) {
        self.interrupt();
    }
}

/// The thread's state. Times count from `epoch`.
struct Line {
    link: Link,
    from: mpsc::Receiver<Sent>,
    to: mpsc::Sender<Frame>,
    stop: Arc<AtomicBool>,
    epoch: Instant,
    /// When the last frame taken leaves the wire.
    free_at: Duration,
    /// Frames and when they arrive, soonest first.
    under_way: VecDeque<(Duration, Frame)>,
    /// Their bytes.
    held: u64,
}

impl Line {
    fn carry(mut self) {
        loop {
            let open = self.take();
            if self.stop.load(Ordering::SeqCst) || self.to.is_closed() {
                return;
            }
            let Some((arrives, _)) = self.under_way.front() else {
                if !open {
                    return;
                }
                thread::park();
                continue;
            };
            let arrives = *arrives;
            let left = arrives.saturating_sub(self.epoch.elapsed());
            if left > SPIN {
                // A frame sent meanwhile ends the sleep, so that the queue behind a long delay never fills up.
                thread::park_timeout(left - SPIN);
                continue;
            }
            while self.epoch.elapsed() < arrives {
                std::hint::spin_loop();
            }
            if !self.deliver() {
                return;
            }
        }
    }

    /// Takes what was sent, as far as there is room; false once nothing more can come.
    fn take(&mut self) -> bool {
        while self.held < self.link.capacity() {
            match self.from.try_recv() {
                Ok((sent, frame)) => {
                    let bytes = frame.wire_bytes();
                    let starts = sent.saturating_duration_since(self.epoch).max(self.free_at);
                    self.free_at = starts.saturating_add(self.link.time_on_wire(bytes));
                    self.under_way.push_back((self.free_at.saturating_add(self.link.delay()), frame));
                    self.held += bytes;
                }
                Err(mpsc::error::TryRecvError::Empty) => return true,
                Err(mpsc::error::TryRecvError::Disconnected) => return false,
            }
        }
        true
    }

    /// Hands the first frame over; false if nobody takes it any more.
    fn deliver(&mut self) -> bool {
        let Some((_, frame)) = self.under_way.pop_front() else { return true };
        self.held -= frame.wire_bytes();
        match self.to.try_send(frame) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(frame)) => {
                // A receiver that takes nothing stops the wire: without the shift, everything behind this frame would
                // be late and rush out at once.
                let since = Instant::now();
                let taken = self.to.blocking_send(frame).is_ok();
                self.epoch += since.elapsed();
                taken
            }
        }
    }
}
