//! One image file: decoding with bounded memory, resizing, and writing PNG.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use image::{ImageFormat, ImageReader, Limits, RgbImage};
use serde::{Deserialize, Serialize};

use crate::dataset::{CHANNELS, Image};
use crate::error::{Error, Result};
use crate::jpeg;
use crate::resample::{self, Window};

/// Largest side of an image, decoded or resized.
pub(crate) const MAX_SIDE: u32 = 16_384;
/// Largest image file.
const MAX_FILE_BYTES: u64 = 64 << 20;
/// Most memory one decoder may take.
pub(crate) const MAX_DECODE_BYTES: u64 = 256 << 20;

/// Resizing as torchvision's `Resize` + `CenterCrop`: bilinear with antialiasing, aspect ratio kept
/// ([`crate::resample`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resize {
    /// Length in pixels to which the shorter side is brought (256 for most ImageNet models).
    pub shorter_side: usize,
    /// Side of the square cut from the centre (224 for most ImageNet models); without it nothing is cut.
    pub centre_crop: Option<usize>,
}

impl Resize {
    /// Checks that the sizes make sense together.
    ///
    /// # Errors
    /// [`Error::Resize`] unless `1 <= centre_crop <= shorter_side <= 16384`.
    pub fn validate(&self) -> Result<()> {
        let Self { shorter_side, centre_crop } = *self;
        let limit = MAX_SIDE as usize;
        let crop = centre_crop.unwrap_or(shorter_side);
        if crop < 1 || crop > shorter_side || shorter_side > limit {
            return Err(Error::Resize { shorter_side, centre_crop, limit });
        }
        Ok(())
    }

    /// Scales and cuts `image`, which comes from `path`.
    pub(crate) fn apply(&self, path: &Path, image: Image) -> Result<Image> {
        self.validate()?;
        let [height, width] = [image.height(), image.width()];
        // Rounds the longer side down, as torchvision does.
        let to = [height, width].map(|side| side * self.shorter_side / height.min(width));
        let (longer, most) = (to[0].max(to[1]), MAX_SIDE as usize);
        if longer > most {
            let (limit, unit, found) = (MAX_SIDE.into(), "pixels a side after resizing", longer as u64);
            return Err(Error::ImageTooLarge { path: path.to_path_buf(), limit, unit, found });
        }
        let mut scaled = image;
        if to != [height, width] {
            let mut pixels = vec![0; CHANNELS * to[0] * to[1]];
            let whole = Window::whole([height, width]);
            resample::resize(scaled.pixels(), [height, width], whole, &mut pixels, to);
            scaled = Image::new(to[0], to[1], pixels)?;
        }
        match self.centre_crop {
            Some(side) => crop_centre(&scaled, side),
            None => Ok(scaled),
        }
    }
}

/// The square of `side`, at most the image's shorter side, in the middle; where that is between two pixels, at the even
/// one, as torchvision's `CenterCrop` has it.
fn crop_centre(image: &Image, side: usize) -> Result<Image> {
    let start = |length: usize| (length - side) / 2 + usize::from((length - side) % 4 == 3);
    let (top, left) = (start(image.height()), start(image.width()));
    let planes = image.pixels().chunks_exact(image.height() * image.width());
    let rows = planes.flat_map(|plane| plane.chunks_exact(image.width()).skip(top).take(side));
    Image::new(side, side, rows.flat_map(|row| &row[left..left + side]).copied().collect())
}

/// Reads one JPEG or PNG as RGB (transparency is dropped, EXIF rotation ignored, as torchvision does).
///
/// The format is taken from the content, not the extension. A file takes at most 64 MiB on disk,
/// 16,384 pixels a side and 256 MiB while decoding.
///
/// # Errors
/// [`Error::Io`], [`Error::Decode`], [`Error::TruncatedJpeg`], [`Error::ImageTooLarge`], each naming the file;
/// [`Error::Resize`] for an impossible resize.
pub fn load_image(path: impl AsRef<Path>, resize: Option<Resize>) -> Result<Image> {
    let path = path.as_ref();
    let decoded = decode(path)?;
    let (width, height) = (decoded.width() as usize, decoded.height() as usize);
    let image = Image::new(height, width, planes(decoded.as_raw(), height * width))?;
    match resize {
        Some(resize) => resize.apply(path, image),
        None => Ok(image),
    }
}

fn decode(path: &Path) -> Result<RgbImage> {
    let action = "read the image";
    let found = fs::metadata(path).map_err(Error::io(path, action))?.len();
    if found > MAX_FILE_BYTES {
        let (path, limit) = (path.to_path_buf(), MAX_FILE_BYTES);
        return Err(Error::ImageTooLarge { path, limit, unit: "bytes", found });
    }
    let bytes = fs::read(path).map_err(Error::io(path, action))?;
    let mut reader =
        ImageReader::new(Cursor::new(&bytes)).with_guessed_format().map_err(Error::io(path, action))?;
    if reader.format() == Some(ImageFormat::Jpeg) {
        return jpeg::decode(path, &bytes);
    }
    reader.limits(limits());
    let decoded = reader.decode().map_err(|source| Error::Decode { path: path.to_path_buf(), source })?;
    Ok(decoded.into_rgb8())
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_SIDE);
    limits.max_image_height = Some(MAX_SIDE);
    limits.max_alloc = Some(MAX_DECODE_BYTES);
    limits
}

/// `[pixel, CHANNELS]` to `[CHANNELS, pixel]`.
fn planes(interleaved: &[u8], plane: usize) -> Vec<u8> {
    let mut planes = vec![0; interleaved.len()];
    for (pixel, samples) in interleaved.chunks_exact(CHANNELS).enumerate() {
        for (channel, &sample) in samples.iter().enumerate() {
            planes[channel * plane + pixel] = sample;
        }
    }
    planes
}

/// Writes `image` as PNG, to `<path>.part` first, then renamed, so that no half file is left under `path`.
///
/// # Errors
/// [`Error::Io`] naming the file.
pub fn save_png(path: impl AsRef<Path>, image: &Image) -> Result<()> {
    let path = path.as_ref();
    let action = "write the image";
    let plane = image.height() * image.width();
    let interleaved: Vec<u8> =
        (0..plane).flat_map(|pixel| (0..CHANNELS).map(move |c| image.pixels()[c * plane + pixel])).collect();
    let mut encoded = Cursor::new(Vec::new());
    let (width, height) = (image.width() as u32, image.height() as u32);
    image::write_buffer_with_format(
        &mut encoded,
        &interleaved,
        width,
        height,
        image::ExtendedColorType::Rgb8,
        ImageFormat::Png,
    )
    .map_err(|source| Error::io(path, action)(std::io::Error::other(source)))?;
    let part = crate::part_path(path);
    fs::write(&part, encoded.into_inner()).map_err(Error::io(&part, action))?;
    fs::rename(&part, path).map_err(Error::io(path, "rename the finished image"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn gradient(height: usize, width: usize) -> Image {
        let pixels = (0..CHANNELS * height * width).map(|i| (i * 7 % 251) as u8).collect();
        Image::new(height, width, pixels).unwrap()
    }

    fn jpeg(height: u32, width: u32) -> Vec<u8> {
        let image = RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, (x * y) as u8]));
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn png_round_trips_exactly_and_leaves_no_part_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        let image = gradient(5, 9);
        save_png(&path, &image).unwrap();
        assert_eq!(load_image(&path, None).unwrap(), image);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(matches!(save_png(dir.path().join("no/a.png"), &image), Err(Error::Io { .. })));
    }

    #[test]
    fn every_truncation_of_a_jpeg_is_an_error_naming_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cut.jpg");
        let whole = jpeg(16, 16);
        fs::write(&path, &whole).unwrap();
        load_image(&path, None).unwrap();
        for end in 0..whole.len() {
            fs::write(&path, &whole[..end]).unwrap();
            let error = load_image(&path, None).unwrap_err();
            assert!(error.is_corrupt_image() && error.to_string().contains("cut.jpg"), "{end}: {error}");
        }
    }

    #[test]
    fn resize_keeps_the_aspect_ratio_and_crops_the_centre() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("wide.png");
        // Left half black, right half white: the middle of the crop is the edge.
        let pixels = (0..3 * 20 * 40).map(|i| if i % 40 < 20 { 0 } else { 255 }).collect();
        save_png(&path, &Image::new(20, 40, pixels).unwrap()).unwrap();

        let whole = load_image(&path, Some(Resize { shorter_side: 10, centre_crop: None })).unwrap();
        assert_eq!((whole.height(), whole.width()), (10, 20));
        let cut = load_image(&path, Some(Resize { shorter_side: 10, centre_crop: Some(8) })).unwrap();
        assert_eq!((cut.height(), cut.width()), (8, 8));
        assert!(cut.pixels().chunks(8).all(|row| row[..3] == [0; 3] && row[5..] == [255; 3]));

        let same = load_image(&path, Some(Resize { shorter_side: 20, centre_crop: None })).unwrap();
        assert_eq!(same, load_image(&path, None).unwrap());
    }

    #[test]
    fn a_crop_between_two_pixels_starts_at_the_even_one_as_in_torchvision() {
        for (length, start) in [(4, 0), (5, 0), (6, 1), (7, 2), (8, 2), (9, 2), (10, 3), (11, 4)] {
            let pixels = (0..CHANNELS * length * length).map(|i| (i % length) as u8).collect();
            let cut = crop_centre(&Image::new(length, length, pixels).unwrap(), 4).unwrap();
            assert_eq!(usize::from(cut.pixels()[0]), start, "{length}");
        }
    }

    #[test]
    fn impossible_and_explosive_resizes_are_refused() {
        for (shorter_side, crop) in [(0, None), (8, Some(9)), (8, Some(0)), (20_000, None)] {
            let resize = Resize { shorter_side, centre_crop: crop };
            assert!(matches!(resize.validate(), Err(Error::Resize { .. })));
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sliver.png");
        save_png(&path, &gradient(1, 1000)).unwrap();
        let refused = load_image(&path, Some(Resize { shorter_side: 256, centre_crop: Some(224) }));
        assert!(matches!(refused, Err(Error::ImageTooLarge { found: 256_000, .. })));
    }

    #[test]
    fn a_jpeg_that_claims_huge_sides_is_refused_before_allocating() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("huge.jpg");
        let mut bytes = jpeg(8, 8);
        let header = bytes.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
        // 65,535 a side is past libjpeg's own limit, 60,000 past ours.
        for side in [[0xFF, 0xFF], 60_000_u16.to_be_bytes()] {
            bytes[header + 5..header + 7].copy_from_slice(&side);
            bytes[header + 7..header + 9].copy_from_slice(&side);
            fs::write(&path, &bytes).unwrap();
            let error = load_image(&path, None).unwrap_err();
            assert!(matches!(error, Error::Jpeg { .. } | Error::ImageTooLarge { .. }), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_byte_string_makes_the_decoder_panic(
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20)
        ) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("fuzzed.jpg");
            let mut bytes = jpeg(16, 16);
            for (index, byte) in edits {
                let at = index.index(bytes.len());
                bytes[at] = byte;
            }
            fs::write(&path, bytes).unwrap();
            if let Err(error) = load_image(&path, None) {
                prop_assert!(error.to_string().contains("fuzzed.jpg"));
            }
        }
    }
}
