//! Claims about one image's variants.

use super::*;
use rand::SeedableRng;

const SIZE: [usize; 2] = [3, 4];

fn plain(crop: usize, flip: bool) -> Augment {
    Augment::new(crop, flip, &Normalization::SYNTHETIC)
}

fn variants(augment: Augment) -> Vec<Vec<u8>> {
    let image: Vec<u8> = (1..=36).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut draw = || {
        let mut out = vec![0; image.len()];
        augment.draw((&image, SIZE), &mut rng, (&mut out, SIZE));
        out
    };
    (0..200).map(|_| draw()).collect()
}

#[test]
fn without_crop_and_flip_nothing_changes() {
    let image: Vec<u8> = (1..=36).collect();
    assert!(variants(plain(0, false)).iter().all(|variant| *variant == image));
}

#[test]
fn a_flip_reverses_each_row_of_about_half_the_images() {
    let image: Vec<u8> = (1..=36).collect();
    let mirrored: Vec<u8> = image.chunks(4).flat_map(|row| row.iter().rev().copied()).collect();
    let all = variants(plain(0, true));
    let flipped = all.iter().filter(|variant| **variant == mirrored).count();
    assert_eq!(flipped + all.iter().filter(|variant| **variant == image).count(), 200);
    assert!((70..130).contains(&flipped), "{flipped}");
}

#[test]
fn a_crop_shifts_every_plane_alike_and_pads_with_its_own_colour() {
    let fill = [101, 102, 103];
    let all = variants(Augment { fill, ..plain(1, false) });
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

#[test]
fn a_resized_crop_of_everything_is_the_resize_of_the_whole_image() {
    let from = [20, 20];
    let image: Vec<u8> = (0..1200).map(|i| (i * 7 % 251) as u8).collect();
    let resized_crop = Some(ResizedCrop { area: [1.0, 1.0], aspect: [1.0, 1.0] });
    let augment = Augment { resized_crop, ..plain(4, false) };
    let (mut out, mut expected) = (vec![0; 3 * 8 * 6], vec![0; 3 * 8 * 6]);
    augment.draw((&image, from), &mut ChaCha8Rng::seed_from_u64(1), (&mut out, [8, 6]));
    resample::resize(&image, from, resample::Window::whole(from), &mut expected, [8, 6]);
    assert_eq!(out, expected);
}

#[test]
fn the_recipes_keys_arrive_and_ranges_that_cannot_be_drawn_are_refused() {
    let section = FitSection {
        resized_crop: true,
        crop_area: [0.25, 0.5],
        crop_aspect: [0.5, 2.0],
        brightness: 0.1,
        contrast: 0.2,
        saturation: 0.3,
        ..FitSection::default()
    };
    let augment = Augment::of(&section, &Normalization::SYNTHETIC);
    let expected = ResizedCrop { area: [0.25, 0.5], aspect: [0.5, 2.0] };
    assert_eq!(augment.resized_crop, Some(expected));
    assert_eq!(augment.jitter, Jitter { brightness: 0.1, contrast: 0.2, saturation: 0.3 });
    augment.check().unwrap();
    for wrong in [
        FitSection { brightness: -0.1, ..section.clone() },
        FitSection { saturation: f64::NAN, ..section.clone() },
        FitSection { crop_area: [0.0, 0.5], ..section.clone() },
        FitSection { crop_area: [0.5, 0.4], ..section.clone() },
        FitSection { crop_area: [0.5, 1.5], ..section.clone() },
        FitSection { crop_aspect: [f64::NAN, 2.0], ..section.clone() },
        FitSection { crop_aspect: [0.0, 2.0], ..section },
    ] {
        let refused = Augment::of(&wrong, &Normalization::SYNTHETIC).check();
        assert!(matches!(refused, Err(Error::Config { .. })), "{wrong:?}");
    }
}
