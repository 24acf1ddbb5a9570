//! Sizes of one convolution, and windows of a pooling.

use std::ops::Range;

/// A convolution over a batch; activations are `[channels, height, width, images]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConvShape {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Of the input.
    pub(crate) height: usize,
    /// Of the input.
    pub(crate) width: usize,
    pub(crate) images: usize,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
}

impl ConvShape {
    /// Height and width of the output.
    pub(crate) fn output_size(&self) -> [usize; 2] {
        [self.height, self.width].map(|side| (side + 2 * self.padding - self.kernel) / self.stride + 1)
    }

    /// Elements of the input tensor.
    pub(crate) fn input_len(&self) -> usize {
        self.inputs * self.height * self.width * self.images
    }
}

/// Square windows of a pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
}

impl Window {
    /// Windows along a side.
    pub(crate) fn outputs(&self, side: usize) -> usize {
        (side + 2 * self.padding - self.kernel) / self.stride + 1
    }

    /// What the window `at` covers of a side.
    pub(crate) fn of(&self, at: usize, side: usize) -> Range<usize> {
        let start = at * self.stride;
        start.saturating_sub(self.padding)..(start + self.kernel).saturating_sub(self.padding).min(side)
    }
}
