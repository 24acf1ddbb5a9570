//! signatures first
#![allow(clippy::todo, unused)]
use super::Ots;
use crate::Error;

/// XOR shares of random bits with `c = a & b`; element i of all three belongs together.
pub struct BitTriples {
    /// Shares of the first factors.
    pub a: Vec<bool>,
    /// Shares of the second factors.
    pub b: Vec<bool>,
    /// Shares of the products.
    pub c: Vec<bool>,
}

impl Ots {
    /// Takes `count` bit triples out of the stock: one OT as sender and one as receiver each, no communication.
    pub fn bit_triples(&mut self, count: usize) -> Result<BitTriples, Error> {
        todo!()
    }
}
