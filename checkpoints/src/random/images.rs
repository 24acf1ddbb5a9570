//! Random images with neighbours alike, as in photographs: white noise would make every feature map look the same.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Pixels between random colours.
const GRID: usize = 8;

/// Largest deviation from the colours between them.
const NOISE: f32 = 32.0;

/// An image `[channels][height][width]`: random colours every few pixels, blended linearly, with noise.
pub(super) fn draw(rng: &mut ChaCha8Rng, [channels, height, width]: [usize; 3]) -> Vec<u8> {
    let mut image = Vec::with_capacity(channels * height * width);
    for _ in 0..channels {
        let columns = width / GRID + 2;
        let colours: Vec<f32> =
            (0..(height / GRID + 2) * columns).map(|_| 255.0 * rng.random::<f32>()).collect();
        for index in 0..height * width {
            let (y, x) = (index / width, index % width);
            let row = |y: usize| {
                let colours = &colours[y * columns + x / GRID..];
                blend(colours[0], colours[1], x)
            };
            let smooth = blend(row(y / GRID), row(y / GRID + 1), y);
            let noisy = smooth + NOISE * (2.0 * rng.random::<f32>() - 1.0);
            image.push(noisy.round().clamp(0.0, 255.0) as u8);
        }
    }
    image
}

/// Between two colours at pixel `at` of their row or column.
fn blend(one: f32, next: f32, at: usize) -> f32 {
    let share = (at % GRID) as f32 / GRID as f32;
    one + share * (next - one)
}
