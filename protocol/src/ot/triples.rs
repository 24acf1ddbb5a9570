//! Bit triples for AND gates, straight from random OTs (Asharov, Lindell, Schneider and Zohner, CCS 2013).
//!
//! A random OT gives its sender bits m_0, m_1 and its receiver r, m_r, and m_0 ^ m_r = r * (m_0 ^ m_1): a shared product of one
//! factor each. One OT in each direction gives both cross products of (a_s ^ a_c) * (b_s ^ b_c).

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::Ots;
use super::hash::tweak;
use crate::Error;

/// XOR shares of random bits with `c = a & b`; the elements at one index belong together.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct BitTriples {
    /// Shares of the first factors.
    pub a: Vec<bool>,
    /// Shares of the second factors.
    pub b: Vec<bool>,
    /// Shares of the products.
    pub c: Vec<bool>,
}

impl Ots {
    /// Takes `count` bit triples out of the stock; the peer does the same at the same point of the protocol.
    ///
    /// # Errors
    /// [`Error::Exhausted`] if fewer than `count` OTs are left in a direction.
    ///
    /// # Communication cost
    /// None. Uses `count` OTs as sender and `count` as receiver.
    pub fn bit_triples(&mut self, count: usize) -> Result<BitTriples, Error> {
        let (sending, receiving) = (self.sender.draw(count)?, self.receiver.draw(count)?);
        let delta = *self.sender.delta;
        let serials = |first: u64| (first..).map(tweak);
        let zero = self.sender.hash.blocks(sending.q.iter().copied().zip(serials(sending.first_serial)));
        let one =
            self.sender.hash.blocks(sending.q.iter().map(|q| q ^ delta).zip(serials(sending.first_serial)));
        let known =
            self.receiver.hash.blocks(receiving.t.iter().copied().zip(serials(receiving.first_serial)));
        let bit = |pad: &u128| pad & 1 == 1;
        let a: Vec<bool> = zero.iter().zip(one.iter()).map(|(zero, one)| bit(zero) ^ bit(one)).collect();
        let b: Vec<bool> = receiving.choices().collect();
        let cross = zero.iter().zip(known.iter()).map(|(zero, known)| bit(zero) ^ bit(known));
        let c = a.iter().zip(&b).zip(cross).map(|((a, b), cross)| a & b ^ cross).collect();
        Ok(BitTriples { a, b, c })
    }
}
