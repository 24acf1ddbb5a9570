//! Direct convolution: kernel windows as columns.

use super::{ConvLayout, RingElement};

pub(super) fn gather<W: RingElement>(layout: &ConvLayout, images: &[W]) -> Vec<W> {
    let [channels, height, width] = layout.input;
    let [_, out_height, out_width] = layout.output;
    let batch = layout.batch_of_images(images.len());
    let columns = out_height * out_width;
    let mut windows = vec![W::default(); layout.positions() * channels * batch * columns];
    for (row, target) in windows.chunks_exact_mut((batch * columns).max(1)).enumerate() {
        let (position, channel) = (row / channels, row % channels);
        let (kernel_y, kernel_x) = (position / layout.kernel, position % layout.kernel);
        for (image, target) in target.chunks_exact_mut(columns).enumerate() {
            let plane = &images[(image * channels + channel) * height * width..][..height * width];
            for (y, target) in target.chunks_exact_mut(out_width).enumerate() {
                let Some(source_y) = layout.source(y * layout.stride, kernel_y, height) else { continue };
                let line = &plane[source_y * width..][..width];
                for (x, target) in target.iter_mut().enumerate() {
                    if let Some(source_x) = layout.source(x * layout.stride, kernel_x, width) {
                        *target = line[source_x];
                    }
                }
            }
        }
    }
    windows
}

pub(super) fn scatter<W: RingElement>(layout: &ConvLayout, products: &[W]) -> Vec<W> {
    let (channels, columns) = (layout.output[0], layout.columns());
    let batch = layout.batch_of_products(products.len());
    let mut images = Vec::with_capacity(products.len());
    for image in 0..batch {
        for channel in 0..channels {
            images.extend_from_slice(&products[(channel * batch + image) * columns..][..columns]);
        }
    }
    images
}
