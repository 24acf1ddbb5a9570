//! Random OTs with fixed choices: what every conversion starts from.
//!
//! The receiver sends `b ^ r` for each OT, where r is its random choice, and a one swaps the sender's two keys. Neither type can be
//! copied, and every conversion takes them by value: an OT that served once is gone.
//!
//! ```compile_fail
//! # use eqo_protocol::ot::{OfferedOts, Ots};
//! fn twice(ots: &mut Ots, offered: OfferedOts) {
//!     let nothing = |_, _: &[u64], _: &[u64]| Ok(());
//!     let shape = |_| eqo_protocol::ot::CotShape { lanes: 1, bits: 8 };
//!     let _ = ots.offered_pads(offered, shape, nothing);
//!     let _ = ots.offered_pads(offered, shape, nothing);
//! }
//! ```

use zeroize::Zeroizing;

use super::stock::{ReceiverDraw, SenderDraw};
use super::{Ots, Secrets};
use crate::Error;
use crate::ring::pack::{pack_bits, unpack_bits};

/// The sender's side of OTs whose choices are fixed. The keys of OT j are `H(zero_j)` and `H(zero_j ^ delta)`.
pub struct OfferedOts {
    pub(super) zero: Secrets,
    pub(super) first_serial: u64,
}

/// The receiver's side: its choices, and the keys that belong to them.
pub struct ChosenOts {
    pub(super) key: Secrets,
    choices: Zeroizing<Vec<bool>>,
    pub(super) first_serial: u64,
}

impl Ots {
    /// Takes an OT for each choice out of the stock, as receiver. The bytes are for the sender's [`Ots::offer`].
    ///
    /// # Errors
    /// [`Error::Exhausted`] if fewer OTs are left.
    ///
    /// # Communication cost
    /// `ceil(n / 8)` bytes, which the caller sends.
    pub fn choose(&mut self, choices: Vec<bool>) -> Result<(ChosenOts, Vec<u8>), Error> {
        let choices = Zeroizing::new(choices);
        let drawn = self.receiver.draw(choices.len())?;
        let flips: Vec<bool> =
            choices.iter().zip(drawn.choices()).map(|(choice, random)| choice ^ random).collect();
        let ReceiverDraw { t, first_serial } = drawn;
        Ok((ChosenOts { key: t, choices, first_serial }, pack_bits(&flips)))
    }

    /// Takes `count` OTs out of the stock, as sender, for the peer that sent these bytes.
    ///
    /// # Errors
    /// [`Error::Exhausted`] if fewer OTs are left.
    pub fn offer(&mut self, count: usize, flips: &[u8]) -> Result<OfferedOts, Error> {
        let mut offered = self.offer_randomly(count)?;
        let delta = *self.sender.delta;
        let flips = unpack_bits(flips, count);
        for (zero, flip) in offered.zero.iter_mut().zip(flips) {
            *zero ^= delta & u128::from(flip).wrapping_neg();
        }
        Ok(offered)
    }

    /// Takes `count` OTs with random choices out of the stock, as receiver. Nothing is sent.
    ///
    /// # Errors
    /// [`Error::Exhausted`] if fewer OTs are left.
    pub fn choose_randomly(&mut self, count: usize) -> Result<ChosenOts, Error> {
        let drawn = self.receiver.draw(count)?;
        let choices = Zeroizing::new(drawn.choices().collect());
        Ok(ChosenOts { key: drawn.t, choices, first_serial: drawn.first_serial })
    }

    /// The sender's side of [`Ots::choose_randomly`].
    ///
    /// # Errors
    /// [`Error::Exhausted`] if fewer OTs are left.
    pub fn offer_randomly(&mut self, count: usize) -> Result<OfferedOts, Error> {
        let SenderDraw { q, first_serial } = self.sender.draw(count)?;
        Ok(OfferedOts { zero: q, first_serial })
    }
}

impl OfferedOts {
    /// How many OTs these are.
    pub fn count(&self) -> usize {
        self.zero.len()
    }

    /// Splits off the OTs from `at` on.
    pub fn split_off(&mut self, at: usize) -> Self {
        let zero = Zeroizing::new(self.zero.split_off(at));
        Self { zero, first_serial: self.first_serial + at as u64 }
    }
}

impl ChosenOts {
    /// The choices.
    pub fn choices(&self) -> &[bool] {
        &self.choices
    }

    /// Splits off the OTs from `at` on.
    pub fn split_off(&mut self, at: usize) -> Self {
        Self {
            key: Zeroizing::new(self.key.split_off(at)),
            choices: Zeroizing::new(self.choices.split_off(at)),
            first_serial: self.first_serial + at as u64,
        }
    }
}
