//! Bilinear resampling with antialiasing, equal to Pillow's (and so to torchvision's on PIL images) in every sample.
//!
//! A triangle filter, widened by the scale when shrinking; columns first, then rows, with 22-bit fixed-point weights and
//! rounding to 8 bits in between. The algorithm is that of Pillow's `src/libImaging/Resample.c`; Pillow 13 takes the rows
//! first for some shapes, which moves samples by 1 there.

use crate::dataset::CHANNELS;

/// Bits after the point of a weight: 8 bits of sample and 2 of headroom are left of 32.
const FRACTION: u32 = 32 - 8 - 2;

/// A part of an image, in pixels; it must lie inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// First row.
    pub top: usize,
    /// First column.
    pub left: usize,
    /// Rows, at least 1.
    pub height: usize,
    /// Columns, at least 1.
    pub width: usize,
}

impl Window {
    /// All of an image of this (height, width).
    #[must_use]
    pub fn whole([height, width]: [usize; 2]) -> Self {
        Self { top: 0, left: 0, height, width }
    }
}

/// Cuts `window` out of `image`, `[CHANNELS, size]`, and brings it to `out`, `[CHANNELS, to]`.
///
/// Pixels outside of the window play no part.
///
/// # Panics
/// When a buffer doesn't have its size, a side of `window` or `to` is 0, or the window isn't inside the image, as a slice
/// does.
pub fn resize(image: &[u8], size: [usize; 2], window: Window, out: &mut [u8], to: [usize; 2]) {
    let [height, width] = size;
    let columns = Weights::new(window.width, to[1]);
    let rows = Weights::new(window.height, to[0]);
    let mut narrowed = vec![0; window.height * to[1]];
    let mut sums = vec![0; to[1]];
    let planes = image.chunks_exact(height * width).zip(out.chunks_exact_mut(to[0] * to[1]));
    for (plane, out) in planes.take(CHANNELS) {
        for (y, narrowed) in narrowed.chunks_exact_mut(to[1]).enumerate() {
            let start = (window.top + y) * width + window.left;
            columns.narrow(&plane[start..start + window.width], narrowed);
        }
        for (y, out) in out.chunks_exact_mut(to[1]).enumerate() {
            rows.sum(&narrowed, y, &mut sums);
            out.iter_mut().zip(&sums).for_each(|(out, &sum)| *out = rounded(sum));
        }
    }
}

/// How much each source position counts for each target position.
struct Weights {
    /// First source position of each target, and how many.
    spans: Vec<(usize, usize)>,
    /// `[target][most]`, fixed point.
    weights: Vec<i32>,
    /// Source positions of a target at most.
    most: usize,
}

impl Weights {
    fn new(from: usize, to: usize) -> Self {
        let scale = from as f64 / to as f64;
        // Shrinking widens the filter, so that every source pixel counts.
        let support = scale.max(1.0);
        let most = support.ceil() as usize * 2 + 1;
        let mut spans = Vec::with_capacity(to);
        let mut weights = vec![0; to * most];
        for (target, weights) in weights.chunks_exact_mut(most).enumerate() {
            let centre = (target as f64 + 0.5) * scale;
            // Casts round towards 0 and never below it, as the original does.
            let first = (centre - support + 0.5) as usize;
            let end = ((centre + support + 0.5) as usize).min(from);
            let share = |position: usize| {
                let distance = ((first + position) as f64 - centre + 0.5) * (1.0 / support);
                (1.0 - distance.abs()).max(0.0)
            };
            let total: f64 = (0..end - first).map(share).sum();
            for (position, weight) in weights.iter_mut().take(end - first).enumerate() {
                *weight = (share(position) / total * f64::from(1 << FRACTION) + 0.5) as i32;
            }
            spans.push((first, end - first));
        }
        Self { spans, weights, most }
    }

    /// One row, brought to the target's columns.
    fn narrow(&self, row: &[u8], out: &mut [u8]) {
        let targets = self.spans.iter().zip(self.weights.chunks_exact(self.most));
        for (out, (&(first, count), weights)) in out.iter_mut().zip(targets) {
            let products = row[first..first + count].iter().zip(weights);
            *out = rounded(products.map(|(&sample, &weight)| i32::from(sample) * weight).sum());
        }
    }

    /// Weighted sums of the rows that target row `y` is made of.
    fn sum(&self, rows: &[u8], y: usize, sums: &mut [i32]) {
        let (first, count) = self.spans[y];
        sums.fill(0);
        let rows = rows.chunks_exact(sums.len()).skip(first).take(count);
        for (row, &weight) in rows.zip(&self.weights[y * self.most..]) {
            sums.iter_mut().zip(row).for_each(|(sum, &sample)| *sum += i32::from(sample) * weight);
        }
    }
}

fn rounded(sum: i32) -> u8 {
    ((sum + (1 << (FRACTION - 1))) >> FRACTION).clamp(0, 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Made by `fixtures/make_resample.py`: a 20x30 image, then `Image.resize(…, BILINEAR)` of windows of it, planar.
    #[test]
    fn samples_equal_pillows_to_the_last_bit() {
        let fixture = include_bytes!("../fixtures/resample.bin");
        let (image, mut rest) = fixture.split_at(3 * 20 * 30);
        for ([top, left, height, width], to) in [
            ([0, 0, 20, 30], [20, 30]),
            ([0, 0, 20, 30], [10, 15]),
            ([0, 0, 20, 30], [7, 9]),
            ([0, 0, 20, 30], [45, 41]),
            ([3, 5, 11, 17], [32, 32]),
            ([1, 2, 19, 28], [8, 32]),
            ([0, 29, 20, 1], [5, 4]),
            ([19, 0, 1, 30], [3, 1]),
        ] {
            let expected;
            (expected, rest) = rest.split_at(3 * to[0] * to[1]);
            let mut out = vec![0; expected.len()];
            resize(image, [20, 30], Window { top, left, height, width }, &mut out, to);
            assert!(out == expected, "{height}x{width} to {to:?}");
        }
        assert!(rest.is_empty());
    }

    proptest! {
        #[test]
        fn one_colour_stays_that_colour_and_no_size_panics(
            sides in prop::array::uniform4(1_usize..40),
            place in prop::array::uniform2(0_usize..5),
            colour: u8,
        ) {
            let [height, width, to_height, to_width] = sides;
            let [top, left] = place;
            let size = [height + top + 1, width + left + 1];
            let image = vec![colour; 3 * size[0] * size[1]];
            let mut out = vec![!colour; 3 * to_height * to_width];
            resize(&image, size, Window { top, left, height, width }, &mut out, [to_height, to_width]);
            prop_assert!(out.iter().all(|&sample| sample == colour));
        }
    }
}
