//! Winograd convolution: transformed tiles as columns. Whole planes of tiles move at once, so that the inner loops
//! are contiguous sums.

use super::ring::accumulate;
use super::{ConvLayout, RingElement};
use crate::winograd::Transform;

pub(super) fn gather<W: RingElement>(layout: &ConvLayout, transform: &Transform, images: &[W]) -> Vec<W> {
    let [channels, height, width] = layout.input;
    let (batch, columns) = (layout.batch_of_images(images.len()), layout.columns());
    let total = batch * columns;
    let mut taps = vec![W::default(); layout.positions() * channels * total];
    for channel in 0..channels {
        for image in 0..batch {
            let plane = &images[(image * channels + channel) * height * width..][..height * width];
            let tiles = sandwich(&transform.bt, &cut(layout, transform, plane), columns);
            for (tap, values) in tiles.chunks_exact(columns).enumerate() {
                taps[(tap * channels + channel) * total + image * columns..][..columns]
                    .copy_from_slice(values);
            }
        }
    }
    taps
}

pub(super) fn scatter<W: RingElement>(layout: &ConvLayout, transform: &Transform, products: &[W]) -> Vec<W> {
    let [channels, height, width] = layout.output;
    let (batch, columns) = (layout.batch_of_products(products.len()), layout.columns());
    let total = batch * columns;
    let mut images = vec![W::default(); batch * channels * height * width];
    let mut taps = vec![W::default(); layout.taps() * columns];
    for (index, plane) in images.chunks_exact_mut(height * width).enumerate() {
        let (image, channel) = (index / channels, index % channels);
        for (tap, values) in taps.chunks_exact_mut(columns).enumerate() {
            let start = (tap * channels + channel) * total + image * columns;
            values.copy_from_slice(&products[start..][..columns]);
        }
        paste(transform, &sandwich(&transform.at, &taps, columns), plane, [height, width]);
    }
    images
}

/// Tile elements of one channel, `[i·t + j][tiles]`.
fn cut<W: RingElement>(layout: &ConvLayout, transform: &Transform, plane: &[W]) -> Vec<W> {
    let [_, height, width] = layout.input;
    let [rows, cols] = [transform.tiles(layout.output[1]), transform.tiles(layout.output[2])];
    let mut elements = vec![W::default(); transform.tile * transform.tile * rows * cols];
    for (index, target) in elements.chunks_exact_mut(cols).enumerate() {
        let (element, row) = (index / rows, index % rows);
        let (i, j) = (element / transform.tile, element % transform.tile);
        let Some(y) = layout.source(row * transform.step, i, height) else { continue };
        for (col, target) in target.iter_mut().enumerate() {
            if let Some(x) = layout.source(col * transform.step, j, width) {
                *target = plane[y * width + x];
            }
        }
    }
    elements
}

/// `C X Cᵀ` of every column: `matrix` is C `[r][s]`, `elements` is X `[s·s][columns]`, the result `[r·r][columns]`.
fn sandwich<W: RingElement>(matrix: &[Vec<i64>], elements: &[W], columns: usize) -> Vec<W> {
    let (rows, size) = (matrix.len(), matrix[0].len());
    let mut left = vec![W::default(); rows * size * columns];
    for (index, target) in left.chunks_exact_mut(columns).enumerate() {
        let (row, j) = (index / size, index % size);
        for (i, &coefficient) in matrix[row].iter().enumerate() {
            accumulate(target, coefficient, &elements[(i * size + j) * columns..][..columns]);
        }
    }
    let mut both = vec![W::default(); rows * rows * columns];
    for (index, target) in both.chunks_exact_mut(columns).enumerate() {
        let (row, col) = (index / rows, index % rows);
        for (j, &coefficient) in matrix[col].iter().enumerate() {
            accumulate(target, coefficient, &left[(row * size + j) * columns..][..columns]);
        }
    }
    both
}

/// Writes tile outputs `[p·m + q][tiles]` into a plane, leaving out what is beyond its edges.
fn paste<W: RingElement>(transform: &Transform, outputs: &[W], plane: &mut [W], [height, width]: [usize; 2]) {
    let m = transform.outputs;
    let [rows, cols] = [transform.tiles(height), transform.tiles(width)];
    for (y, line) in plane.chunks_exact_mut(width).enumerate() {
        for (x, target) in line.iter_mut().enumerate() {
            let element = (y % m) * m + x % m;
            *target = outputs[(element * rows + y / m) * cols + x / m];
        }
    }
}
