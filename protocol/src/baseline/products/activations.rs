//! Products chosen by the bits of the client's shares: the server offers its column of the matrix for each gathered element.

use eqo_checkpoints::baseline::Range;
use eqo_checkpoints::cost::{PRODUCT_OTS, activation_chunk};
use rand::Rng;

use super::super::Peer;
use super::Task;
use crate::Error;
use crate::gates::Party;
use crate::layers::Shares;
use crate::ot::{Correlation, CotShape};
use crate::ring::mask;
use crate::ring::pack::packed_bytes;
use crate::transport::{PackedRecv, PackedSend};

impl Task<'_> {
    /// The bits of the client's shares choose; what the server offers for an element is its column of the matrix.
    pub(super) fn activations_choose(
        &self,
        peer: &mut Peer,
        gathered: &mut Shares,
        matrix: Option<&[u64]>,
    ) -> Result<Shares, Error> {
        let (from, to) = self.bits;
        let narrower = self.products.operand.range();
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
            let own = Shares::new(gathered.iter().map(|share| share.wrapping_sub(half)).collect());
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
