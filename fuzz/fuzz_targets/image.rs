//! The image loader: JPEG, PNG and what claims to be one of them, as they are and resized.

#![no_main]

use eqo_datasets::{Image, Resize, load_image, save_png};
use eqo_fuzz::{file, plant};
use libfuzzer_sys::fuzz_target;

/// A small JPEG.
const JPEG: &[u8] = include_bytes!("../../datasets/fixtures/pillow.jpg");

fn seeds() -> Vec<Vec<u8>> {
    let sizes = [[1, 1], [5, 7], [32, 32]];
    let png = |[height, width]: [usize; 2]| {
        let pixels = (0..3 * height * width).map(|value| (value * 37) as u8).collect();
        let path = file("png", &[]);
        save_png(&path, &Image::new(height, width, pixels).expect("an image")).expect("a png");
        std::fs::read(path).expect("a png")
    };
    let whole: Vec<Vec<u8>> = sizes.map(png).into_iter().chain([JPEG.to_vec()]).collect();
    whole
        .iter()
        .flat_map(|image| [&image[..], &image[..image.len() / 2]].map(|part| [&[0], part].concat()))
        .collect()
}

fuzz_target!(init: if std::env::var_os("EQO_SEEDS").is_some() { plant(seeds()) }, |data: &[u8]| {
    let Some((how, bytes)) = data.split_first() else { return };
    let resize = (how % 2 == 1).then(|| Resize { shorter_side: 8, centre_crop: Some(usize::from(how / 32)) });
    if let Ok(image) = load_image(file("img", bytes), resize) {
        assert_eq!(image.pixels().len(), 3 * image.height() * image.width());
    }
});
