//! Where a band adds the gradient of the input: tiles overlap, so a band also reaches rows of its neighbours.

use std::ops::Range;

use super::shape::ConvShape;

/// Rows that a band owns, and a copy of its neighbours' nearest rows.
pub(super) struct Sink<'a> {
    /// `[in]`, each the band's `rows`.
    pub(super) owned: Vec<&'a mut [f32]>,
    pub(super) rows: Range<usize>,
    /// Rows from the first of the band's tiles, without padding, to the first of the next band's.
    pub(super) tiles: Range<usize>,
    /// `[in, halo rows]` rows: those above the band's tiles, then those below; empty if no gradient is wanted.
    pub(super) halo: Vec<f32>,
    /// Rows of the halo that lie above.
    pub(super) above: usize,
    /// Numbers in a row.
    pub(super) row: usize,
}

impl Sink<'_> {
    /// Whether the gradient of the input was asked for.
    pub(super) fn is_wanted(&self) -> bool {
        !self.halo.is_empty()
    }

    /// Row `y` of a channel.
    #[inline(always)]
    pub(super) fn row(&mut self, channel: usize, y: usize, halo_rows: usize) -> &mut [f32] {
        let row = self.row;
        if self.rows.contains(&y) {
            return &mut self.owned[channel][(y - self.rows.start) * row..][..row];
        }
        let tiles = &self.tiles;
        let at = if y < tiles.start { y + self.above - tiles.start } else { y - tiles.end + self.above };
        &mut self.halo[(channel * halo_rows + at) * row..][..row]
    }

    pub(super) fn into_halo(self) -> Halo {
        Halo { values: self.halo, tiles: self.tiles }
    }
}

/// What a band adds to its neighbours' rows.
pub(super) struct Halo {
    values: Vec<f32>,
    tiles: Range<usize>,
}

impl Halo {
    /// Adds `rows` rows of a channel to that channel of the whole gradient.
    pub(super) fn add_to(&self, channel: usize, dx: &mut [f32], shape: &ConvShape, rows: usize) {
        let row = shape.width * shape.images;
        let parts = self.values[channel * rows * row..][..rows * row].chunks_exact(row);
        for (at, part) in parts.enumerate() {
            let y = match at.checked_sub(shape.padding) {
                None => (self.tiles.start + at).checked_sub(shape.padding),
                Some(below) => Some(self.tiles.end + below),
            };
            if let Some(y) = y.filter(|&y| y < shape.height) {
                let into = &mut dx[y * row..][..row];
                into.iter_mut().zip(part).for_each(|(into, part)| *into += part);
            }
        }
    }
}
