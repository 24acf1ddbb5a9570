//! JPEG pixels exactly as PyTorch's users get them.
//!
//! The standard leaves the inverse DCT and the chroma upsampling to the decoder. Pillow and torchvision use libjpeg-turbo;
//! mozjpeg shares its arithmetic, so all 8,000 test images come out equal to Pillow's in every sample, while pure Rust
//! decoders differ in 9% (jpeg-decoder) to 22% (zune-jpeg) of the samples, enough to move ResNet-20 by 7 images.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::RgbImage;

use crate::dataset::CHANNELS;
use crate::error::{Error, Result};
use crate::image_file::{MAX_DECODE_BYTES, MAX_SIDE};

/// Decodes a whole JPEG to RGB.
///
/// # Errors
/// [`Error::TruncatedJpeg`], [`Error::Jpeg`], [`Error::ImageTooLarge`], each naming the file.
pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<RgbImage> {
    // The decoder fills what is missing with grey and reports success, so completeness is checked here.
    if !is_complete(bytes) {
        return Err(Error::TruncatedJpeg { path: path.to_path_buf(), bytes: bytes.len() });
    }
    // libjpeg reports a fatal error by unwinding (without the panic hook); nothing outlives the closure.
    let outcome = catch_unwind(AssertUnwindSafe(|| scanlines(path, bytes)));
    outcome.unwrap_or_else(|_| Err(invalid(path, io::Error::other("libjpeg gave up on the data"))))
}

fn scanlines(path: &Path, bytes: &[u8]) -> Result<RgbImage> {
    let fault = |source| invalid(path, source);
    let header = mozjpeg::Decompress::new_mem(bytes).map_err(fault)?;
    let (width, height) = (header.width() as u64, header.height() as u64);
    for (found, limit, unit) in [
        (width.max(height), u64::from(MAX_SIDE), "pixels a side"),
        (width * height * CHANNELS as u64, MAX_DECODE_BYTES, "bytes decoded"),
    ] {
        if found > limit {
            return Err(Error::ImageTooLarge { path: path.to_path_buf(), limit, unit, found });
        }
    }
    let mut decoder = header.rgb().map_err(fault)?;
    let pixels: Vec<[u8; CHANNELS]> = decoder.read_scanlines().map_err(fault)?;
    RgbImage::from_raw(width as u32, height as u32, pixels.into_flattened())
        .ok_or_else(|| fault(io::Error::other("fewer pixels than its header promises")))
}

fn invalid(path: &Path, source: io::Error) -> Error {
    Error::Jpeg { path: path.to_path_buf(), source }
}

/// Walks the markers (ITU-T T.81 annex B) and tells whether the end-of-image marker is reached.
///
/// Segments with a length are jumped over, because a thumbnail inside one has an end marker of its own.
fn is_complete(bytes: &[u8]) -> bool {
    const END_OF_IMAGE: u8 = 0xD9;
    let mut rest = bytes;
    // Entropy-coded data is passed the same way as stray bytes: 0xFF there is always followed by 0.
    while let Some(at) = rest.iter().position(|&byte| byte == 0xFF) {
        match rest.get(at + 1) {
            None => return false,
            Some(&END_OF_IMAGE) => return true,
            // Stuffed zero, TEM, restart markers and start of image have no length.
            Some(0x00 | 0x01 | 0xD0..=0xD8) => rest = &rest[at + 2..],
            Some(0xFF) => rest = &rest[at + 1..], // fill byte
            Some(_) => {
                let Some(&[high, low]) = rest.get(at + 2..at + 4) else { return false };
                let length = usize::from(u16::from_be_bytes([high, low]));
                let Some(after) = rest.get(at + 2 + length..) else { return false };
                rest = after;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_marker_of_a_thumbnail_does_not_hide_a_truncation() {
        let mut bytes =
            vec![0xFF, 0xD8, 0xFF, 0xE1, 0, 6, 0xFF, 0xD8, 0xFF, 0xD9, 0xFF, 0xDA, 0, 2, 1, 0xFF, 0];
        assert!(!is_complete(&bytes));
        bytes.extend([0xFF, 0xD9]);
        assert!(is_complete(&bytes));
    }

    /// Made by `fixtures/make_pillow.py`: a noisy 4:2:0 JPEG and the samples that Pillow decodes from it.
    #[test]
    fn samples_equal_pillows_to_the_last_bit() {
        let jpeg = include_bytes!("../fixtures/pillow.jpg");
        let samples = include_bytes!("../fixtures/pillow.rgb");
        assert_eq!(decode(Path::new("pillow.jpg"), jpeg).unwrap().as_raw().as_slice(), samples);
    }

    #[test]
    fn every_corrupted_byte_of_a_jpeg_is_an_error_or_an_image_and_never_a_panic() {
        let whole = include_bytes!("../fixtures/pillow.jpg");
        for at in 0..whole.len() {
            for value in [0x00, 0x5A, 0xFF] {
                let mut bytes = whole.to_vec();
                bytes[at] = value;
                if let Err(error) = decode(Path::new("cut.jpg"), &bytes) {
                    assert!(error.is_corrupt_image() && error.to_string().contains("cut.jpg"), "{error}");
                }
            }
        }
    }
}
