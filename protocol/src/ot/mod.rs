//! Oblivious transfer, semi-honest, λ = 128.
//!
//! [`Ots`] is what gates use. Underneath, base OTs on ristretto seed [`RandomCotSender`] / [`RandomCotReceiver`]
//! (SoftSpoken), whose correlations are stocked, hashed to pads and used up one by one.
//!
//! All communication formulas give payload bytes; [`wire_bytes`](crate::transport::wire_bytes) adds the frame headers.

mod base;
mod cot;
mod hash;
#[cfg(target_arch = "x86_64")]
mod kernels;
mod leaves;
mod one_of_n;
mod permutation;
mod pprf;
mod prg;
mod random;
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

use zeroize::Zeroizing;

use crate::Error;
use crate::transport::Channel;

/// 128 bits of key material or correlation; bit i of a row is bit i of the integer.
pub type Block = u128;

/// Blocks that nobody else may see.
pub type Secrets = Zeroizing<Vec<Block>>;

/// The sender of correlated random OTs: it holds delta and, for each OT, q with q = t ^ r * delta.
///
/// The lowest bit of delta is 1 and that of every q is 0, so that of t is the choice r: a block is all that an OT needs.
/// 127 bits of delta stay secret (the convention of emp-ot and of Yang et al., CCS 2020).
pub trait RandomCotSender: Send {
    /// The secret that every correlation shares; odd.
    fn delta(&self) -> Block;

    /// Makes `count` OTs, rounded up to a multiple of 128, and appends their q to `out`.
    ///
    /// # Errors
    /// Those of the channel.
    fn extend(&mut self, channel: &mut Channel, count: usize, out: &mut Secrets) -> Result<(), Error>;
}

/// The receiver of correlated random OTs: for each OT it holds t = q ^ r * delta, whose lowest bit is the random choice r.
pub trait RandomCotReceiver: Send {
    /// Makes `count` OTs, rounded up to a multiple of 128, and appends their t to `out`.
    ///
    /// # Errors
    /// Those of the channel.
    fn extend(&mut self, channel: &mut Channel, count: usize, out: &mut Secrets) -> Result<(), Error>;
}
