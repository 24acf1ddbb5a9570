//! Conversions, multiplexers, extensions and truncations of SCI, on fresh shares.

use eqo_checkpoints::baseline::{Multiplexer, Range};
use rand::Rng;
use zeroize::Zeroizing;

use super::Peer;
use crate::Error;
use crate::gates::convert;
use crate::layers::Shares;
use crate::ot::CotShape;
use crate::ring::mask;
use crate::ring::pack::{BitReader, BitWriter};

impl Peer<'_> {
    /// Shared bits to Z_{2^ring}.
    pub(super) fn convert(&mut self, bits: &[bool], ring: u32) -> Result<Shares, Error> {
        if ring > 1 {
            self.draw(bits.len(), 0)?;
        }
        Ok(Shares::new(convert::bit_to_arithmetic(&mut self.party, bits, ring)?))
    }

    /// Shares of `bits[i]·values[i]` in Z_{2^ring}.
    pub(super) fn multiplex(
        &mut self,
        bits: &[bool],
        values: &[u64],
        (ring, kind): (u32, Multiplexer),
    ) -> Result<Shares, Error> {
        self.draw(bits.len(), bits.len())?;
        match kind {
            Multiplexer::Correlated => {
                Ok(Shares::new(convert::multiplex(&mut self.party, bits, values, ring)?))
            }
            Multiplexer::Chosen => self.multiplex_chosen(bits, values, ring),
        }
    }

    /// CrypTFlow2's form: each party offers both values of `(own ⊕ theirs)·share`, masked.
    fn multiplex_chosen(&mut self, bits: &[bool], values: &[u64], ring: u32) -> Result<Shares, Error> {
        let (count, party) = (bits.len(), &mut self.party);
        let (chosen, flips) = party.ots.choose(bits.to_vec())?;
        let flips = party.channel.exchange(flips)?;
        let offered = party.ots.offer(count, &flips)?;
        let shape = |_| CotShape { lanes: 1, bits: ring };
        let mut message = BitWriter::with_capacity(2 * count as u64 * u64::from(ring));
        let mut shares = Shares::new(Vec::with_capacity(count));
        party.ots.offered_pads(offered, shape, |j, zero, one| {
            let own = party.rng.next_u64();
            for (choice, pad) in [(false, zero[0]), (true, one[0])] {
                let value = u64::from(bits[j] ^ choice).wrapping_mul(values[j]);
                message.put(value.wrapping_sub(own).wrapping_add(pad), ring);
            }
            shares.push(own);
            Ok(())
        })?;
        let message = party.channel.exchange(message.finish())?;
        let mut offers = BitReader::new(&message);
        party.ots.chosen_pads(chosen, shape, |j, choice, pad| {
            let offers = [offers.get(ring), offers.get(ring)];
            let value = offers[usize::from(choice)].wrapping_sub(pad[0]);
            shares[j] = shares[j].wrapping_add(value) & mask(ring);
            Ok(())
        })?;
        Ok(shares)
    }

    pub(super) fn relu(&mut self, bits: u32, shares: &[u64], kind: Multiplexer) -> Result<Shares, Error> {
        let mut positive = self.negative(bits, shares)?;
        if self.is_server() {
            positive.iter_mut().for_each(|bit| *bit = !*bit);
        }
        self.multiplex(&positive, shares, (bits, kind))
    }

    /// `min(x, 2^top − 1)`: the rest to the largest is added where it is negative.
    pub(super) fn clamp(&mut self, (bits, top): (u32, u32), shares: &[u64]) -> Result<Shares, Error> {
        let largest = if self.is_server() { mask(top) } else { 0 };
        let rest =
            Shares::new(shares.iter().map(|share| largest.wrapping_sub(*share) & mask(bits)).collect());
        let beyond = self.negative(bits, &rest)?;
        let mut sum = self.multiplex(&beyond, &rest, (bits, Multiplexer::Correlated))?;
        sum.iter_mut().zip(shares).for_each(|(sum, share)| *sum = sum.wrapping_add(*share));
        Ok(sum)
    }

    /// Shares of the wrap of two shares of Z_{2^bits}.
    pub(super) fn wrap(
        &mut self,
        bits: u32,
        shares: &[u64],
        range: Range,
    ) -> Result<Zeroizing<Vec<bool>>, Error> {
        match range {
            Range::TopBitZero => self.known_wrap(bits, shares),
            Range::Signed | Range::Unsigned => self.carry(bits, shares),
        }
    }

    pub(super) fn extend(
        &mut self,
        (from, to): (u32, u32),
        shares: &[u64],
        range: Range,
    ) -> Result<Shares, Error> {
        // Signed integers are moved up by half the ring and down again.
        let half = if range == Range::Signed && self.is_server() { 1 << (from - 1) } else { 0 };
        let moved = Shares::new(shares.iter().map(|share| share.wrapping_add(half) & mask(from)).collect());
        let wraps = self.wrap(from, &moved, range)?;
        let mut wide = self.convert(&wraps, to - from)?;
        for (wide, share) in wide.iter_mut().zip(moved.iter()) {
            *wide = share.wrapping_sub(*wide << from).wrapping_sub(half);
        }
        Ok(wide)
    }

    pub(super) fn truncate_and_reduce(
        &mut self,
        (bits, shift): (u32, u32),
        shares: &[u64],
    ) -> Result<Shares, Error> {
        let carries = self.carry(shift, shares)?;
        let mut short = self.convert(&carries, bits - shift)?;
        let high = shares.iter().map(|share| (share & mask(bits)) >> shift);
        short.iter_mut().zip(high).for_each(|(short, high)| *short = short.wrapping_add(high));
        Ok(short)
    }

    /// `x >> shift` in the same ring: `high + carry − wrap·2^(bits − shift)`.
    pub(super) fn truncate(
        &mut self,
        (bits, shift): (u32, u32),
        shares: &[u64],
        range: Range,
    ) -> Result<Shares, Error> {
        // Signed integers are moved up by half the ring and down again.
        let half = if range == Range::Signed && self.is_server() { 1_u64 << (bits - 1) } else { 0 };
        let moved = Shares::new(shares.iter().map(|share| share.wrapping_add(half) & mask(bits)).collect());
        let carries = self.carry(shift, &moved)?;
        let high = Shares::new(moved.iter().map(|share| share >> shift).collect());
        let wraps = match range {
            Range::TopBitZero => self.known_wrap(bits, &moved)?,
            Range::Signed | Range::Unsigned => self.wrap_with(&carries, bits - shift, &high)?,
        };
        let wraps = self.convert(&wraps, shift)?;
        let mut short = self.convert(&carries, bits)?;
        for ((short, wrap), high) in short.iter_mut().zip(wraps.iter()).zip(high.iter()) {
            *short =
                short.wrapping_add(*high).wrapping_sub(wrap << (bits - shift)).wrapping_sub(half >> shift);
        }
        Ok(short)
    }

    /// Whether the high parts of two shares wrap once the carry of the low parts is added: they do already, or they are all ones and
    /// it is one.
    fn wrap_with(
        &mut self,
        carries: &[bool],
        bits: u32,
        high: &[u64],
    ) -> Result<Zeroizing<Vec<bool>>, Error> {
        let order = self.compare(bits, &self.addends(bits, high), true)?;
        let ties: Vec<[bool; 2]> =
            order.iter().zip(carries).map(|(order, &carry)| [order[1], carry]).collect();
        let mut wraps = self.multiply_bits(&Zeroizing::new(ties))?;
        wraps.iter_mut().zip(order.iter()).for_each(|(wrap, order)| *wrap ^= order[0]);
        Ok(wraps)
    }
}
