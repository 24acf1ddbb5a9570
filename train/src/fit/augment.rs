//! What happens to one 8-bit image on its way to a training step: a crop, a flip, a change of colours.

use eqo_datasets::{CHANNELS, Dataset, Normalization, resample};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::crop::ResizedCrop;
use super::jitter::Jitter;
use crate::recipe::FitSection;
use crate::{Error, Result, pixels};

/// What may happen to a training image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Augment {
    /// Pixels of padding around the image before a window of its own size is cropped from it; 0 disables it. Not used with
    /// a resized crop.
    pub crop: usize,
    /// Mirror half of the images.
    pub flip: bool,
    /// Colour of the padding.
    pub fill: [u8; CHANNELS],
    /// A window of random size, brought to the network's size; without it images must have that size.
    pub resized_crop: Option<ResizedCrop>,
    /// Change of colours.
    pub jitter: Jitter,
}

impl Augment {
    /// Pads with the pixel that the integer network sees as 0 (DESIGN §2); no resized crop, no jitter.
    pub fn new(crop: usize, flip: bool, normalization: &Normalization) -> Self {
        let fill = normalization.offsets().map(|offset| offset.clamp(0, 255) as u8);
        Self { crop, flip, fill, resized_crop: None, jitter: Jitter::default() }
    }

    /// What a recipe's section says.
    pub fn of(section: &FitSection, normalization: &Normalization) -> Self {
        let &FitSection { brightness, contrast, saturation, .. } = section;
        let resized_crop = ResizedCrop { area: section.crop_area, aspect: section.crop_aspect };
        Self {
            resized_crop: section.resized_crop.then_some(resized_crop),
            jitter: Jitter { brightness, contrast, saturation },
            ..Self::new(section.crop, section.flip, normalization)
        }
    }

    /// Refuses what can't be drawn.
    pub(super) fn check(&self) -> Result<()> {
        let Jitter { brightness, contrast, saturation } = self.jitter;
        for (key, range) in [("brightness", brightness), ("contrast", contrast), ("saturation", saturation)] {
            require(key, "0 to 10", range, (0.0..=10.0).contains(&range))?;
        }
        let Some(ResizedCrop { area, aspect }) = self.resized_crop else { return Ok(()) };
        let areas = 0.0 < area[0] && area[0] <= area[1] && area[1] <= 1.0;
        require("crop_area", "[least, most], above 0, at most 1", format!("{area:?}"), areas)?;
        let aspects = 0.01 <= aspect[0] && aspect[0] <= aspect[1] && aspect[1] <= 100.0;
        require("crop_aspect", "[least, most], 0.01 to 100", format!("{aspect:?}"), aspects)
    }

    /// Refuses images that don't come out in a network's size: a resized crop takes any, the others only that one.
    pub(super) fn check_size(&self, images: &Dataset, shape: [usize; 3]) -> Result<()> {
        let own = [CHANNELS, images.height(), images.width()];
        pixels::check_size(images, if self.resized_crop.is_some() { own } else { shape })
    }

    /// Writes a variant of `image`, `[CHANNELS, from]`, to `out`, `[CHANNELS, to]`.
    ///
    /// Without a resized crop both sizes must be the same.
    pub(super) fn draw(
        &self,
        (image, from): (&[u8], [usize; 2]),
        rng: &mut ChaCha8Rng,
        (out, to): (&mut [u8], [usize; 2]),
    ) {
        match &self.resized_crop {
            Some(crop) => resample::resize(image, from, crop.window(from, rng), out, to),
            None => self.padded_crop(image, to, rng, out),
        }
        if self.flip && rng.random::<bool>() {
            out.chunks_exact_mut(to[1]).for_each(<[u8]>::reverse);
        }
        self.jitter.apply(out, rng);
    }

    fn padded_crop(&self, image: &[u8], [height, width]: [usize; 2], rng: &mut ChaCha8Rng, out: &mut [u8]) {
        let [down, right] = [0; 2].map(|_: u8| rng.random_range(0..=2 * self.crop));
        let from = |position: usize, shift: usize, side: usize| {
            (position + shift).checked_sub(self.crop).filter(|&source| source < side)
        };
        let planes = image.chunks_exact(height * width).zip(out.chunks_exact_mut(height * width));
        for ((plane, out), fill) in planes.zip(self.fill) {
            for (y, out) in out.chunks_exact_mut(width).enumerate() {
                let Some(row) = from(y, down, height).map(|y| &plane[y * width..(y + 1) * width]) else {
                    out.fill(fill);
                    continue;
                };
                let row = (0..width).map(|x| from(x, right, width).map_or(fill, |x| row[x]));
                out.iter_mut().zip(row).for_each(|(out, pixel)| *out = pixel);
            }
        }
    }
}

fn require(key: &'static str, expected: &'static str, found: impl ToString, holds: bool) -> Result<()> {
    if holds { Ok(()) } else { Err(Error::Config { key, expected, found: found.to_string() }) }
}

#[cfg(test)]
mod tests;
