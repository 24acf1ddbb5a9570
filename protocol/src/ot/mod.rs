//! Oblivious transfer, semi-honest, λ = 128.
//!
//! [`Ots`] is what gates use. Underneath, base OTs on ristretto seed [`RandomCotSender`] / [`RandomCotReceiver`]
//! (SoftSpoken), whose correlations are stocked, hashed to pads and used up one by one.
//!
//! All communication formulas give payload bytes; [`wire_bytes`](crate::transport::wire_bytes) adds the frame headers.

mod base;
mod cot;
mod hash;
mod one_of_n;
mod pprf;
mod prg;
mod setup;
mod softspoken;
mod stock;
#[cfg(test)]
mod tests;
mod transpose;
mod triples;

pub use cot::{Correlation, CotShape};
pub use eqo_checkpoints::cost::{OtKind, prepare_payloads, prepared, setup_payloads};
pub use one_of_n::OneOfN;
pub use setup::Ots;
pub use triples::BitTriples;

use crate::Error;
use crate::transport::Channel;

/// 128 bits of key material or correlation; bit i of a row is bit i of the integer.
pub type Block = u128;

/// The sender of correlated random OTs: it holds delta and, for each OT, q with q = t ^ r * delta.
pub trait RandomCotSender: Send {
    /// The secret that every correlation shares.
    fn delta(&self) -> Block;

    /// Makes `count` OTs, rounded up to a multiple of 128, and returns their q.
    ///
    /// # Errors
    /// Those of the channel.
    fn extend(&mut self, channel: &mut Channel, count: usize) -> Result<Vec<Block>, Error>;
}

/// The receiver of correlated random OTs: for each OT it holds a random choice r and t = q ^ r * delta.
pub trait RandomCotReceiver: Send {
    /// Makes `count` OTs, rounded up to a multiple of 128, and returns their r and t.
    ///
    /// # Errors
    /// Those of the channel.
    fn extend(&mut self, channel: &mut Channel, count: usize) -> Result<(Vec<bool>, Vec<Block>), Error>;
}
