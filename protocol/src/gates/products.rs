//! `[M] <- Products(W, R)`: the products of a convolution, weights known to the server, rows known to the client.
//!
//! `M[t][o] = Σ_i W[t][o][i] · R[t][i]` for every tap t (Winograd), or summed over all positions (direct). Each **bit** of
//! each weight code is the choice of one COT whose correlation is the client's whole row `R[t][i]`: bit i with exponent k_i
//! contributes `bit · 2^(k_i) · row`, negatively for the top bit, so a ring of `l_o − k_t − k_i` bits is enough when tap t is
//! shifted left by k_t afterwards (CrypTFlow2's COT matmul with the roles of EQO, arXiv 2404.09404, §4). The offset of
//! mid-rise weights is public: the client adds it times its rows by itself.
//!
//! In a network R is the client's mask, so all of this is done before the image is known; online the server multiplies the
//! masked activations, which it knows, in the clear ([`Products::plain`]).
//!
//! *Privacy*: the client sees the server's code bits masked by random bits; the server sees corrections under unknown
//! pads. *Range*: any; all arithmetic is modulo `2^(l_o − k_t)` per output channel and tap.
//! *Cost*: n = out·in·Σ bits OTs (over positions) sent by the client, `ceil(n / 8)` bytes to the client, then
//! `ceil(Σ (l_o − k_t − k_i)·lanes / 8)` bytes back; 2 rounds.

use eqo_checkpoints::arith::code_bit;
use eqo_checkpoints::graph::Conv;
use eqo_checkpoints::winograd::Algorithm;

use super::{Party, span};
use crate::Error;
use crate::ot::{ChosenOts, Correlation, CotShape, OfferedOts};
use crate::ring::pack::packed_bytes;

/// The public shape of one convolution's products.
pub struct Products<'c> {
    conv: &'c Conv,
    /// Columns times batch: how many elements a row has.
    lanes: usize,
    /// First OT of every position, and one past the last.
    starts: Vec<usize>,
}

/// What one OT is about.
struct WeightBit {
    position: usize,
    out: usize,
    input: usize,
    bit: usize,
}

impl<'c> Products<'c> {
    /// Products of a convolution whose rows have `lanes` elements: columns times batch.
    pub fn new(conv: &'c Conv, lanes: usize) -> Self {
        let pairs = conv.out_channels * conv.in_channels;
        let mut starts = vec![0];
        for position in 0..conv.positions() {
            starts.push(starts[position] + pairs * conv.exponents(position).len());
        }
        Self { conv, lanes, starts }
    }

    /// First message, from the server: its weight bits choose. `codes` is `[positions][out][in]`.
    ///
    /// # Errors
    /// [`Error::Exhausted`]; those of the channel.
    pub fn server_draw(&self, party: &mut Party, codes: &[i8]) -> Result<ChosenOts, Error> {
        let choices = codes.chunks(self.pairs()).enumerate().flat_map(|(position, codes)| {
            let bits = self.conv.exponents(position).len();
            codes.iter().flat_map(move |&code| (0..bits).map(move |bit| code_bit(code, bit)))
        });
        let choices = choices.collect();
        let (chosen, flips) = party.ots.choose(choices)?;
        party.channel.send(flips)?;
        Ok(chosen)
    }

    /// First message, at the client.
    ///
    /// # Errors
    /// [`Error::Exhausted`]; those of the channel.
    pub fn client_draw(&self, party: &mut Party) -> Result<OfferedOts, Error> {
        let flips = party.channel.recv(packed_bytes(self.ots() as u64) as usize)?;
        party.ots.offer(self.ots(), &flips)
    }

    /// Second message, from the client: its rows `[positions][in][lanes]` under pads. Returns its share
    /// `[taps][out][lanes]`, tap shifts not applied.
    ///
    /// # Errors
    /// Those of the channel.
    pub fn client(&self, party: &mut Party, drawn: OfferedOts, rows: &[u64]) -> Result<Vec<u64>, Error> {
        let _span = span("products");
        let mut products = self.offset_products(rows);
        let correlation = |ot: usize| {
            let at = self.weight_bit(ot);
            Correlation { values: self.row(rows, at.position, at.input), bits: self.payload_bits(&at) }
        };
        let accumulate =
            |ot: usize, share: &[u64]| self.accumulate(&mut products, &self.weight_bit(ot), share);
        party.ots.cot_send(party.channel, drawn, correlation, accumulate)?;
        Ok(products)
    }

    /// Second message, at the server; returns its share as [`Products::client`] does.
    ///
    /// # Errors
    /// Those of the channel.
    pub fn server(&self, party: &mut Party, drawn: ChosenOts) -> Result<Vec<u64>, Error> {
        let _span = span("products");
        let mut products = vec![0; self.taps() * self.conv.out_channels * self.lanes];
        let shape = |ot: usize| CotShape { lanes: self.lanes, bits: self.payload_bits(&self.weight_bit(ot)) };
        let accumulate =
            |ot: usize, share: &[u64]| self.accumulate(&mut products, &self.weight_bit(ot), share);
        party.ots.cot_recv(party.channel, drawn, shape, accumulate)?;
        Ok(products)
    }

    /// Products of codes and rows that one party knows, arranged as in [`Products::client`].
    pub fn plain(&self, codes: &[i8], rows: &[u64]) -> Vec<u64> {
        let _span = span("plain products");
        let Conv { in_channels, out_channels, .. } = *self.conv;
        let mut products = vec![0; self.taps() * out_channels * self.lanes];
        for (index, &code) in codes.iter().enumerate() {
            let (position, out, input) =
                (index / in_channels / out_channels, index / in_channels % out_channels, index % in_channels);
            let value = self.conv.weight_value(position, code) as u64;
            let row = self.row(rows, position, input);
            for (sum, &element) in self.target(&mut products, position, out).iter_mut().zip(row) {
                *sum = sum.wrapping_add(value.wrapping_mul(element));
            }
        }
        products
    }

    /// What the offset of all weights contributes, which the owner of the rows knows: `offset · Σ_i R[t][i]` for every output
    /// channel.
    fn offset_products(&self, rows: &[u64]) -> Vec<u64> {
        let Conv { in_channels, out_channels, weight_offset, .. } = *self.conv;
        let mut products = vec![0; self.taps() * out_channels * self.lanes];
        if weight_offset == 0 {
            return products;
        }
        let with_bits = (0..self.conv.positions()).filter(|&p| !self.conv.exponents(p).is_empty());
        for (position, out) in with_bits.flat_map(|p| (0..out_channels).map(move |out| (p, out))) {
            for input in 0..in_channels {
                let sums = self.target(&mut products, position, out).iter_mut();
                let row = self.row(rows, position, input);
                sums.zip(row).for_each(|(sum, &value)| {
                    *sum = sum.wrapping_add(value.wrapping_mul(weight_offset.into()))
                });
            }
        }
        products
    }

    /// Adds what one OT delivered.
    fn accumulate(&self, products: &mut [u64], at: &WeightBit, share: &[u64]) {
        let exponents = self.conv.exponents(at.position);
        let exponent = exponents[at.bit];
        let sums = self.target(products, at.position, at.out).iter_mut().zip(share);
        if at.bit + 1 == exponents.len() {
            sums.for_each(|(sum, &share)| *sum = sum.wrapping_sub(share << exponent));
        } else {
            sums.for_each(|(sum, &share)| *sum = sum.wrapping_add(share << exponent));
        }
    }

    fn ots(&self) -> usize {
        self.conv.weight_bits()
    }

    fn pairs(&self) -> usize {
        self.conv.out_channels * self.conv.in_channels
    }

    fn taps(&self) -> usize {
        self.conv.algorithm.taps()
    }

    /// OTs are ordered as `[positions][out][in][bits of the position]`; a position may have none.
    fn weight_bit(&self, ot: usize) -> WeightBit {
        // The last of equal starts is that of the position with bits.
        let position = self.starts.partition_point(|&start| start <= ot) - 1;
        let (ot, bits) = (ot - self.starts[position], self.conv.exponents(position).len());
        let (pair, in_channels) = (ot / bits, self.conv.in_channels);
        WeightBit { position, out: pair / in_channels, input: pair % in_channels, bit: ot % bits }
    }

    fn payload_bits(&self, at: &WeightBit) -> u32 {
        let spent = self.conv.tap_shift(at.position, at.out) + self.conv.exponents(at.position)[at.bit];
        u32::from(self.conv.ring_bits[at.out] - spent)
    }

    fn row<'r>(&self, rows: &'r [u64], position: usize, input: usize) -> &'r [u64] {
        &rows[(position * self.conv.in_channels + input) * self.lanes..][..self.lanes]
    }

    fn target<'r>(&self, products: &'r mut [u64], position: usize, out: usize) -> &'r mut [u64] {
        let tap = if self.conv.algorithm == Algorithm::Direct { 0 } else { position };
        &mut products[(tap * self.conv.out_channels + out) * self.lanes..][..self.lanes]
    }
}
