//! Residual inputs and pooling, on plain values or shares.

use super::RingElement;
use crate::graph::Shortcut;

/// What a shortcut adds to the accumulators: `[batch][from]` to `[batch][to]`, every `stride`-th pixel, zero channels
/// around, channel `o` times `2^shifts[o]`. Shapes are `[channels, height, width]` of the two nodes.
pub fn shortcut<W: RingElement>(
    shortcut: &Shortcut,
    from: [usize; 3],
    to: [usize; 3],
    values: &[W],
) -> Vec<W> {
    let ([channels, height, width], [out_channels, out_height, out_width]) = (from, to);
    let batch = values.len() / (channels * height * width);
    let plane = out_height * out_width;
    let mut added = vec![W::default(); batch * out_channels * plane];
    for image in 0..batch {
        for channel in 0..channels {
            let out = channel + shortcut.channel_offset;
            let source = &values[(image * channels + channel) * height * width..][..height * width];
            let target = &mut added[(image * out_channels + out) * plane..][..plane];
            for (at, target) in target.iter_mut().enumerate() {
                let (y, x) = (at / out_width * shortcut.stride, at % out_width * shortcut.stride);
                *target = source[y * width + x].shifted(shortcut.shifts[out]);
            }
        }
    }
    added
}

/// Sum over height and width: `[batch][channels][pixels]` to `[batch][channels]`.
pub fn sum_pool<W: RingElement>(pixels: usize, values: &[W]) -> Vec<W> {
    values
        .chunks_exact(pixels)
        .map(|plane| plane.iter().fold(W::default(), |sum, &value| sum.plus(value)))
        .collect()
}
