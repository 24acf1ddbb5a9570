//! Products chosen by the bits of the server's weights: the client offers its row of shares for each pair of channels.

use eqo_checkpoints::baseline::LayerCodes;
use eqo_checkpoints::cost::weight_chunk;

use super::super::Peer;
use super::Task;
use crate::Error;
use crate::layers::Shares;
use crate::ot::{Correlation, CotShape};
use crate::ring::pack::packed_bytes;

impl Task<'_> {
    /// The bits of the server's weights choose; what the client offers for a weight is its row of shares.
    pub(super) fn weights_choose(
        &self,
        peer: &mut Peer,
        gathered: &[u64],
        matrix: Option<&[u64]>,
    ) -> Result<Shares, Error> {
        let mut products = match matrix {
            Some(matrix) => Shares::new(self.products.multiply(matrix, gathered, &self.layout)),
            None => self.offsets(gathered),
        };
        let pairs = self.products.out_channels * self.products.group_in();
        for position in 0..self.products.positions() {
            let bits = self.products.code.exponents(position).len();
            for start in (0..pairs).step_by(weight_chunk(bits)) {
                let piece = Piece { position, start, pairs: pairs.min(start + weight_chunk(bits)) - start };
                if bits == 0 {
                    continue;
                }
                match self.codes {
                    Some(layer) => self.choose_rows(peer, &piece, layer, &mut products)?,
                    None => self.offer_rows(peer, &piece, gathered, &mut products)?,
                }
            }
        }
        Ok(products)
    }

    /// What the codes' public offsets make of the client's shares.
    fn offsets(&self, gathered: &[u64]) -> Shares {
        let (products, columns) = (self.products, self.layout.columns());
        let mut sums = Shares::new(vec![0; self.layout.taps() * products.out_channels * columns]);
        for position in 0..products.positions() {
            if products.code.offset == 0 || products.code.exponents(position).is_empty() {
                continue;
            }
            for out in 0..products.out_channels {
                let factor = u64::from(products.code.offset) << products.tap_shift(position, out);
                for k in 0..products.group_in() {
                    let (row, sum) = (self.operand_row(position, out, k), self.product_row(position, out));
                    let row = &gathered[row * columns..][..columns];
                    let pairs = sums[sum * columns..][..columns].iter_mut().zip(row);
                    pairs.for_each(|(sum, share)| *sum = sum.wrapping_add(factor.wrapping_mul(*share)));
                }
            }
        }
        sums
    }

    fn choose_rows(
        &self,
        peer: &mut Peer,
        piece: &Piece,
        layer: &LayerCodes,
        sums: &mut Shares,
    ) -> Result<(), Error> {
        let exponents = self.products.code.exponents(piece.position);
        let first = piece.position * self.products.out_channels * self.products.group_in() + piece.start;
        let codes = &layer.codes[first..][..piece.pairs];
        let choices: Vec<bool> =
            codes.iter().flat_map(|code| (0..exponents.len()).map(move |bit| code >> bit & 1 == 1)).collect();
        peer.draw(0, choices.len())?;
        let party = &mut peer.party;
        let (chosen, flips) = party.ots.choose(choices)?;
        party.channel.send(flips)?;
        let shape = |j: usize| self.row_shape(exponents, j);
        party.ots.cot_recv(party.channel, chosen, shape, |j, share| self.add_row(piece, j, share, sums))
    }

    fn offer_rows(
        &self,
        peer: &mut Peer,
        piece: &Piece,
        gathered: &[u64],
        sums: &mut Shares,
    ) -> Result<(), Error> {
        let exponents = self.products.code.exponents(piece.position);
        let (count, columns) = (piece.pairs * exponents.len(), self.layout.columns());
        peer.draw(0, count)?;
        let party = &mut peer.party;
        let flips = party.channel.recv(packed_bytes(count as u64) as usize)?;
        let offered = party.ots.offer(count, &flips)?;
        let correlation = |j: usize| {
            let (out, k, _) = self.pair(piece, j);
            let row = self.operand_row(piece.position, out, k);
            Correlation {
                values: &gathered[row * columns..][..columns],
                bits: self.row_shape(exponents, j).bits,
            }
        };
        party
            .ots
            .cot_send(party.channel, offered, correlation, |j, share| self.add_row(piece, j, share, sums))
    }

    fn row_shape(&self, exponents: &[u8], j: usize) -> CotShape {
        CotShape {
            lanes: self.layout.columns(),
            bits: self.bits.1 - u32::from(exponents[j % exponents.len()]),
        }
    }

    /// Output channel, input channel within its group and bit of a piece's OT.
    fn pair(&self, piece: &Piece, j: usize) -> (usize, usize, usize) {
        let bits = self.products.code.exponents(piece.position).len();
        let pair = piece.start + j / bits;
        (pair / self.products.group_in(), pair % self.products.group_in(), j % bits)
    }

    fn add_row(&self, piece: &Piece, j: usize, share: &[u64], sums: &mut Shares) {
        let (out, _, bit) = self.pair(piece, j);
        let value = self.products.code.bit_value(piece.position, bit);
        let factor = value << self.products.tap_shift(piece.position, out);
        let start = self.product_row(piece.position, out) * self.layout.columns();
        let pairs = sums[start..].iter_mut().zip(share);
        pairs.for_each(|(sum, share)| *sum = sum.wrapping_add(factor.wrapping_mul(*share)));
    }

    /// Row of the gathered operand that channel `k` of the group of `out` has at a position.
    fn operand_row(&self, position: usize, out: usize, k: usize) -> usize {
        let group = out / self.products.group_out();
        position * self.products.in_channels + group * self.products.group_in() + k
    }

    /// Row of the products that a position's weights of `out` add to.
    fn product_row(&self, position: usize, out: usize) -> usize {
        let per_tap = self.layout.positions() / self.layout.taps();
        position / per_tap * self.products.out_channels + out
    }
}

/// Weights of one position that are multiplied at once.
struct Piece {
    position: usize,
    start: usize,
    pairs: usize,
}
