//! Images and labels, as every stage takes them.

use crate::error::{Error, Result};
use crate::pixels::Pixels;

/// Colour planes of an image: red, green, blue.
pub const CHANNELS: usize = 3;

/// One RGB image, 8 bits a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    height: usize,
    width: usize,
    pixels: Vec<u8>,
}

impl Image {
    /// Image from planes, layout `[CHANNELS, height, width]`.
    ///
    /// # Errors
    /// [`Error::Shape`] when `pixels` isn't `3 * height * width` long.
    pub fn new(height: usize, width: usize, pixels: Vec<u8>) -> Result<Self> {
        let expected = image_bytes(height, width)?;
        if pixels.len() != expected {
            return Err(Error::Shape { what: "pixels of an image", expected, found: pixels.len() });
        }
        Ok(Self { height, width, pixels })
    }

    /// Rows.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Samples, `[CHANNELS, height, width]`.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// The samples, owned.
    #[must_use]
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }
}

/// Labelled images of one size, in memory or in a mapped cache file ([`crate::cache`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    name: String,
    classes: Vec<String>,
    height: usize,
    width: usize,
    pixels: Pixels,
    labels: Vec<u16>,
}

impl Dataset {
    /// Dataset from its images, `pixels` being `[N, CHANNELS, height, width]` and `labels` `[N]`.
    ///
    /// # Errors
    /// [`Error::Shape`] when the lengths disagree, [`Error::Label`] when a label isn't below `classes.len()`.
    pub fn new(
        name: impl Into<String>,
        classes: Vec<String>,
        (height, width): (usize, usize),
        pixels: Vec<u8>,
        labels: Vec<u16>,
    ) -> Result<Self> {
        Self::over(name.into(), classes, (height, width), pixels.into(), labels)
    }

    /// [`new`](Self::new) for pixels wherever they are.
    pub(crate) fn over(
        name: String,
        classes: Vec<String>,
        (height, width): (usize, usize),
        pixels: Pixels,
        labels: Vec<u16>,
    ) -> Result<Self> {
        let each = image_bytes(height, width)?;
        let expected = labels.len().saturating_mul(each);
        if pixels.len() != expected {
            return Err(Error::Shape { what: "pixels of a dataset", expected, found: pixels.len() });
        }
        let bad = labels.iter().position(|&label| usize::from(label) >= classes.len());
        if let Some(index) = bad {
            return Err(Error::Label { index, classes: classes.len(), found: labels[index] });
        }
        Ok(Self { name, classes, height, width, pixels, labels })
    }

    /// Name for reports: `cifar10`, `synthetic`, or the folder's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Class names; a label indexes them.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Rows of each image.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns of each image.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// True when there are no images.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Samples of image `index`, `[CHANNELS, height, width]`.
    ///
    /// # Panics
    /// When `index >= len()`, as a slice does.
    #[must_use]
    pub fn image(&self, index: usize) -> &[u8] {
        let each = CHANNELS * self.height * self.width;
        &self.pixels[index * each..(index + 1) * each]
    }

    /// Label of image `index`, below `classes().len()`.
    ///
    /// # Panics
    /// When `index >= len()`, as a slice does.
    #[must_use]
    pub fn label(&self, index: usize) -> u16 {
        self.labels[index]
    }

    /// All labels, `[N]`.
    #[must_use]
    pub fn labels(&self) -> &[u16] {
        &self.labels
    }

    /// All samples, `[N, CHANNELS, height, width]`.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// Image `index`, owned, for saving or sending.
    ///
    /// # Panics
    /// When `index >= len()`, as a slice does.
    #[must_use]
    pub fn to_image(&self, index: usize) -> Image {
        Image { height: self.height, width: self.width, pixels: self.image(index).to_vec() }
    }

    /// The images at `indices`, in that order (repeats allowed), copied into memory.
    ///
    /// # Panics
    /// When an index is `>= len()`, as a slice does.
    #[must_use]
    pub fn subset(&self, indices: &[usize]) -> Self {
        let mut pixels = Vec::with_capacity(indices.len() * CHANNELS * self.height * self.width);
        indices.iter().for_each(|&index| pixels.extend_from_slice(self.image(index)));
        Self {
            name: self.name.clone(),
            classes: self.classes.clone(),
            height: self.height,
            width: self.width,
            pixels: pixels.into(),
            labels: indices.iter().map(|&index| self.labels[index]).collect(),
        }
    }

    /// Number of images of each class, `[classes().len()]`.
    #[must_use]
    pub fn class_sizes(&self) -> Vec<usize> {
        let mut sizes = vec![0; self.classes.len()];
        self.labels.iter().for_each(|&label| sizes[usize::from(label)] += 1);
        sizes
    }
}

/// Bytes of one image; an image without pixels, or past the address space, is refused.
fn image_bytes(height: usize, width: usize) -> Result<usize> {
    let bytes = height.checked_mul(width).and_then(|area| area.checked_mul(CHANNELS));
    bytes.filter(|&bytes| bytes > 0).ok_or(Error::Shape { what: "sides of an image", expected: 1, found: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_images() -> Result<Dataset> {
        let classes = vec!["a".to_owned(), "b".to_owned()];
        Dataset::new("two", classes, (1, 2), (0..12).collect(), vec![1, 0])
    }

    #[test]
    fn images_and_labels_keep_their_order_in_a_subset() {
        let dataset = two_images().unwrap();
        let reversed = dataset.subset(&[1, 0, 1]);
        assert_eq!(reversed.image(0), [6, 7, 8, 9, 10, 11]);
        assert_eq!(reversed.image(1), [0, 1, 2, 3, 4, 5]);
        assert_eq!(reversed.labels(), [0, 1, 0]);
        assert_eq!(reversed.class_sizes(), [2, 1]);
        assert_eq!(dataset.to_image(1).pixels(), dataset.image(1));
    }

    #[test]
    fn wrong_lengths_labels_and_shapes_are_refused() {
        let classes = || vec!["a".to_owned()];
        let wrong_length = Dataset::new("x", classes(), (1, 2), vec![0; 11], vec![0, 0]);
        assert!(matches!(wrong_length, Err(Error::Shape { expected: 12, found: 11, .. })));
        let wrong_label = Dataset::new("x", classes(), (1, 1), vec![0; 6], vec![0, 1]);
        assert!(matches!(wrong_label, Err(Error::Label { index: 1, classes: 1, found: 1 })));
        assert!(Image::new(usize::MAX, 2, vec![]).is_err());
        assert!(Image::new(0, 4, vec![]).is_err());
    }
}
