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

/// One band's rows of `N` new tensors.
pub(super) struct Band<'a, const N: usize> {
    /// Which band.
    pub(super) index: usize,
    /// `[tensor][plane]`, zero at first.
    pub(super) outputs: [Vec<&'a mut [f32]>; N],
    rows: Rows<'a>,
}

/// `N` new tensors, and what `work` returns for each band.
pub(super) fn write_bands<const N: usize, R: Send>(
    rows: Rows<'_>,
    work: impl Fn(Band<'_, N>) -> R + Sync,
) -> ([Vec<f32>; N], Vec<R>) {
    let mut tensors = [(); N].map(|()| Fresh::new(rows.planes * rows.height() * rows.row));
    let mut jobs: Vec<_> = rows.bands.iter().map(|_| [(); N].map(|()| Vec::new())).collect();
    for (index, tensor) in tensors.iter_mut().enumerate() {
        let lengths = (0..rows.planes).flat_map(|_| rows.bands.iter().map(|band| band.len() * rows.row));
        for (at, part) in tensor.parts(lengths).enumerate() {
            jobs[at % rows.bands.len()][index].push(part);
        }
    }
    let run = |(index, parts): (usize, [Vec<Part<'_>>; N])| {
        let outputs = parts.map(|parts| parts.into_iter().map(Part::zeros).collect());
        work(Band { index, outputs, rows })
    };
    let results = jobs.into_par_iter().enumerate().map(run).collect();
    (tensors.map(Fresh::into_vec), results)
}

impl Rows<'_> {
    fn height(&self) -> usize {
        self.bands.last().map_or(0, |band| band.end)
    }
}

impl<const N: usize> Band<'_, N> {
    /// The band's rows.
    pub(super) fn rows(&self) -> Range<usize> {
        self.rows.bands[self.index].clone()
    }

    /// Calls `visit` with these rows of each plane: where they start in a tensor, and the numbers of every tensor.
    pub(super) fn visit(&mut self, rows: Range<usize>, visit: impl Fn(usize, [&mut [f32]; N])) {
        let (first, row) = (self.rows().start, self.rows.row);
        for plane in 0..self.rows.planes {
            let at = (plane * self.rows.height() + rows.start) * row;
            let part = (rows.start - first) * row..(rows.end - first) * row;
            visit(at, self.outputs.each_mut().map(|planes| &mut planes[plane][part.clone()]));
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
