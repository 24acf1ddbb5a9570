//! A built-in set that needs no download: five shapes in two textures, 32x32 RGB, drawn from a seed.
//!
//! The class is (shape, texture). Everything else is nuisance: colours, which of object and background is
//! brighter, scale, position, rotation, phase of the texture, background waves, blobs, pixel noise. Because the
//! contrast flips at random, the mean image of every class is the same grey and no linear classifier on pixels
//! does well, while a small CNN learns the set in a few epochs.
//!
//! Drawing uses only `+ - * / sqrt floor` on `f32`, which IEEE 754 fixes to the bit, so a seed gives the same
//! bytes on every machine.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::dataset::{CHANNELS, Dataset};

/// Height and width of the images.
const SIDE: usize = 32;
const PLANE: usize = SIDE * SIDE;
/// Class names: shape is `class / 2`, texture `class % 2`.
const CLASSES: [&str; 10] = [
    "striped circle",
    "checked circle",
    "striped square",
    "checked square",
    "striped triangle",
    "checked triangle",
    "striped ring",
    "checked ring",
    "striped cross",
    "checked cross",
];
/// Samples a pixel side, so that edges are smooth.
const OVERSAMPLING: usize = 2;
/// Parts the test images from the training images of the same seed ("test" in ASCII).
const TEST_STREAM: u64 = 0x7465_7374;

/// Draws `count` labelled images; image i has class `i % 10` and depends on (`seed`, i) only.
///
/// So a longer set starts with the shorter one, and any prefix is balanced.
///
/// # Panics
/// When `count` images of 3072 bytes don't fit in memory, as `vec!` does; bound a count that comes from outside.
#[must_use]
pub fn generate(seed: u64, count: usize) -> Dataset {
    let mut pixels = vec![0; count * CHANNELS * PLANE];
    let label = |index: usize| (index % CLASSES.len()) as u16;
    pixels.par_chunks_mut(CHANNELS * PLANE).enumerate().for_each(|(index, image)| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(index as u64);
        draw(&mut rng, usize::from(label(index)), image);
    });
    let classes = CLASSES.map(str::to_owned).to_vec();
    let labels = (0..count).map(label).collect();
    Dataset::new("synthetic", classes, (SIDE, SIDE), pixels, labels)
        .expect("lengths and labels are right by construction")
}

/// The test images that belong to the training images `generate(seed, …)`: none of them is among those.
#[must_use]
pub fn generate_test(seed: u64, count: usize) -> Dataset {
    generate(seed ^ TEST_STREAM, count)
}

/// Draws one image of `class` into `image`, `[CHANNELS, SIDE, SIDE]`.
fn draw(rng: &mut ChaCha8Rng, class: usize, image: &mut [u8]) {
    let object = Object::random(rng, class);
    let background = Background::random(rng);
    let paint = Paint::random(rng);
    let samples = (OVERSAMPLING * OVERSAMPLING) as f32;
    for pixel in 0..PLANE {
        let mut colour = [0.0; CHANNELS];
        for sample in 0..OVERSAMPLING * OVERSAMPLING {
            let at = |cell: usize, sub: usize| cell as f32 + (sub as f32 + 0.5) / OVERSAMPLING as f32;
            let point = [at(pixel % SIDE, sample % OVERSAMPLING), at(pixel / SIDE, sample / OVERSAMPLING)];
            let sampled = match object.texture_at(point) {
                Some(light) => paint.object[usize::from(light)],
                None => paint.background.map(|base| base + background.shade_at(point)),
            };
            colour.iter_mut().zip(sampled).for_each(|(sum, value)| *sum += value / samples);
        }
        for (channel, value) in colour.into_iter().enumerate() {
            // The sum of two uniform variables is close enough to a normal one.
            let noise = rng.random_range(-10.0..10.0_f32) + rng.random_range(-10.0..10.0_f32);
            image[channel * PLANE + pixel] = (value + noise).clamp(0.0, 255.0) as u8;
        }
    }
}

/// A vector of length 1 in a random direction, without trigonometry.
fn random_direction(rng: &mut ChaCha8Rng) -> [f32; 2] {
    loop {
        let [x, y] = [rng.random_range(-1.0..1.0_f32), rng.random_range(-1.0..1.0_f32)];
        let square = x * x + y * y;
        if (0.01..1.0).contains(&square) {
            let length = square.sqrt();
            return [x / length, y / length];
        }
    }
}

/// The shape that decides the class, in pixel coordinates.
struct Object {
    shape: usize,
    checked: bool,
    centre: [f32; 2],
    radius: f32,
    /// First axis of the object's own coordinates.
    axis: [f32; 2],
    /// Width in pixels of one stripe or check.
    cell: f32,
    /// Shift of the texture, in cells.
    phase: [f32; 2],
}

impl Object {
    fn random(rng: &mut ChaCha8Rng, class: usize) -> Self {
        let radius = rng.random_range(9.0..13.0_f32);
        let reach = 15.0 - radius;
        let middle = SIDE as f32 / 2.0;
        Self {
            shape: class / 2,
            checked: class % 2 == 1,
            centre: [0; 2].map(|_| middle + rng.random_range(-reach..reach)),
            radius,
            axis: tilted_axis(rng),
            cell: rng.random_range(2.0..3.0_f32),
            phase: [0; 2].map(|_| rng.random_range(0.0..2.0_f32)),
        }
    }

    /// `None` outside the object, else whether the light or the dark part of the texture is there.
    fn texture_at(&self, point: [f32; 2]) -> Option<bool> {
        let [x, y] = [point[0] - self.centre[0], point[1] - self.centre[1]];
        let [c, s] = self.axis;
        let [u, v] = [x * c + y * s, y * c - x * s];
        if !self.contains(u / self.radius, v / self.radius) {
            return None;
        }
        let odd = |length: f32, phase: f32| (length / self.cell + phase).floor().rem_euclid(2.0) == 1.0;
        let [across, along] = [odd(u, self.phase[0]), odd(v, self.phase[1])];
        Some(across ^ (self.checked && along))
    }

    /// Whether the unit shape covers (u, v).
    fn contains(&self, u: f32, v: f32) -> bool {
        let square = u * u + v * v;
        let (long, short) = (u.abs().max(v.abs()), u.abs().min(v.abs()));
        match self.shape {
            0 => square < 0.85,
            1 => long < 0.8,
            2 => v < 0.75 && 1.9 * u.abs() < v + 1.0,
            3 => (0.3..1.0).contains(&square),
            _ => long < 1.0 && short < 0.3,
        }
    }
}

/// A direction within about 35 degrees of the horizontal: (1 - t², 2t) / (1 + t²).
fn tilted_axis(rng: &mut ChaCha8Rng) -> [f32; 2] {
    let t = rng.random_range(-0.3..0.3_f32);
    let square = t * t;
    [(1.0 - square) / (1.0 + square), 2.0 * t / (1.0 + square)]
}

/// What is behind the object: a slow wave and a few blobs.
struct Background {
    direction: [f32; 2],
    period: f32,
    amplitude: f32,
    blobs: [Blob; 3],
}

struct Blob {
    centre: [f32; 2],
    radius: f32,
    shade: f32,
}

impl Background {
    fn random(rng: &mut ChaCha8Rng) -> Self {
        Self {
            direction: random_direction(rng),
            period: rng.random_range(8.0..24.0_f32),
            amplitude: rng.random_range(0.0..20.0_f32),
            blobs: std::array::from_fn(|_| Blob {
                centre: [0; 2].map(|_| rng.random_range(0.0..SIDE as f32)),
                radius: rng.random_range(1.0..2.5_f32),
                shade: rng.random_range(-40.0..40.0_f32),
            }),
        }
    }

    /// Brightness added at a point; the wave is a triangle wave.
    fn shade_at(&self, [x, y]: [f32; 2]) -> f32 {
        let turns = (x * self.direction[0] + y * self.direction[1]) / self.period;
        let wave = 4.0 * (turns - turns.floor() - 0.5).abs() - 1.0;
        let inside = |blob: &&Blob| {
            let [dx, dy] = [x - blob.centre[0], y - blob.centre[1]];
            dx * dx + dy * dy < blob.radius * blob.radius
        };
        let blobs: f32 = self.blobs.iter().filter(inside).map(|blob| blob.shade).sum();
        self.amplitude * wave + blobs
    }
}

/// Colours in samples of 0 to 255.
struct Paint {
    background: [f32; CHANNELS],
    /// Dark and light part of the object's texture.
    object: [[f32; CHANNELS]; 2],
}

impl Paint {
    /// The object is about as much brighter than the background as darker: half of the images are negatives.
    fn random(rng: &mut ChaCha8Rng) -> Self {
        let bright_object: bool = rng.random();
        let tint =
            |rng: &mut ChaCha8Rng, light: f32| [0; CHANNELS].map(|_| light + rng.random_range(-25.0..25.0));
        let light =
            [rng.random_range(20.0..60.0), rng.random_range(95.0..130.0), rng.random_range(185.0..225.0)];
        let [background, near, far] = light.map(|light| if bright_object { light } else { 255.0 - light });
        Self { background: tint(rng, background), object: [tint(rng, near), tint(rng, far)] }
    }
}
