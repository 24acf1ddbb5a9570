//! Splitting activations `[channels, height, width, images]` into bands of rows that threads write independently.

use std::ops::Range;

/// Most bands a tensor is split into. Fixed, so that sums over bands don't depend on the number of threads.
const BANDS: usize = 4;

/// At most [`BANDS`] ranges of almost equal length over `0..rows`.
pub(super) fn bands(rows: usize) -> Vec<Range<usize>> {
    let count = BANDS.min(rows);
    (0..count).map(|band| rows * band / count..rows * (band + 1) / count).collect()
}

/// Rows of each channel that a band may write, `[band][channel]`; `rows` are consecutive ranges over the height.
pub(super) fn split_rows<'a>(
    tensor: &'a mut [f32],
    plane: usize,
    row: usize,
    rows: &[Range<usize>],
) -> Vec<Vec<&'a mut [f32]>> {
    let mut bands: Vec<Vec<&mut [f32]>> = rows.iter().map(|_| Vec::new()).collect();
    for mut rest in tensor.chunks_exact_mut(plane.max(1)) {
        for (band, rows) in bands.iter_mut().zip(rows) {
            let (mine, others) = rest.split_at_mut(rows.len() * row);
            band.push(mine);
            rest = others;
        }
    }
    bands
}

/// The sum of buffers of equal length, in order.
pub(super) fn sum(parts: Vec<Vec<f32>>) -> Vec<f32> {
    let mut parts = parts.into_iter();
    let mut total = parts.next().unwrap_or_default();
    for part in parts {
        total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
    }
    total
}
