//! The local steps of one convolution, the same for both parties' shares.

use eqo_checkpoints::cost::groups;
use eqo_checkpoints::graph::{CheckedGraph, Conv, NodeId, Output};
use eqo_checkpoints::layout::{ConvLayout, shortcut};

use super::Shares;
use crate::gates::products::Products;
use crate::gates::requantize::Requantization;

/// One convolution of a graph for a batch.
pub(super) struct Convolution<'g> {
    pub(super) conv: &'g Conv,
    graph: &'g CheckedGraph,
    id: NodeId,
    layout: ConvLayout,
    batch: usize,
}

impl<'g> Convolution<'g> {
    pub(super) fn new(graph: &'g CheckedGraph, id: NodeId, conv: &'g Conv, batch: usize) -> Self {
        let layout = ConvLayout::new(conv, graph.shape(conv.input), graph.shape(id));
        Self { conv, graph, id, layout, batch }
    }

    pub(super) fn products(&self) -> Products<'g> {
        Products::new(self.conv, self.lanes())
    }

    /// Columns of all images.
    fn lanes(&self) -> usize {
        self.layout.columns() * self.batch
    }

    /// Rows `[positions][in][lanes]` of the products, from the input `[batch][in][height][width]`.
    pub(super) fn rows(&self, input: &[u64]) -> Shares {
        Shares::new(self.layout.gather(input))
    }

    /// Accumulators `[batch][out][height][width]` from products `[taps][out][lanes]`.
    pub(super) fn accumulate(&self, mut products: Vec<u64>) -> Shares {
        let lanes = self.lanes();
        for (index, row) in products.chunks_exact_mut(lanes).enumerate() {
            let shift = self.conv.tap_shift(index / self.conv.out_channels, index % self.conv.out_channels);
            row.iter_mut().for_each(|sum| *sum <<= shift);
        }
        Shares::new(self.layout.scatter(&products))
    }

    /// Adds the residual; `shares` are those of all earlier nodes.
    pub(super) fn add_shortcut(&self, shares: &[Shares], accumulators: &mut [u64]) {
        if let Some(residual) = &self.conv.shortcut {
            let (from, to) = (self.graph.shape(residual.input), self.graph.shape(self.id));
            add(accumulators, &shortcut(residual, from, to, &shares[residual.input]));
        }
    }

    /// Its requantization; none if it ends in an accumulator.
    pub(super) fn activation(&self) -> Option<Activation> {
        let Output::Activation { bits, .. } = self.conv.output else { return None };
        let [channels, height, width] = self.graph.shape(self.id);
        let (plane, batch) = (height * width, self.batch);
        let wide = self.graph.extension_bits(self.id);
        let gate = Requantization::new(groups(self.conv), bits, plane * batch, wide);
        Some(Activation { gate, plane, batch, channels })
    }
}

/// A requantization and the order in which it sees the elements: by group, channel, image, pixel.
pub(super) struct Activation {
    pub(super) gate: Requantization,
    plane: usize,
    batch: usize,
    channels: usize,
}

impl Activation {
    pub(super) fn sort(&self, values: &[u64]) -> Shares {
        let mut sorted = Shares::new(Vec::with_capacity(values.len()));
        for start in self.starts() {
            sorted.extend_from_slice(&values[start..][..self.plane]);
        }
        sorted
    }

    pub(super) fn restore(&self, sorted: &[u64]) -> Shares {
        let mut values = Shares::new(vec![0; sorted.len()]);
        for (plane, start) in sorted.chunks_exact(self.plane).zip(self.starts()) {
            values[start..][..self.plane].copy_from_slice(plane);
        }
        values
    }

    /// Where each plane starts in `[batch][channels][pixels]`.
    fn starts(&self) -> impl Iterator<Item = usize> + '_ {
        self.gate.groups().iter().flat_map(|group| &group.channels).flat_map(move |&channel| {
            (0..self.batch).map(move |image| (image * self.channels + channel) * self.plane)
        })
    }
}

pub(super) fn add(sums: &mut [u64], terms: &[u64]) {
    sums.iter_mut().zip(terms).for_each(|(sum, term)| *sum = sum.wrapping_add(*term));
}
