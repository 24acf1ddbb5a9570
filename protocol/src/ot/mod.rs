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
pub use setup::{Ots, prepare_payloads, setup_payloads};
pub use triples::BitTriples;

use crate::Error;
use crate::transport::Channel;

/// 128 bits of key material or correlation; bit i of a row is bit i of the integer.
pub type Block = u128;

/// How random OTs are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OtKind {
    /// SoftSpoken over the field with 2^k elements (Roy, CRYPTO 2022, semi-honest): 128/k - 1 bits per OT, 2^k / k
    /// times the work. k = 1 is IKNP.
    SoftSpoken {
        /// 1, 2, 4 or 8.
        k: u32,
    },
}

impl OtKind {
    /// SoftSpoken with `k`.
    ///
    /// # Errors
    /// [`Error::Config`] unless `k` is 1, 2, 4 or 8.
    pub fn soft_spoken(k: u32) -> Result<Self, Error> {
        let kind = Self::SoftSpoken { k };
        kind.k().map(|_| kind)
    }

    fn k(self) -> Result<usize, Error> {
        let Self::SoftSpoken { k } = self;
        if [1, 2, 4, 8].contains(&k) {
            return Ok(k as usize);
        }
        Err(Error::Config {
            what: "SoftSpoken k",
            expected: "1, 2, 4 or 8".into(),
            found: k.to_string(),
            next: "take 4 for a fast link, 8 for a slow one, 1 to run as IKNP",
        })
    }
}

/// How many OTs really come out of a request for `count`: rounded up to a multiple of 128.
pub const fn prepared(count: u64) -> u64 {
    count.next_multiple_of(128)
}

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
