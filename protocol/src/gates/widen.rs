//! `[x] in Z_{2^L} <- Widen([x] in Z_{2^w})` for `0 <= x < 2^(w−1)`, prepared before anybody knows a share of x.
//!
//! The top bit of x is 0, so the shares wrap exactly if one of them has its top bit set:
//! `x = x_s + x_c − 2^w·(m_s + m_c − m_s·m_c)`. Bits A (server) and B (client) are random, and shares of `A·B` come from one
//! offline COT with a random choice. Online `m_s ⊕ A` and `m_c ⊕ B` cross, and `m_s·m_c` follows locally.
//!
//! *Privacy*: the opened bits are masked by uniform bits used once.
//! *Cost* for n elements: `ceil(n(L−w) / 8)` bytes to the client offline, `ceil(n / 8)` each way online, 1 round, n OTs sent by the
//! server; nothing if L <= w. *Source*: the known top bit after Cheetah (eprint 2022/207, §4).

use rand::RngExt;
use zeroize::Zeroizing;

use super::multiplier::Bits;
use super::{Party, span};
use crate::Error;
use crate::ot::{ChosenOts, CotShape, OfferedOts};
use crate::ring::pack::{BitReader, BitWriter, pack_bits, packed_bytes, unpack_bits};

/// The public shape of one widening.
pub struct Widening {
    /// How many elements.
    pub elements: usize,
    /// w, at least 2.
    pub narrow: u8,
    /// L; up to w, shares stay as they are.
    pub wide: u8,
}

/// Prepared: products of two random bits, one known to each party, in Z_{2^(L−w)}; none if L <= w. It serves once.
pub struct Wraps {
    own: Bits,
    product: Zeroizing<Vec<u64>>,
}

impl Widening {
    /// Takes OTs out of the stock; no message.
    ///
    /// # Errors
    /// [`Error::Exhausted`].
    pub fn server_draw(&self, party: &mut Party) -> Result<OfferedOts, Error> {
        party.ots.offer_randomly(self.wraps())
    }

    /// See [`Widening::server_draw`].
    ///
    /// # Errors
    /// [`Error::Exhausted`].
    pub fn client_draw(&self, party: &mut Party) -> Result<ChosenOts, Error> {
        party.ots.choose_randomly(self.wraps())
    }

    /// The only message before the elements are known, to the client.
    ///
    /// # Errors
    /// Those of the channel.
    pub fn server_correct(&self, party: &mut Party, ots: OfferedOts) -> Result<Wraps, Error> {
        let _span = span("widen");
        let (count, width) = (self.wraps(), self.room());
        let own = Bits::new((0..count).map(|_| party.rng.random()).collect());
        let mut product = Zeroizing::new(Vec::with_capacity(count));
        let mut corrections = BitWriter::with_capacity(count as u64 * u64::from(width));
        if count > 0 {
            party.ots.offered_pads(
                ots,
                |_| CotShape { lanes: 1, bits: width },
                |j, zero, one| {
                    corrections.put(zero[0].wrapping_sub(one[0]).wrapping_add(u64::from(own[j])), width);
                    product.push(zero[0].wrapping_neg());
                    Ok(())
                },
            )?;
        }
        party.channel.send(corrections.finish())?;
        Ok(Wraps { own, product })
    }

    /// The client's side of [`Widening::server_correct`].
    ///
    /// # Errors
    /// Those of the channel.
    pub fn client_correct(&self, party: &mut Party, ots: ChosenOts) -> Result<Wraps, Error> {
        let _span = span("widen");
        let (count, width) = (self.wraps(), self.room());
        let own = Bits::new(ots.choices().to_vec());
        let message = party.channel.recv(packed_bytes(count as u64 * u64::from(width)) as usize)?;
        let mut corrections = BitReader::new(&message);
        let mut product = Zeroizing::new(Vec::with_capacity(count));
        if count > 0 {
            party.ots.chosen_pads(
                ots,
                |_| CotShape { lanes: 1, bits: width },
                |_, choice, pad| {
                    let correction = corrections.get(width) & u64::from(choice).wrapping_neg();
                    product.push(pad[0].wrapping_add(correction));
                    Ok(())
                },
            )?;
        }
        Ok(Wraps { own, product })
    }

    /// From shares below 2^w to shares in Z_{2^L}.
    ///
    /// # Errors
    /// Those of the channel.
    pub fn run(&self, party: &mut Party, wraps: Wraps, mut shares: Vec<u64>) -> Result<Vec<u64>, Error> {
        let _span = span("widen");
        if self.room() == 0 {
            return Ok(shares);
        }
        let tops: Vec<bool> = shares.iter().map(|share| share >> (self.narrow - 1) & 1 == 1).collect();
        let mine: Vec<bool> = tops.iter().zip(wraps.own.iter()).map(|(top, own)| top ^ own).collect();
        let theirs = unpack_bits(&party.channel.exchange(pack_bits(&mine))?, mine.len());
        let server = party.is_server();
        for (i, share) in shares.iter_mut().enumerate() {
            let [own_top, own_mask, mine, theirs] =
                [tops[i], wraps.own[i], mine[i], theirs[i]].map(u64::from);
            // With tops d ⊕ a and e ⊕ b: m_s·m_c = e·m_s + d·(1 − 2e)·b + (1 − 2d)(1 − 2e)·ab, where the server knows the first
            // term and the client the second.
            let sign = |bit: u64| 1_u64.wrapping_sub(2 * bit);
            let known = if server { theirs * own_top } else { (theirs * own_mask).wrapping_mul(sign(mine)) };
            let product =
                known.wrapping_add(wraps.product[i].wrapping_mul(sign(mine)).wrapping_mul(sign(theirs)));
            *share = share.wrapping_sub(own_top.wrapping_sub(product) << self.narrow);
        }
        Ok(shares)
    }

    /// L − w.
    fn room(&self) -> u32 {
        u32::from(self.wide.saturating_sub(self.narrow))
    }

    /// How many wraps are prepared.
    fn wraps(&self) -> usize {
        if self.room() > 0 { self.elements } else { 0 }
    }
}
