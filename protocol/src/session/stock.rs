//! Prepared inferences: in memory only, drawn down in the order they were made.
//!
//! Memory only, because masks and pads on disk would outlive the session whose peer holds the other half, and a copy of the file
//! would let both halves be used twice. What a session leaves over is wiped when it ends.
//!
//! A stock outlives a broken connection, if the client comes back in time ([`super::client::Client::resume`]). Nothing in it was
//! ever sent, and it holds no OTs: a new connection runs new base OTs, so that whatever the old one had begun to use is never met
//! again. A preparation that was interrupted is kept up to its last whole window; what was drawn for the window at hand is gone.

use std::collections::VecDeque;

/// One party's prepared inferences; the other party's stock has the same serial numbers and sizes in the same order. `M` is a
/// prepared inference, `P` one that is being prepared.
pub(super) struct Stock<M, P> {
    ready: VecDeque<Ready<M>>,
    /// What a broken connection interrupted.
    interrupted: Option<Begun<P>>,
    /// Of the next preparation that is begun. A number is never given twice.
    next_serial: u64,
    /// How many inferences were prepared at once.
    most_ready: usize,
}

struct Ready<M> {
    serial: u64,
    batch: usize,
    material: M,
}

/// A preparation under way.
pub(super) struct Begun<P> {
    pub(super) serial: u64,
    pub(super) batch: usize,
    pub(super) preparation: P,
}

impl<M, P> Stock<M, P> {
    pub(super) fn new() -> Self {
        Self { ready: VecDeque::new(), interrupted: None, next_serial: 0, most_ready: 0 }
    }

    /// A preparation for this batch size: the one that was interrupted, or a new one, in whose favour another size is dropped.
    pub(super) fn begin(&mut self, batch: usize, new: impl FnOnce() -> P) -> Begun<P> {
        let interrupted = self.interrupted.take().filter(|begun| begun.batch == batch);
        interrupted.unwrap_or_else(|| {
            let serial = self.next_serial;
            self.next_serial += 1;
            Begun { serial, batch, preparation: new() }
        })
    }

    /// Keeps what a preparation had done when the connection broke; the caller has looked whether that is anything.
    pub(super) fn interrupt(&mut self, begun: Begun<P>) {
        self.interrupted = Some(begun);
    }

    pub(super) fn put(&mut self, (serial, batch): (u64, usize), material: M) {
        self.ready.push_back(Ready { serial, batch, material });
        self.most_ready = self.most_ready.max(self.ready.len());
    }

    /// The most inferences that were ever prepared at once.
    pub(super) fn most_ready(&self) -> usize {
        self.most_ready
    }

    /// The oldest one for this batch size; it is gone from the stock.
    pub(super) fn take(&mut self, batch: usize) -> Option<M> {
        let at = self.ready.iter().position(|ready| ready.batch == batch)?;
        self.ready.remove(at).map(|ready| ready.material)
    }

    /// Images of all prepared inferences.
    pub(super) fn images(&self) -> usize {
        self.ready.iter().map(|ready| ready.batch).sum()
    }

    /// The same, and of what was interrupted: none if there is nothing to come back to.
    pub(super) fn images_to_keep(&self) -> usize {
        self.images() + self.interrupted.as_ref().map_or(0, |begun| begun.batch)
    }

    /// Drops the newest inferences that are more than `most` images together with what was interrupted.
    pub(super) fn shrink_to(&mut self, most: usize) {
        while self.images_to_keep() > most && self.ready.pop_back().is_some() {}
    }

    /// How many inferences of this batch size are prepared.
    pub(super) fn count(&self, batch: usize) -> usize {
        self.ready.iter().filter(|ready| ready.batch == batch).count()
    }

    /// The batch sizes of all prepared inferences, oldest first.
    pub(super) fn batches(&self) -> Vec<usize> {
        self.ready.iter().map(|ready| ready.batch).collect()
    }

    /// Their serial numbers.
    pub(super) fn serials(&self) -> Vec<u64> {
        self.ready.iter().map(|ready| ready.serial).collect()
    }

    pub(super) fn next_serial(&self) -> u64 {
        self.next_serial
    }

    /// Goes on counting where the other party does.
    pub(super) fn count_from(&mut self, next_serial: u64) {
        self.next_serial = next_serial;
    }

    pub(super) fn interrupted(&self) -> Option<&Begun<P>> {
        self.interrupted.as_ref()
    }

    pub(super) fn take_interrupted(&mut self) -> Option<Begun<P>> {
        self.interrupted.take()
    }

    /// The prepared inference of this number, out of its turn.
    pub(super) fn take_serial(&mut self, serial: u64) -> Option<(usize, M)> {
        let at = self.ready.iter().position(|ready| ready.serial == serial)?;
        self.ready.remove(at).map(|ready| (ready.batch, ready.material))
    }

    /// Drops all prepared inferences but those that `keep` wants, by their numbers.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(u64) -> bool) {
        self.ready.retain(|ready| keep(ready.serial));
    }
}
