//! Decoding the files of a folder on all cores, a bounded number of them in memory at a time.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::{FolderOptions, Listing};
use crate::Progress;
use crate::dataset::CHANNELS;
use crate::error::{Error, Result};
use crate::image_file::load_image;

/// Decoded pixels held at once, in bytes, unless one image is larger.
const CHUNK: usize = 32 << 20;

/// A file that was left out, by its place in the listing, and why.
pub(crate) type LeftOut = (usize, Error);

/// What is to be decoded, and how.
pub(crate) struct Decoding<'a> {
    pub(crate) listing: &'a Listing,
    pub(crate) options: &'a FolderOptions,
    pub(crate) progress: Progress<'a>,
}

impl Decoding<'_> {
    /// (height, width) of the first image that decodes, which all others must have.
    pub(crate) fn first_size(&self) -> Result<(usize, usize)> {
        let files = &self.listing.files;
        for (path, _) in files {
            match load_image(path, self.options.resize) {
                Ok(image) => return Ok((image.height(), image.width())),
                Err(error) if self.may_skip(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let found =
            if files.is_empty() { "none".to_owned() } else { format!("{} files, all corrupt", files.len()) };
        Err(Error::NoImages { path: self.listing.root.clone(), found })
    }

    /// Hands the pixels of all images of `size`, in file order, to `sink`, some whole images at a time.
    ///
    /// Without `skip_corrupt` the first failure in file order ends it.
    pub(crate) fn run(
        &self,
        size: (usize, usize),
        sink: &mut dyn FnMut(&[u8]) -> Result<()>,
    ) -> Result<Vec<LeftOut>> {
        let files = &self.listing.files;
        let each = CHANNELS * size.0 * size.1;
        let at_once = (CHUNK / each).clamp(1, files.len().max(1));
        let mut pixels = vec![0; at_once * each];
        let done = AtomicUsize::new(0);
        let mut left_out = Vec::new();
        for (chunk, files) in files.chunks(at_once).enumerate() {
            let mut kept = 0;
            for (index, outcome) in self.decode(files, size, &mut pixels, &done)?.into_iter().enumerate() {
                match outcome {
                    Ok(()) => {
                        // Closes the gaps that skipped images left.
                        pixels.copy_within(index * each..(index + 1) * each, kept * each);
                        kept += 1;
                    }
                    Err(error) if self.may_skip(&error) => left_out.push((chunk * at_once + index, error)),
                    Err(error) => return Err(error),
                }
            }
            sink(&pixels[..kept * each])?;
        }
        Ok(left_out)
    }

    /// Each file into its place.
    fn decode(
        &self,
        files: &[(PathBuf, u16)],
        (height, width): (usize, usize),
        pixels: &mut [u8],
        done: &AtomicUsize,
    ) -> Result<Vec<Result<()>>> {
        let places = pixels.par_chunks_mut(CHANNELS * height * width);
        let outcomes = places.zip(files).map(|(place, (path, _))| {
            let outcome = self.decode_into(place, path, (height, width));
            (self.progress)(done.fetch_add(1, Ordering::Relaxed) + 1, self.listing.files.len());
            outcome
        });
        if self.options.skip_corrupt {
            return Ok(outcomes.collect());
        }
        match outcomes.find_first(Result::is_err) {
            Some(Err(error)) => Err(error),
            _ => Ok(files.iter().map(|_| Ok(())).collect()),
        }
    }

    fn decode_into(&self, place: &mut [u8], path: &Path, expected: (usize, usize)) -> Result<()> {
        let image = load_image(path, self.options.resize)?;
        let found = (image.height(), image.width());
        if found != expected {
            return Err(Error::ImageSize { path: path.to_path_buf(), expected, found });
        }
        place.copy_from_slice(image.pixels());
        Ok(())
    }

    fn may_skip(&self, error: &Error) -> bool {
        self.options.skip_corrupt && error.is_corrupt_image()
    }
}
