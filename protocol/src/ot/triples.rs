//! Bit triples for AND gates, straight from random OTs (Asharov, Lindell, Schneider and Zohner, CCS 2013).
//!
//! A random OT gives its sender bits m_0, m_1 and its receiver r, m_r, and m_0 ^ m_r = r * (m_0 ^ m_1): a shared product of one
//! factor each. One OT in each direction gives both cross products of (a_s ^ a_c) * (b_s ^ b_c). The receiver's factor r
//! is the same for every bit of the pad, so further bits give further products with the common factor b.

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::hash::tweak;
use super::{Block, Ots};
use crate::Error;

/// XOR shares of random bits with `c[m] = a[m] & b` for one or two m; the elements at one index belong together.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct BitTriples {
    /// Shares of the factors of each product: bit m is `a[m]`.
    pub a: Vec<u8>,
    /// Shares of the common factor.
    pub b: Vec<bool>,
    /// Shares of the products: bit m is `c[m]`.
    pub c: Vec<u8>,
}

impl Ots {
    /// Takes `count` triples out of the stock; the peer does the same at the same point of the protocol. Bits 0 and 1 of
    /// `a` and `c` are set; who needs one product ignores bit 1.
    ///
    /// # Errors
    /// [`Error::Exhausted`] if fewer than `count` OTs are left in a direction.
    ///
    /// # Communication cost
    /// None. Uses `count` OTs as sender and `count` as receiver.
    pub fn bit_triples(&mut self, count: usize) -> Result<BitTriples, Error> {
        let (sending, receiving) = (self.offer_randomly(count)?, self.choose_randomly(count)?);
        let delta = *self.sender.delta;
        let serials = |first: u64| (first..).map(tweak);
        let zero = self.sender.hash.blocks(sending.zero.iter().copied().zip(serials(sending.first_serial)));
        let one = self
            .sender
            .hash
            .blocks(sending.zero.iter().map(|q| q ^ delta).zip(serials(sending.first_serial)));
        let known =
            self.receiver.hash.blocks(receiving.key.iter().copied().zip(serials(receiving.first_serial)));
        let bits = |pad: &Block| *pad as u8 & 3;
        let pairs = zero.iter().zip(one.iter());
        let a: Zeroizing<Vec<u8>> = Zeroizing::new(pairs.map(|(zero, one)| bits(zero) ^ bits(one)).collect());
        let b = receiving.choices().to_vec();
        let cross = zero.iter().zip(known.iter()).map(|(zero, known)| bits(zero) ^ bits(known));
        let c = a.iter().zip(&b).zip(cross).map(|((a, &b), cross)| a & spread(b) ^ cross).collect();
        Ok(BitTriples { a: a.to_vec(), b, c })
    }
}

/// Both bits equal to `bit`.
pub(crate) fn spread(bit: bool) -> u8 {
    u8::from(bit) * 3
}
