//! How a convolution becomes matrix products: one definition for the plain engine and for shares.
//!
//! Everything here is linear with integer coefficients and wraps, so it may be applied to plain integers or to
//! additive shares in Z_{2^32} or Z_{2^64}; reducing the result gives the right class of any smaller ring.
//!
//! A convolution is `scatter(products(weights, gather(images)))`:
//!
//! - `gather`: `[batch][in][height][width]` to `[positions][in][columns]`;
//! - products: Winograd multiplies tap by tap, `[out][in] x [in][columns]` at each of the taps; direct convolution
//!   sums over `(position, in)` too, `[out][positions·in] x [positions·in][columns]`, and counts as one tap;
//! - `scatter`: `[taps][out][columns]` (tap shifts applied) to `[batch][out][height][width]`.
//!
//! All arrays are row-major. A column is a tile (Winograd) or an output pixel (direct), in row-major order within an
//! image; with a batch, image `n` owns columns `n·k` to `(n+1)·k - 1` where `k` is [`ConvLayout::columns`].

mod direct;
mod ring;
mod shortcut;
mod tiles;
mod tournament;

pub use ring::RingElement;
pub use shortcut::{shortcut, sum_pool};
pub use tournament::{Tournament, max_pool, pooling_matches};

use crate::graph::Conv;
use crate::winograd::{Algorithm, Transform};

/// The shapes of one convolution and the order of its matrix products.
#[derive(Clone, Debug)]
pub struct ConvLayout {
    input: [usize; 3],
    output: [usize; 3],
    kernel: usize,
    stride: usize,
    padding: usize,
    transform: Option<Transform>,
}

impl ConvLayout {
    /// The layout of `conv` between nodes of these shapes `[channels, height, width]`, as
    /// [`crate::graph::CheckedGraph::shape`] gives them.
    pub fn new(conv: &Conv, input: [usize; 3], output: [usize; 3]) -> Self {
        Self::of([conv.kernel, conv.stride, conv.padding], conv.algorithm, input, output)
    }

    /// The layout of a convolution with this kernel, stride and padding between tensors of these shapes.
    pub fn of(
        [kernel, stride, padding]: [usize; 3],
        algorithm: Algorithm,
        input: [usize; 3],
        output: [usize; 3],
    ) -> Self {
        Self { input, output, kernel, stride, padding, transform: algorithm.transform() }
    }

    /// Columns an image has: tiles or output pixels.
    pub fn columns(&self) -> usize {
        let [_, height, width] = self.output;
        match &self.transform {
            Some(transform) => transform.tiles(height) * transform.tiles(width),
            None => height * width,
        }
    }

    /// Positions of [`Self::gather`]'s result: taps, or kernel² for direct convolution.
    pub fn positions(&self) -> usize {
        self.transform.as_ref().map_or(self.kernel * self.kernel, |transform| transform.tile * transform.tile)
    }

    /// Independent matrix products: one for each tap, or a single one for direct convolution.
    pub fn taps(&self) -> usize {
        self.transform.as_ref().map_or(1, |transform| transform.tile * transform.tile)
    }

    /// Inner dimension of each matrix product: input channels, times kernel² for direct convolution.
    pub fn inner(&self) -> usize {
        self.positions() / self.taps() * self.input[0]
    }

    /// `[batch][in][height][width]` to `[positions][in][batch·columns]`: the input tile transform `Bᵀ d B`, or the
    /// kernel's windows (im2col) for direct convolution. Outside the image there are zeros.
    ///
    /// The batch is `images.len()` over the elements of one image; an incomplete last image is left out.
    pub fn gather<W: RingElement>(&self, images: &[W]) -> Vec<W> {
        match &self.transform {
            Some(transform) => tiles::gather(self, transform, images),
            None => direct::gather(self, images),
        }
    }

    /// `[taps][out][batch·columns]` to `[batch][out][height][width]`: the output transform `Aᵀ M A`, cut to the
    /// output's size; for direct convolution only the batch moves to the front.
    ///
    /// Tap shifts must already be applied. The batch follows from `products.len()`.
    pub fn scatter<W: RingElement>(&self, products: &[W]) -> Vec<W> {
        match &self.transform {
            Some(transform) => tiles::scatter(self, transform, products),
            None => direct::scatter(self, products),
        }
    }

    fn batch_of_images(&self, elements: usize) -> usize {
        elements / self.input.iter().product::<usize>()
    }

    fn batch_of_products(&self, elements: usize) -> usize {
        elements / (self.taps() * self.output[0] * self.columns())
    }

    /// The pixel at `offset` of the tile or window whose padded origin is `origin`; `None` in the padding.
    fn source(&self, origin: usize, offset: usize, size: usize) -> Option<usize> {
        (origin + offset).checked_sub(self.padding).filter(|&at| at < size)
    }
}
