//! Colour jitter of one 8-bit image: the operations of Pillow's `ImageEnhance`, drawn as torchvision's `ColorJitter` does.

use eqo_datasets::CHANNELS;
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

/// How far colours may go: a factor is drawn from `max(0, 1 − x)` to `1 + x` for each, 0 switching it off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Jitter {
    /// Distance from black.
    pub brightness: f64,
    /// Distance from the image's mean grey.
    pub contrast: f64,
    /// Distance of each pixel from its own grey.
    pub saturation: f64,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Brightness,
    Contrast,
    Saturation,
}

impl Jitter {
    /// Changes `pixels`, `[CHANNELS, height · width]`, in an order and by factors that `rng` draws.
    pub(super) fn apply(&self, pixels: &mut [u8], rng: &mut ChaCha8Rng) {
        let mut changes = [
            (Change::Brightness, self.brightness),
            (Change::Contrast, self.contrast),
            (Change::Saturation, self.saturation),
        ];
        if changes.iter().all(|&(_, range)| range <= 0.0) {
            return;
        }
        changes.shuffle(rng);
        for (change, range) in changes {
            if range > 0.0 {
                let factor = rng.random_range((1.0 - range).max(0.0)..=1.0 + range);
                change.apply(pixels, factor as f32);
            }
        }
    }
}

impl Change {
    /// Moves each sample away from (factor above 1) or towards (below 1) what the change leaves at factor 0.
    fn apply(self, pixels: &mut [u8], factor: f32) {
        let plane = pixels.len() / CHANNELS;
        match self {
            Self::Brightness => pixels.iter_mut().for_each(|sample| *sample = blend(0, *sample, factor)),
            Self::Contrast => {
                let total: u64 = greys(pixels, plane).iter().map(|&grey| u64::from(grey)).sum();
                let mean = (total as f64 / plane.max(1) as f64 + 0.5) as u8;
                pixels.iter_mut().for_each(|sample| *sample = blend(mean, *sample, factor));
            }
            Self::Saturation => {
                let greys = greys(pixels, plane);
                let samples = pixels.iter_mut().zip(greys.iter().cycle());
                samples.for_each(|(sample, &grey)| *sample = blend(grey, *sample, factor));
            }
        }
    }
}

/// Luma of each pixel (ITU-R 601-2, 16-bit fixed point, as Pillow converts to `L`).
fn greys(pixels: &[u8], plane: usize) -> Vec<u8> {
    let (red, rest) = pixels.split_at(plane);
    let (green, blue) = rest.split_at(plane);
    let luma = |((&red, &green), &blue): ((&u8, &u8), &u8)| {
        let sum = u32::from(red) * 19_595 + u32::from(green) * 38_470 + u32::from(blue) * 7_471;
        ((sum + 0x8000) >> 16) as u8
    };
    red.iter().zip(green).zip(blue).map(luma).collect()
}

/// `from + factor · (sample − from)`, cut off at 0 and 255 and rounded down, as Pillow's `Image.blend`.
fn blend(from: u8, sample: u8, factor: f32) -> u8 {
    let difference = f32::from(i16::from(sample) - i16::from(from));
    (f32::from(from) + factor * difference) as u8 // casts saturate
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    /// Made by `fixtures/make_jitter.py`.
    #[test]
    fn every_change_equals_pillows_to_the_last_bit() {
        let fixture = include_bytes!("../../fixtures/jitter.bin");
        let mut images = fixture.chunks_exact(3 * 9 * 7);
        let image = images.next().unwrap();
        for change in [Change::Brightness, Change::Contrast, Change::Saturation] {
            for factor in [0.0, 0.3, 0.7, 1.0, 1.25, 1.9, 3.0] {
                let mut pixels = image.to_vec();
                change.apply(&mut pixels, factor);
                assert!(images.next() == Some(&pixels[..]), "{change:?} {factor}");
            }
        }
        assert!(images.next().is_none());
    }

    #[test]
    fn without_ranges_nothing_changes_and_nothing_is_drawn() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut pixels: Vec<u8> = (0..27).collect();
        Jitter::default().apply(&mut pixels, &mut rng);
        assert_eq!(pixels, (0..27).collect::<Vec<u8>>());
        assert_eq!(rng, ChaCha8Rng::seed_from_u64(1));
    }

    #[test]
    fn factors_stay_in_their_range_and_reach_most_of_it() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let jitter = Jitter { brightness: 0.4, ..Jitter::default() };
        let mut drawn = Vec::new();
        for _ in 0..500 {
            let mut pixels = [100; 3];
            jitter.apply(&mut pixels, &mut rng);
            drawn.push(pixels[0]);
        }
        let (least, most) = (drawn.iter().min().unwrap(), drawn.iter().max().unwrap());
        assert!((60..64).contains(least) && (137..=140).contains(most), "{least} to {most}");
    }

    #[test]
    fn all_orders_of_the_changes_occur() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let jitter = Jitter { brightness: 0.9, contrast: 0.9, saturation: 0.9 };
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..50 {
            let mut pixels = [10, 200, 30, 40, 90, 60, 70, 80, 250];
            jitter.apply(&mut pixels, &mut rng);
            seen.insert(pixels);
        }
        assert!(seen.len() > 45, "{}", seen.len());
    }
}
