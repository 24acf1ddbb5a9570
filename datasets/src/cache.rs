//! Decoded image folders on disk, mapped into memory: each folder is decoded once.
//!
//! One file a folder and resize. It is used only if it was made from exactly the files that are there now (relative
//! paths, sizes, modification times), with the same resize and by the same version of this code, and if every checksum
//! in it is right; otherwise it is made anew. It is written beside its final name and renamed when it is whole. Where it
//! can't be written (a read-only folder, a full disk) the images are decoded into memory, as without a cache.

use std::env;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::folder::{Decoding, LeftOut, Listing};
use crate::image_file::{Resize, load_image};
use crate::pixels::Pixels;

mod file;

use file::{Key, Writer};

/// The environment variable with the folder for caches.
pub const VARIABLE: &str = "EQO_CACHE";

/// Where decoded images are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CachePlace {
    /// Nowhere: images are decoded into memory each time.
    Off,
    /// As a hidden file beside the image folder: `<parent>/.<name>-<hash>.eqo-images`.
    Beside,
    /// In this folder, which is made if it isn't there.
    Folder(PathBuf),
}

impl CachePlace {
    /// What a recipe says: `off`; `auto`, which is the folder in [`VARIABLE`] if that is set, else beside the images; or a
    /// folder.
    #[must_use]
    pub fn from_setting(setting: &str) -> Self {
        match setting {
            "off" => Self::Off,
            "auto" => match env::var_os(VARIABLE) {
                Some(folder) if !folder.is_empty() => Self::Folder(folder.into()),
                _ => Self::Beside,
            },
            folder => Self::Folder(folder.into()),
        }
    }

    /// The cache file of a folder.
    fn file(&self, listing: &Listing, resize: Option<Resize>) -> Option<PathBuf> {
        let root = listing.root.canonicalize().ok()?;
        let mut hash = Sha256::new();
        hash.update(root.as_os_str().as_encoded_bytes());
        hash.update(format!("{resize:?}"));
        let name = format!("{}-{}.eqo-images", listing.name(), &hex(&hash.finalize())[..12]);
        match self {
            Self::Off => None,
            Self::Beside => Some(root.parent()?.join(format!(".{name}"))),
            Self::Folder(folder) => Some(folder.join(name)),
        }
    }
}

/// Size, pixels and files left out of a folder, from its cache or into it; `None` where no cache can be had.
///
/// # Errors
/// Those of decoding.
pub(crate) fn decoded(
    decoding: &Decoding<'_>,
    place: &CachePlace,
) -> Result<Option<((usize, usize), Pixels, Vec<LeftOut>)>> {
    let listing = decoding.listing;
    let Some(path) = place.file(listing, decoding.options.resize) else { return Ok(None) };
    let Ok(key) = key(listing, decoding.options.resize) else { return Ok(None) };
    if let Some(found) = load(&path, &key, decoding) {
        return Ok(Some(found));
    }
    Ok(if build(&path, key, decoding)? { load(&path, &key, decoding) } else { None })
}

/// Hash of everything the pixels follow from, short of reading the files.
fn key(listing: &Listing, resize: Option<Resize>) -> std::io::Result<Key> {
    let stamp = |(path, label): &(PathBuf, u16)| {
        let metadata = path.metadata()?;
        let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let path = path.strip_prefix(&listing.root).unwrap_or(path);
        let mut stamp = Sha256::new();
        stamp.update(path.as_os_str().as_encoded_bytes());
        stamp.update(metadata.len().to_le_bytes());
        stamp.update(modified.to_le_bytes());
        stamp.update(label.to_le_bytes());
        Ok(stamp.finalize())
    };
    let stamps: Vec<_> = listing.files.par_iter().map(stamp).collect::<std::io::Result<_>>()?;
    let mut key = Sha256::new();
    key.update(format!("{resize:?} {:?}", listing.classes));
    stamps.iter().for_each(|stamp| key.update(stamp));
    Ok(key.finalize().into())
}

/// What the file at `path` holds, if it is the cache of these files.
fn load(path: &Path, key: &Key, decoding: &Decoding<'_>) -> Option<((usize, usize), Pixels, Vec<LeftOut>)> {
    let contents = file::open(path, key).ok()?;
    let files = &decoding.listing.files;
    let skipped = &contents.skipped;
    let ascending =
        skipped.is_sorted_by(|a, b| a < b) && skipped.last().is_none_or(|&last| last < files.len());
    let complete = contents.images + skipped.len() == files.len();
    if !ascending || !complete || (!decoding.options.skip_corrupt && !skipped.is_empty()) {
        return None;
    }
    // Errors aren't stored: decoding the few bad files again gives them as they were.
    let again = |&index: &usize| match load_image(&files[index].0, decoding.options.resize) {
        Err(error) if error.is_corrupt_image() => Some((index, error)),
        _ => None,
    };
    let left_out = skipped.iter().map(again).collect::<Option<_>>()?;
    Some((contents.size, Pixels::Mapped(contents.pixels.into()), left_out))
}

/// Decodes into the file at `path`; false if it couldn't be written.
fn build(path: &Path, key: Key, decoding: &Decoding<'_>) -> Result<bool> {
    let size = decoding.first_size()?;
    let Ok(Some(mut writer)) = Writer::create(path, key, size) else { return Ok(false) };
    let mut unwritable = false;
    let outcome = decoding.run(size, &mut |pixels| {
        writer.push(pixels).map_err(|error| {
            unwritable = true;
            Error::io(path, "write the cache")(error)
        })
    });
    match outcome {
        Ok(left_out) => {
            let skipped: Vec<usize> = left_out.iter().map(|&(index, _)| index).collect();
            Ok(writer.finish(&skipped).is_ok())
        }
        Err(_) if unwritable => Ok(false),
        Err(error) => Err(error),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
