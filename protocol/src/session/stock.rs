//! Prepared inferences: in memory only, drawn down in the order they were made.
//!
//! Memory only, because masks and pads on disk would outlive the session whose peer holds the other half, and a copy of the file
//! would let both halves be used twice. What a session leaves over is wiped when it ends.

use std::collections::VecDeque;

/// One party's prepared inferences by batch size; the other party's stock has the same sizes in the same order.
pub(super) struct Stock<M>(VecDeque<(usize, M)>);

impl<M> Stock<M> {
    pub(super) fn new() -> Self {
        Self(VecDeque::new())
    }

    pub(super) fn put(&mut self, batch: usize, material: M) {
        self.0.push_back((batch, material));
    }

    /// The oldest one for this batch size; it is gone from the stock.
    pub(super) fn take(&mut self, batch: usize) -> Option<M> {
        let at = self.0.iter().position(|(prepared, _)| *prepared == batch)?;
        self.0.remove(at).map(|(_, material)| material)
    }

    /// Images of all prepared inferences.
    pub(super) fn images(&self) -> usize {
        self.0.iter().map(|(batch, _)| batch).sum()
    }

    /// How many inferences of this batch size are prepared.
    pub(super) fn count(&self, batch: usize) -> usize {
        self.0.iter().filter(|(prepared, _)| *prepared == batch).count()
    }
}
