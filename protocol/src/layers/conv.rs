//! One convolution on shares: gather, products, tap shifts, scatter, bias, residual, then requantize and extend.

use eqo_checkpoints::cost::{Group, groups};
use eqo_checkpoints::graph::{Conv, NodeId, Output};
use eqo_checkpoints::layout::{ConvLayout, shortcut};

use super::{Shares, Side, Walk};
use crate::Error;
use crate::gates::Party;
use crate::gates::extend::extend;
use crate::gates::matmul::Products;
use crate::gates::requantize::requantize;

impl<S: Side> Walk<'_, S> {
    /// This party's share of the node's output `[batch][out][height][width]`: activations in the ring of all their
    /// consumers, accumulators in their own.
    pub(super) fn conv(
        &self,
        party: &mut Party,
        id: NodeId,
        conv: &Conv,
        shares: &[Shares],
    ) -> Result<Vec<u64>, Error> {
        let mut accumulators = self.accumulate(party, id, conv, &shares[conv.input])?;
        let [_, height, width] = self.graph.shape(id);
        self.side.add_bias(id, height * width, &mut accumulators);
        if let Some(residual) = &conv.shortcut {
            let from = self.graph.shape(residual.input);
            let added = shortcut(residual, from, self.graph.shape(id), &shares[residual.input]);
            accumulators.iter_mut().zip(added).for_each(|(sum, term)| *sum = sum.wrapping_add(term));
        }
        let Output::Activation { bits, .. } = conv.output else { return Ok(accumulators) };
        let order = Order { groups: groups(conv), plane: height * width, batch: self.batch };
        let narrow =
            requantize(party, &order.groups, bits, order.plane * self.batch, order.sort(&accumulators))?;
        let wide = extend(party, bits, self.graph.extension_bits(id), narrow)?;
        order.restore(&wide, &mut accumulators);
        Ok(accumulators)
    }

    fn accumulate(
        &self,
        party: &mut Party,
        id: NodeId,
        conv: &Conv,
        input: &[u64],
    ) -> Result<Vec<u64>, Error> {
        let layout = ConvLayout::new(conv, self.graph.shape(conv.input), self.graph.shape(id));
        let lanes = layout.columns() * self.batch;
        let rows = Shares::new(layout.gather(input));
        let mut products = Shares::new(self.side.multiply(party, id, &Products { conv, lanes }, &rows)?);
        for (index, row) in products.chunks_exact_mut(lanes).enumerate() {
            let shift = conv.tap_shift(index / conv.out_channels, index % conv.out_channels);
            row.iter_mut().for_each(|sum| *sum <<= shift);
        }
        Ok(layout.scatter(&products))
    }
}

/// The order in which the requantization sees the elements: by group, channel, image, pixel.
struct Order {
    groups: Vec<Group>,
    plane: usize,
    batch: usize,
}

impl Order {
    fn sort(&self, values: &[u64]) -> Vec<u64> {
        let mut sorted = Vec::with_capacity(values.len());
        for start in self.starts() {
            sorted.extend_from_slice(&values[start..][..self.plane]);
        }
        sorted
    }

    fn restore(&self, sorted: &[u64], values: &mut [u64]) {
        for (plane, start) in sorted.chunks_exact(self.plane).zip(self.starts()) {
            values[start..][..self.plane].copy_from_slice(plane);
        }
    }

    /// Where each plane starts in `[batch][channels][pixels]`.
    fn starts(&self) -> impl Iterator<Item = usize> + '_ {
        let channels: usize = self.groups.iter().map(|group| group.channels.len()).sum();
        self.groups.iter().flat_map(|group| &group.channels).flat_map(move |&channel| {
            (0..self.batch).map(move |image| (image * channels + channel) * self.plane)
        })
    }
}
