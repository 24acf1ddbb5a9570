//! Image folders, `<root>/<class>/<file>.{jpg,jpeg,png}`: the layout of ImageNet and of torchvision's `ImageFolder`.

use std::path::Path;

use crate::Progress;
use crate::cache::{self, CachePlace};
use crate::dataset::{CHANNELS, Dataset};
use crate::error::{Error, Result};
use crate::image_file::Resize;
use crate::pixels::Pixels;

mod decode;
mod listing;

pub(crate) use decode::{Decoding, LeftOut};
pub(crate) use listing::{Listing, check_classes};

/// How to read a folder. The default takes the images as they are and stops at the first bad one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FolderOptions {
    /// Resizing; `None` requires that all images have one size already.
    pub resize: Option<Resize>,
    /// Number of classes the model has; `None` accepts any.
    pub expected_classes: Option<usize>,
    /// Leave corrupt images out and list them, instead of stopping.
    pub skip_corrupt: bool,
}

/// The images left out because of `skip_corrupt`, in file order; each error names its file.
pub type Skipped = Vec<Error>;

/// Reads all images below `root` into memory, decoding in parallel.
///
/// Classes are the subfolders in byte order of their names (an empty one keeps its label), images the files of
/// each in byte order of theirs, as torchvision orders them. Hidden entries and other extensions are ignored.
/// `progress` is called from any thread with (files done, files in all).
///
/// # Errors
/// [`Error::ClassCount`], [`Error::NoImages`], [`Error::ImageSize`], [`Error::Resize`], [`Error::Memory`],
/// [`Error::Io`] and the decoding errors of [`crate::load_image`]; when several files are bad, the first in file order.
pub fn read(root: &Path, options: &FolderOptions, progress: Progress<'_>) -> Result<(Dataset, Skipped)> {
    read_cached(root, options, &CachePlace::Off, progress)
}

/// Like [`read`], but decodes each folder once: the pixels go to a file in `place` and are mapped from there, now and the
/// next time, so that a folder larger than memory can be used. See [`crate::cache`].
///
/// `progress` isn't called when nothing has to be decoded.
///
/// # Errors
/// As [`read`]. A cache that can't be read or written is none: the images are then decoded into memory.
pub fn read_cached(
    root: &Path,
    options: &FolderOptions,
    place: &CachePlace,
    progress: Progress<'_>,
) -> Result<(Dataset, Skipped)> {
    if let Some(resize) = &options.resize {
        resize.validate()?;
    }
    let listing = Listing::read(root, options.expected_classes)?;
    let decoding = Decoding { listing: &listing, options, progress };
    let (size, pixels, left_out) = match cache::decoded(&decoding, place)? {
        Some(cached) => cached,
        None => decode_into_memory(&decoding)?,
    };
    let mut labels: Vec<Option<u16>> = listing.files.iter().map(|&(_, label)| Some(label)).collect();
    left_out.iter().for_each(|&(index, _)| labels[index] = None);
    let labels = labels.into_iter().flatten().collect();
    let name = listing.name();
    let skipped = left_out.into_iter().map(|(_, error)| error).collect();
    Ok((Dataset::over(name, listing.classes, size, pixels, labels)?, skipped))
}

fn decode_into_memory(decoding: &Decoding<'_>) -> Result<((usize, usize), Pixels, Vec<LeftOut>)> {
    let size = decoding.first_size()?;
    let images = decoding.listing.files.len();
    let mut pixels = Vec::new();
    let bytes = images.checked_mul(CHANNELS * size.0 * size.1);
    if !bytes.is_some_and(|bytes| pixels.try_reserve_exact(bytes).is_ok()) {
        let (height, width) = size;
        return Err(Error::Memory { path: decoding.listing.root.clone(), images, height, width });
    }
    let left_out = decoding.run(size, &mut |chunk| {
        pixels.extend_from_slice(chunk);
        Ok(())
    })?;
    Ok((size, pixels.into(), left_out))
}
