//! Strips: parts of one row of tiles, for some images, small enough that their taps stay in the second-level cache.

use std::ops::Range;

/// Some tiles of one tile row, for some images; its columns are `(tile, image)`, images innermost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Strip {
    /// Row of tiles.
    pub(super) row: usize,
    /// Tiles of the row.
    pub(super) tiles: Range<usize>,
    /// Images of the batch.
    pub(super) images: Range<usize>,
}

/// Numbers that a strip's transformed inputs and outputs may take together: about half of a common L2 cache.
const BUDGET: usize = 1 << 18;
/// Fewest and most columns worth a matrix product.
const COLUMNS: [usize; 2] = [64, 512];
/// Images are cut at multiples of this, so that vectors stay whole.
const VECTOR: usize = 16;

/// Numbers from one tap's matrix of a strip to the next: a cache line more than it has, because matrices that are a power
/// of two apart share the cache's sets, and a tile's taps would evict each other.
pub(super) fn tap_stride(channels: usize, columns: usize) -> usize {
    channels * columns + VECTOR
}

/// Sizes of the strips of a convolution.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strips {
    tiles: usize,
    images: usize,
    tiles_each: usize,
    images_each: usize,
}

impl Strips {
    /// Strips over rows of `tiles` tiles and `images` images, where a column has `numbers` numbers in all taps.
    pub(super) fn new(tiles: usize, images: usize, numbers: usize) -> Self {
        let columns = (BUDGET / numbers.max(1)).clamp(COLUMNS[0], COLUMNS[1]);
        let images_each = (columns / tiles.max(1)).next_multiple_of(VECTOR).max(VECTOR).min(images.max(1));
        let tiles_each = (columns.max(2 * VECTOR) / images_each.max(1)).clamp(1, tiles.max(1));
        Self { tiles, images, tiles_each, images_each }
    }

    /// Most columns of a strip.
    pub(super) fn columns(&self) -> usize {
        self.tiles_each * self.images_each
    }

    /// Every strip of one row of tiles.
    pub(super) fn of_row(self, row: usize) -> impl Iterator<Item = Strip> {
        let pieces = |end: usize, each: usize| (0..end).step_by(each).map(move |at| at..end.min(at + each));
        pieces(self.images, self.images_each).flat_map(move |images| {
            pieces(self.tiles, self.tiles_each).map(move |tiles| Strip { row, tiles, images: images.clone() })
        })
    }
}

impl Strip {
    /// Columns of the strip's matrices.
    pub(super) fn columns(&self) -> usize {
        self.tiles.len() * self.images.len()
    }
}
