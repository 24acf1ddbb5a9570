//! Splitting activations `[channels, height, width, images]` into bands of rows that threads write independently.

use std::ops::Range;

use rayon::prelude::*;

use super::fresh::{Fresh, Part};

/// Most bands a tensor is split into. Fixed, so that sums over bands don't depend on the number of threads.
const BANDS: usize = 4;

/// Numbers a thread adds at a time.
const SUMMED: usize = 1 << 14;

/// At most [`BANDS`] ranges of almost equal length over `0..rows`.
pub(super) fn bands(rows: usize) -> Vec<Range<usize>> {
    let count = BANDS.min(rows);
    (0..count).map(|band| rows * band / count..rows * (band + 1) / count).collect()
}

/// Tensors `[planes, rows, row]`, whose rows bands share.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) planes: usize,
    /// Numbers in a row.
    pub(super) row: usize,
    /// Each band's rows; consecutive ranges over all.
    pub(super) bands: &'a [Range<usize>],
}

/// One band's rows of `N` new tensors, those that nobody has taken yet.
pub(super) struct Band<'a, const N: usize> {
    /// Which band.
    pub(super) index: usize,
    /// `[tensor][plane]`.
    parts: [Vec<Part<'a>>; N],
    taken: usize,
    layout: Rows<'a>,
}

/// Consecutive rows of every plane of `N` tensors.
pub(super) struct Block<'a, const N: usize> {
    /// First row.
    pub(super) first: usize,
    /// `[tensor][plane]`, zero at first.
    pub(super) planes: [Vec<&'a mut [f32]>; N],
    layout: Rows<'a>,
}

/// `N` new tensors, and what `work` returns for each band; it must take all rows of its band.
pub(super) fn write_bands<const N: usize, R: Send>(
    layout: Rows<'_>,
    work: impl Fn(Band<'_, N>) -> R + Sync,
) -> ([Vec<f32>; N], Vec<R>) {
    let mut tensors = [(); N].map(|()| Fresh::new(layout.planes * layout.height() * layout.row));
    let mut bands: Vec<_> = layout.bands.iter().map(|_| [(); N].map(|()| Vec::new())).collect();
    for (index, tensor) in tensors.iter_mut().enumerate() {
        let lengths =
            (0..layout.planes).flat_map(|_| layout.bands.iter().map(|band| band.len() * layout.row));
        for (at, part) in tensor.parts(lengths).enumerate() {
            bands[at % layout.bands.len()][index].push(part);
        }
    }
    let run = |(index, parts): (usize, [Vec<Part<'_>>; N])| work(Band { index, parts, taken: 0, layout });
    let results = bands.into_par_iter().enumerate().map(run).collect();
    (tensors.map(Fresh::into_vec), results)
}

impl Rows<'_> {
    fn height(&self) -> usize {
        self.bands.last().map_or(0, |band| band.end)
    }
}

impl<'a, const N: usize> Band<'a, N> {
    /// The band's rows.
    pub(super) fn rows(&self) -> Range<usize> {
        self.layout.bands[self.index].clone()
    }

    /// The next `count` rows, cleared. Cleared just before they are written, they are still in the cache then.
    pub(super) fn take(&mut self, count: usize) -> Block<'a, N> {
        let first = self.rows().start + self.taken;
        self.taken += count;
        let length = count * self.layout.row;
        let planes = self
            .parts
            .each_mut()
            .map(|parts| parts.iter_mut().map(|part| part.split_off(length).zeros()).collect());
        Block { first, planes, layout: self.layout }
    }
}

impl<const N: usize> Block<'_, N> {
    /// Calls `visit` with each plane's rows: where they start in a tensor, and the numbers of every tensor.
    pub(super) fn visit(&mut self, visit: impl Fn(usize, [&mut [f32]; N])) {
        for plane in 0..self.layout.planes {
            let at = (plane * self.layout.height() + self.first) * self.layout.row;
            visit(at, self.planes.each_mut().map(|planes| &mut *planes[plane]));
        }
    }
}

/// The sum of buffers of equal length, in order.
pub(super) fn sum(parts: Vec<Vec<f32>>) -> Vec<f32> {
    let mut parts = parts.into_iter();
    let mut total = parts.next().unwrap_or_default();
    let rest: Vec<Vec<f32>> = parts.collect();
    total.par_chunks_mut(SUMMED).enumerate().for_each(|(chunk, total)| {
        for part in &rest {
            total.iter_mut().zip(&part[chunk * SUMMED..]).for_each(|(total, part)| *total += part);
        }
    });
    total
}
