//! Matrix products of the server's integers with a shared tensor, by correlated OTs chosen by the bits of one of them.
//!
//! With shares `x = x_s + x_c − 2^m·wrap` of a gathered element and the server's column A: `A·x_s` is the server's own, `A·x_c` goes
//! through OTs (bit i of `x_c` chooses `2^i·A`, or bit i of a weight chooses `2^i` times the client's row), and where the operand's
//! ring is narrower than the products', `A·wrap` through OTs of two messages.

use eqo_checkpoints::baseline::{Chooser, LayerCodes, OperandRing, Products, Range};
use eqo_checkpoints::cost::{PRODUCT_OTS, activation_chunk, weight_chunk};
use eqo_checkpoints::layout::ConvLayout;
use rand::Rng;
use zeroize::Zeroizing;

use super::Peer;
use crate::Error;
use crate::gates::Party;
use crate::layers::Shares;
use crate::ot::{Correlation, CotShape};
use crate::ring::mask;
use crate::ring::pack::packed_bytes;
use crate::transport::{PackedRecv, PackedSend};

/// One operation: public but for the server's integers.
pub(super) struct Task<'t> {
    pub(super) products: &'t Products,
    pub(super) layout: ConvLayout,
    /// The operand's ring and the products'.
    pub(super) bits: (u32, u32),
    /// The server's integers; `None` at the client.
    pub(super) codes: Option<&'t LayerCodes>,
}

impl Task<'_> {
    /// Shares `[out][height][width]` from shares of the operand `[in][height][width]`.
    pub(super) fn run(&self, peer: &mut Peer, operand: &[u64]) -> Result<Shares, Error> {
        let (from, to) = self.bits;
        let mut gathered = Shares::new(self.layout.gather(operand));
        let matrix = self.codes.map(|layer| Shares::new(self.products.matrix(&layer.codes, &self.layout)));
        let matrix = matrix.as_ref().map(|matrix| matrix.as_slice());
        let products = match self.products.chooser {
            Chooser::Activations => self.activations_choose(peer, &mut gathered, matrix)?,
            Chooser::Weights => {
                if let OperandRing::Narrower { top_bit_zero } = self.products.operand {
                    gathered = peer.extend((from, to), &gathered, range(top_bit_zero))?;
                }
                self.weights_choose(peer, &gathered, matrix)?
            }
        };
        let mut sums = Shares::new(self.layout.scatter(&products));
        if let Some(layer) = self.codes {
            let plane = sums.len() / layer.bias.len().max(1);
            for (sums, &bias) in sums.chunks_exact_mut(plane.max(1)).zip(&layer.bias) {
                sums.iter_mut().for_each(|sum| *sum = sum.wrapping_add(bias as u64));
            }
        }
        Ok(sums)
    }

    /// The bits of the client's shares choose; what the server offers for an element is its column of the matrix.
    fn activations_choose(
        &self,
        peer: &mut Peer,
        gathered: &mut Shares,
        matrix: Option<&[u64]>,
    ) -> Result<Shares, Error> {
        let (from, to) = self.bits;
        let narrower = match self.products.operand {
            OperandRing::Same => None,
            OperandRing::Narrower { top_bit_zero } => Some(range(top_bit_zero)),
        };
        // Signed integers are moved up by half the ring; the server takes its own part down again.
        let half = if narrower == Some(Range::Signed) && peer.is_server() { 1_u64 << (from - 1) } else { 0 };
        gathered.iter_mut().for_each(|share| *share = share.wrapping_add(half) & mask(from));
        let columns = matrix.map(|matrix| Columns::transposed(self, matrix));
        let mut sums = Columns::new(self);
        for start in (0..gathered.len()).step_by(activation_chunk(from)) {
            let piece = &gathered[start..gathered.len().min(start + activation_chunk(from))];
            match &columns {
                Some(columns) => self.offer_columns(peer, columns, (start, piece.len()), &mut sums)?,
                None => self.choose_columns(peer, (start, piece), &mut sums)?,
            }
        }
        if let Some(range) = narrower {
            let wraps = peer.wrap(from, gathered, range)?;
            self.correct_wraps(
                peer,
                &wraps,
                columns.as_ref().map(|columns| columns.as_slice()),
                (&mut sums, to - from),
            )?;
        }
        let mut products = sums.into_products(self);
        if let Some(matrix) = matrix {
            let own: Shares = Zeroizing::new(gathered.iter().map(|share| share.wrapping_sub(half)).collect());
            let own = self.products.multiply(matrix, &own, &self.layout);
            products.iter_mut().zip(own).for_each(|(sum, own)| *sum = sum.wrapping_add(own));
        }
        Ok(products)
    }

    fn offer_columns(
        &self,
        peer: &mut Peer,
        columns: &[u64],
        (start, elements): (usize, usize),
        sums: &mut Columns,
    ) -> Result<(), Error> {
        let (from, to) = (self.bits.0 as usize, self.bits.1);
        let count = elements * from;
        peer.draw(count, 0)?;
        let (party, outs) = (&mut peer.party, self.products.out_channels);
        let flips = party.channel.recv(packed_bytes(count as u64) as usize)?;
        let offered = party.ots.offer(count, &flips)?;
        let place = |j: usize| (start + j / from, (j % from) as u32);
        let correlation = |j: usize| {
            let (element, bit) = place(j);
            let row = element / self.layout.columns();
            Correlation { values: &columns[row * outs..][..outs], bits: to - bit }
        };
        party.ots.cot_send(party.channel, offered, correlation, |j, share| {
            let (element, bit) = place(j);
            sums.add(element, share, bit);
        })
    }

    fn choose_columns(
        &self,
        peer: &mut Peer,
        (start, piece): (usize, &[u64]),
        sums: &mut Columns,
    ) -> Result<(), Error> {
        let (from, to) = (self.bits.0 as usize, self.bits.1);
        let choices: Vec<bool> =
            piece.iter().flat_map(|share| (0..from).map(move |bit| share >> bit & 1 == 1)).collect();
        peer.draw(choices.len(), 0)?;
        let (party, lanes) = (&mut peer.party, self.products.out_channels);
        let (chosen, flips) = party.ots.choose(choices)?;
        party.channel.send(flips)?;
        let shape = |j: usize| CotShape { lanes, bits: to - (j % from) as u32 };
        party.ots.cot_recv(party.channel, chosen, shape, |j, share| {
            sums.add(start + j / from, share, (j % from) as u32);
        })
    }

    /// `−2^m·A·wrap` by OTs that the client chooses with its share of the wrap; the server offers both columns, masked.
    fn correct_wraps(
        &self,
        peer: &mut Peer,
        wraps: &[bool],
        columns: Option<&[u64]>,
        (sums, bits): (&mut Columns, u32),
    ) -> Result<(), Error> {
        for start in (0..wraps.len()).step_by(PRODUCT_OTS) {
            let piece = &wraps[start..wraps.len().min(start + PRODUCT_OTS)];
            peer.draw(piece.len(), 0)?;
            match columns {
                Some(columns) => self.offer_wraps(&mut peer.party, (start, piece), columns, (sums, bits))?,
                None => self.choose_wraps(&mut peer.party, (start, piece), (sums, bits))?,
            }
        }
        Ok(())
    }

    fn offer_wraps(
        &self,
        party: &mut Party,
        (start, wraps): (usize, &[bool]),
        columns: &[u64],
        (sums, bits): (&mut Columns, u32),
    ) -> Result<(), Error> {
        let outs = self.products.out_channels;
        let flips = party.channel.recv(packed_bytes(wraps.len() as u64) as usize)?;
        let offered = party.ots.offer(wraps.len(), &flips)?;
        let mut message = PackedSend::new(party.channel);
        let (mut share, mut offers) = (Shares::new(vec![0; outs]), Vec::with_capacity(2 * outs));
        party.ots.offered_pads(
            offered,
            |_| CotShape { lanes: outs, bits },
            |j, zero, one| {
                let column = &columns[(start + j) / self.layout.columns() * outs..][..outs];
                share.iter_mut().for_each(|share| *share = party.rng.next_u64() & mask(bits));
                offers.clear();
                for (choice, pads) in [(false, zero), (true, one)] {
                    let wrap = u64::from(wraps[j] ^ choice);
                    let lanes = column.iter().zip(share.iter()).zip(pads);
                    offers.extend(lanes.map(|((value, share), pad)| {
                        value.wrapping_mul(wrap).wrapping_sub(*share).wrapping_add(*pad) & mask(bits)
                    }));
                }
                message.put_all(&offers, bits)?;
                sums.subtract(start + j, &share, self.bits.0);
                Ok(())
            },
        )?;
        message.finish()
    }

    fn choose_wraps(
        &self,
        party: &mut Party,
        (start, wraps): (usize, &[bool]),
        (sums, bits): (&mut Columns, u32),
    ) -> Result<(), Error> {
        let outs = self.products.out_channels;
        let (chosen, flips) = party.ots.choose(wraps.to_vec())?;
        party.channel.send(flips)?;
        let length = packed_bytes(2 * (wraps.len() * outs) as u64 * u64::from(bits)) as usize;
        let mut message = PackedRecv::new(party.channel, length);
        let (mut offers, mut share) = (Shares::new(vec![0; 2 * outs]), Shares::new(vec![0; outs]));
        party.ots.chosen_pads(
            chosen,
            |_| CotShape { lanes: outs, bits },
            |j, choice, pads| {
                message.get_all(&mut offers, bits)?;
                let offer = &offers[if choice { outs } else { 0 }..][..outs];
                let lanes = share.iter_mut().zip(offer).zip(pads);
                lanes.for_each(|((share, offer), pad)| *share = offer.wrapping_sub(*pad) & mask(bits));
                sums.subtract(start + j, &share, self.bits.0);
                Ok(())
            },
        )
    }

    /// The bits of the server's weights choose; what the client offers for a weight is its row of shares.
    fn weights_choose(
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

/// Sums `[tap][column][out]`, so that what an element's OT adds lies together.
struct Columns {
    sums: Shares,
    inner: usize,
    columns: usize,
    outs: usize,
}

impl Columns {
    fn new(task: &Task) -> Self {
        let (outs, columns) = (task.products.out_channels, task.layout.columns());
        let sums = Shares::new(vec![0; task.layout.taps() * columns * outs]);
        Self { sums, inner: task.layout.inner(), columns, outs }
    }

    /// A matrix `[tap][out][inner]` as `[tap][inner][out]`.
    fn transposed(task: &Task, matrix: &[u64]) -> Shares {
        let (outs, inner) = (task.products.out_channels, task.layout.inner());
        let mut columns = Shares::new(Vec::with_capacity(matrix.len()));
        for tap in matrix.chunks_exact(outs * inner) {
            (0..inner).for_each(|k| columns.extend((0..outs).map(|out| tap[out * inner + k])));
        }
        columns
    }

    fn of(&mut self, element: usize) -> &mut [u64] {
        let (row, column) = (element / self.columns, element % self.columns);
        &mut self.sums[(row / self.inner * self.columns + column) * self.outs..][..self.outs]
    }

    fn add(&mut self, element: usize, share: &[u64], shift: u32) {
        self.of(element)
            .iter_mut()
            .zip(share)
            .for_each(|(sum, share)| *sum = sum.wrapping_add(share << shift));
    }

    fn subtract(&mut self, element: usize, share: &[u64], shift: u32) {
        self.of(element)
            .iter_mut()
            .zip(share)
            .for_each(|(sum, share)| *sum = sum.wrapping_sub(share << shift));
    }

    /// `[tap][out][column]`.
    fn into_products(self, task: &Task) -> Shares {
        let mut products = Shares::new(Vec::with_capacity(self.sums.len()));
        for tap in self.sums.chunks_exact((self.columns * self.outs).max(1)) {
            for out in 0..task.products.out_channels {
                products.extend((0..self.columns).map(|column| tap[column * self.outs + out]));
            }
        }
        products
    }
}

fn range(top_bit_zero: bool) -> Range {
    if top_bit_zero { Range::TopBitZero } else { Range::Signed }
}
