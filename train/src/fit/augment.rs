//! Random crop and flip of one 8-bit image.

use eqo_datasets::{CHANNELS, Normalization};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

/// What may happen to a training image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Augment {
    /// Pixels of padding around the image before a window of its own size is cropped from it; 0 disables it.
    pub crop: usize,
    /// Mirror half of the images.
    pub flip: bool,
    /// Colour of the padding.
    pub fill: [u8; CHANNELS],
}

impl Augment {
    /// Pads with the pixel that the integer network sees as 0 (DESIGN §2).
    pub fn new(crop: usize, flip: bool, normalization: &Normalization) -> Self {
        let fill = normalization.offsets().map(|offset| offset.clamp(0, 255) as u8);
        Self { crop, flip, fill }
    }

    /// Writes a variant of `image`, both `[CHANNELS, height, width]`, to `out`.
    pub(super) fn draw(
        &self,
        image: &[u8],
        [height, width]: [usize; 2],
        rng: &mut ChaCha8Rng,
        out: &mut [u8],
    ) {
        let [down, right] = [0; 2].map(|_: u8| rng.random_range(0..=2 * self.crop));
        let mirrored = self.flip && rng.random::<bool>();
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
                if mirrored {
                    out.reverse();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    const SIZE: [usize; 2] = [3, 4];

    fn variants(augment: Augment) -> Vec<Vec<u8>> {
        let image: Vec<u8> = (1..=36).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut draw = || {
            let mut out = vec![0; image.len()];
            augment.draw(&image, SIZE, &mut rng, &mut out);
            out
        };
        (0..200).map(|_| draw()).collect()
    }

    #[test]
    fn without_crop_and_flip_nothing_changes() {
        let image: Vec<u8> = (1..=36).collect();
        assert!(
            variants(Augment { crop: 0, flip: false, fill: [0; 3] }).iter().all(|variant| *variant == image)
        );
    }

    #[test]
    fn a_flip_reverses_each_row_of_about_half_the_images() {
        let image: Vec<u8> = (1..=36).collect();
        let mirrored: Vec<u8> = image.chunks(4).flat_map(|row| row.iter().rev().copied()).collect();
        let all = variants(Augment { crop: 0, flip: true, fill: [0; 3] });
        let flipped = all.iter().filter(|variant| **variant == mirrored).count();
        assert_eq!(flipped + all.iter().filter(|variant| **variant == image).count(), 200);
        assert!((70..130).contains(&flipped), "{flipped}");
    }

    #[test]
    fn a_crop_shifts_every_plane_alike_and_pads_with_its_own_colour() {
        let fill = [101, 102, 103];
        let all = variants(Augment { crop: 1, flip: false, fill });
        for variant in &all {
            assert_eq!(variant.len(), 36);
            let planes: Vec<&[u8]> = variant.chunks(12).collect();
            for (plane, fill) in planes.iter().zip(fill) {
                let expected = planes[0].iter().map(|&p| if p == 101 { fill } else { p + (fill - 101) * 12 });
                assert!(plane.iter().copied().eq(expected));
            }
        }
        let distinct: std::collections::BTreeSet<_> = all.into_iter().collect();
        assert_eq!(distinct.len(), 9);
    }

    #[test]
    fn padding_is_the_pixel_the_integer_network_sees_as_zero() {
        let normalization = Normalization::IMAGENET;
        let augment = Augment::new(1, false, &normalization);
        let one_each: Vec<u8> = augment.fill.to_vec();
        assert!(normalization.integer_input(&one_each).all(|value| value == 0));
    }
}
