//! From pixels to network input: per-channel mean and standard deviation, in floats and in integers.

use serde::{Deserialize, Serialize};

use crate::dataset::CHANNELS;
use crate::error::{Error, Result};

/// Per-channel statistics of pixels scaled to [0, 1], order red, green, blue.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalization {
    /// Mean, 0 to 1.
    pub mean: [f32; CHANNELS],
    /// Standard deviation, above 0 and at most 1.
    pub std: [f32; CHANNELS],
}

impl Normalization {
    /// ImageNet statistics; torchvision's models and the akamaster CIFAR ResNets use them.
    pub const IMAGENET: Self = Self { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };
    /// CIFAR-10 training set.
    pub const CIFAR10: Self = Self { mean: [0.4914, 0.4822, 0.4465], std: [0.2470, 0.2435, 0.2616] };
    /// CIFAR-100 training set.
    pub const CIFAR100: Self = Self { mean: [0.5071, 0.4865, 0.4409], std: [0.2673, 0.2564, 0.2762] };
    /// The built-in synthetic set (grey on average, because half of its images are negatives).
    pub const SYNTHETIC: Self = Self { mean: [0.5; CHANNELS], std: [0.32; CHANNELS] };

    /// Checks that the statistics can be used.
    ///
    /// # Errors
    /// [`Error::Normalization`] unless every mean is in [0, 1] and every deviation in (0, 1].
    pub fn validate(&self) -> Result<()> {
        for (channel, (&mean, &std)) in self.mean.iter().zip(&self.std).enumerate() {
            if !((0.0..=1.0).contains(&mean) && std > 0.0 && std <= 1.0) {
                return Err(Error::Normalization { channel, mean, std });
            }
        }
        Ok(())
    }

    /// What the integer network subtracts from a pixel: `round(255 * mean)`, 0 to 255 (DESIGN §2).
    ///
    /// Zero padding of the difference then stands for a pixel of exactly that value.
    #[must_use]
    pub fn offsets(&self) -> [i16; CHANNELS] {
        self.mean.map(|mean| (255.0 * mean).round() as i16)
    }

    /// What one integer input step is worth in normalised units, `1 / (255 * std)`; folded into the first layer.
    #[must_use]
    pub fn scales(&self) -> [f32; CHANNELS] {
        self.std.map(|std| 1.0 / (255.0 * std))
    }

    /// Network input in integers, `pixel - offset`, -255 to 255 (signed 9 bits); layout as `pixels`.
    ///
    /// `pixels` is `[CHANNELS, height, width]`; a batch is converted image by image.
    pub fn integer_input<'a>(&self, pixels: &'a [u8]) -> impl Iterator<Item = i16> + 'a {
        let offsets = self.offsets();
        let plane = plane_len(pixels);
        pixels
            .chunks(plane)
            .zip(offsets)
            .flat_map(|(plane, offset)| plane.iter().map(move |&p| i16::from(p) - offset))
    }

    /// Network input in floats, `(pixel/255 - mean) / std` as PyTorch computes it; layout as `pixels`.
    ///
    /// `pixels` is `[CHANNELS, height, width]`; a batch is converted image by image.
    pub fn float_input<'a>(&self, pixels: &'a [u8]) -> impl Iterator<Item = f32> + 'a {
        let Self { mean, std } = *self;
        let plane = plane_len(pixels);
        pixels
            .chunks(plane)
            .zip(mean.into_iter().zip(std))
            .flat_map(|(plane, (mean, std))| plane.iter().map(move |&p| (f32::from(p) / 255.0 - mean) / std))
    }
}

/// Samples of one colour plane; at least 1, because `chunks` refuses 0.
fn plane_len(pixels: &[u8]) -> usize {
    (pixels.len() / CHANNELS).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [Normalization; 4] =
        [Normalization::IMAGENET, Normalization::CIFAR10, Normalization::CIFAR100, Normalization::SYNTHETIC];

    #[test]
    fn integer_input_fits_signed_nine_bits_for_every_pixel_and_offset() {
        for step in 0..=255_u8 {
            let mean = [f32::from(step) / 255.0; CHANNELS];
            let normalization = Normalization { mean, std: [0.5; CHANNELS] };
            assert_eq!(normalization.offsets(), [i16::from(step); CHANNELS]);
            let pixels: Vec<u8> = [0, 255].repeat(CHANNELS);
            assert!(normalization.integer_input(&pixels).all(|x| (-256..256).contains(&x)));
        }
    }

    #[test]
    fn imagenet_offsets_are_124_116_104() {
        assert_eq!(Normalization::IMAGENET.offsets(), [124, 116, 104]);
    }

    #[test]
    fn integer_input_times_scale_is_the_float_input_within_half_a_pixel() {
        let pixels: Vec<u8> = (0..=255).cycle().take(3 * 256).collect();
        for normalization in KNOWN {
            normalization.validate().unwrap();
            let scales = normalization.scales();
            let pairs = normalization.integer_input(&pixels).zip(normalization.float_input(&pixels));
            for (i, (integer, float)) in pairs.enumerate() {
                let scale = scales[i / 256];
                assert!((f32::from(integer) * scale - float).abs() <= 0.5001 * scale);
            }
        }
    }

    #[test]
    fn unusable_statistics_are_refused() {
        for (mean, std) in [(1.5, 0.2), (f32::NAN, 0.2), (0.5, 0.0), (0.5, f32::NAN), (0.5, 60.0)] {
            let bad = Normalization { mean: [0.5, mean, 0.5], std: [0.2, std, 0.2] };
            assert!(matches!(bad.validate(), Err(Error::Normalization { channel: 1, .. })));
        }
    }
}
