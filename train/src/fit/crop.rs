//! Which part of an image a random resized crop takes (Szegedy et al. 2015; torchvision's `RandomResizedCrop`).

use eqo_datasets::resample::Window;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

/// Draws before the centre is taken instead.
const ATTEMPTS: usize = 10;

/// A window of random area and shape, brought to the network's size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ResizedCrop {
    /// Least and most share of the image's area, above 0 and at most 1.
    pub area: [f64; 2],
    /// Least and most width over height, above 0.
    pub aspect: [f64; 2],
}

impl ResizedCrop {
    /// A window of an image of this (height, width).
    pub(super) fn window(&self, [height, width]: [usize; 2], rng: &mut ChaCha8Rng) -> Window {
        let [least, most] = self.aspect.map(f64::ln);
        for _ in 0..ATTEMPTS {
            let area = (height * width) as f64 * rng.random_range(self.area[0]..=self.area[1]);
            // Evenly in the logarithm: a shape and its quarter turn are equally likely.
            let aspect = rng.random_range(least..=most).exp();
            let cut = Window {
                top: 0,
                left: 0,
                height: (area / aspect).sqrt().round_ties_even() as usize,
                width: (area * aspect).sqrt().round_ties_even() as usize,
            };
            if (1..=height).contains(&cut.height) && (1..=width).contains(&cut.width) {
                let top = rng.random_range(0..=height - cut.height);
                let left = rng.random_range(0..=width - cut.width);
                return Window { top, left, ..cut };
            }
        }
        self.central([height, width])
    }

    /// The largest window of an allowed shape in the middle.
    fn central(&self, [height, width]: [usize; 2]) -> Window {
        let shape = (width as f64 / height as f64).clamp(self.aspect[0], self.aspect[1]);
        let side = |length: f64, most: usize| (length.round_ties_even() as usize).clamp(1, most);
        let (cut_height, cut_width) =
            (side(width as f64 / shape, height), side(height as f64 * shape, width));
        let (top, left) = ((height - cut_height) / 2, (width - cut_width) / 2);
        Window { top, left, height: cut_height, width: cut_width }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;

    const IMAGENET: ResizedCrop = ResizedCrop { area: [0.08, 1.0], aspect: [3.0 / 4.0, 4.0 / 3.0] };

    proptest! {
        #[test]
        fn windows_lie_inside_and_have_the_area_and_shape_asked_for(
            height in 40_usize..300, width in 40_usize..300, seed: u64,
        ) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let window = IMAGENET.window([height, width], &mut rng);
            prop_assert!(window.top + window.height <= height && window.left + window.width <= width);
            let area = (window.height * window.width) as f64 / (height * width) as f64;
            let aspect = window.width as f64 / window.height as f64;
            // Sides are rounded to pixels; a very long image may get the centre, of any area.
            let long = height.max(width) as f64 / height.min(width) as f64 > 1.3;
            prop_assert!(area <= 1.0 && (area > 0.06 || long), "{area}");
            prop_assert!((0.68..1.47).contains(&aspect), "{aspect}");
        }

        #[test]
        fn slivers_and_single_pixels_get_a_window_too(height in 1_usize..6, width in 1_usize..400, seed: u64) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            for size in [[height, width], [width, height]] {
                let window = IMAGENET.window(size, &mut rng);
                prop_assert!(window.height >= 1 && window.width >= 1);
                prop_assert!(window.top + window.height <= size[0] && window.left + window.width <= size[1]);
            }
        }
    }

    #[test]
    fn areas_are_even_and_shapes_as_often_wide_as_high() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let windows: Vec<Window> = (0..4000).map(|_| IMAGENET.window([200, 200], &mut rng)).collect();
        let share = |holds: &dyn Fn(&Window) -> bool| {
            windows.iter().filter(|window| holds(window)).count() as f64 / 4000.0
        };
        let small = share(&|window| window.height * window.width < 16_000); // 0.4 of the image
        // Large windows of an extreme shape don't fit and are drawn again, so small ones are a little over 0.32 / 0.92.
        assert!((0.33..0.40).contains(&small), "{small}");
        let wide = share(&|window| window.width > window.height);
        assert!((0.45..0.53).contains(&wide), "{wide}");
    }

    #[test]
    fn the_centre_of_a_long_image_has_the_nearest_allowed_shape() {
        let wide = Window { top: 0, left: 133, height: 100, width: 133 };
        assert_eq!(IMAGENET.central([100, 400]), wide);
        let high = Window { top: 133, left: 0, height: 133, width: 100 };
        assert_eq!(IMAGENET.central([400, 100]), high);
        assert_eq!(IMAGENET.central([100, 110]), Window::whole([100, 110]));
    }
}
