//! Image folders, `<root>/<class>/<file>.{jpg,jpeg,png}`: the layout of ImageNet and of torchvision's `ImageFolder`.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use crate::Progress;
use crate::dataset::{CHANNELS, Dataset};
use crate::error::{Error, Result};
use crate::image_file::{Resize, load_image};

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

/// Reads all images below `root`, decoding in parallel.
///
/// Classes are the subfolders in byte order of their names (an empty one keeps its label), images the files of
/// each in byte order of theirs, as torchvision orders them. Hidden entries and other extensions are ignored.
/// `progress` is called from any thread with (files done, files in all).
///
/// # Errors
/// [`Error::ClassCount`], [`Error::NoImages`], [`Error::ImageSize`], [`Error::Resize`], [`Error::Memory`],
/// [`Error::Io`] and the decoding errors of [`load_image`]; when several files are bad, the first in file order.
pub fn read(root: &Path, options: &FolderOptions, progress: Progress<'_>) -> Result<(Dataset, Skipped)> {
    if let Some(resize) = &options.resize {
        resize.validate()?;
    }
    let classes = subfolders(root)?;
    check_classes(root, &classes, options.expected_classes)?;
    let mut files = Vec::new();
    for (label, class) in classes.iter().enumerate() {
        files.extend(image_files(&root.join(class))?.into_iter().map(|path| (path, label as u16)));
    }
    let size = first_size(root, &files, options)?;
    let (mut pixels, outcomes) = decode_all(root, &files, size, options, progress)?;

    let image_bytes = CHANNELS * size.0 * size.1;
    let mut labels = Vec::with_capacity(files.len());
    let mut skipped = Skipped::new();
    for (index, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(()) => {
                // Closes the gaps that skipped images left.
                pixels
                    .copy_within(index * image_bytes..(index + 1) * image_bytes, labels.len() * image_bytes);
                labels.push(files[index].1);
            }
            Err(error) if options.skip_corrupt && error.is_corrupt_image() => skipped.push(error),
            Err(error) => return Err(error),
        }
    }
    pixels.truncate(labels.len() * image_bytes);
    Ok((Dataset::new(folder_name(root), classes, size, pixels, labels)?, skipped))
}

fn subfolders(root: &Path) -> Result<Vec<String>> {
    let mut names: Vec<String> = entries(root)?
        .into_iter()
        .filter(|path| path.is_dir())
        .filter_map(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()))
        .collect();
    names.sort_unstable();
    Ok(names)
}

fn image_files(class: &Path) -> Result<Vec<PathBuf>> {
    let mut files = entries(class)?;
    files.retain(|path| {
        let extension = path.extension().unwrap_or_default().to_ascii_lowercase();
        ["jpg", "jpeg", "png"].iter().any(|known| extension == *known) && path.is_file()
    });
    files.sort_unstable();
    Ok(files)
}

/// Entries that aren't hidden.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let action = "list the folder";
    let listing = fs::read_dir(folder).map_err(Error::io(folder, action))?;
    let paths = listing.map(|entry| Ok(entry.map_err(Error::io(folder, action))?.path()));
    let hidden = |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    paths.filter(|path| !path.as_ref().is_ok_and(|path: &PathBuf| hidden(path))).collect()
}

/// Refuses another number of classes than expected, and more than a label can count.
pub(crate) fn check_classes(root: &Path, classes: &[String], expected: Option<usize>) -> Result<()> {
    let most = usize::from(u16::MAX);
    let found = classes.len();
    let expected = expected.unwrap_or(found.min(most));
    if found == expected {
        return Ok(());
    }
    let sample = if found == 0 { "no subfolders".to_owned() } else { classes[..found.min(5)].join(", ") };
    Err(Error::ClassCount { path: root.to_path_buf(), expected, found, sample })
}

/// (height, width) of the first image that decodes, which all others must have.
fn first_size(root: &Path, files: &[(PathBuf, u16)], options: &FolderOptions) -> Result<(usize, usize)> {
    for (path, _) in files {
        match load_image(path, options.resize) {
            Ok(image) => return Ok((image.height(), image.width())),
            Err(error) if options.skip_corrupt && error.is_corrupt_image() => {}
            Err(error) => return Err(error),
        }
    }
    let found =
        if files.is_empty() { "none".to_owned() } else { format!("{} files, all corrupt", files.len()) };
    Err(Error::NoImages { path: root.to_path_buf(), found })
}

/// Decodes every file into its place; the pixels of a failed one stay 0.
///
/// Without `skip_corrupt` decoding stops early, at the first failure in file order.
fn decode_all(
    root: &Path,
    files: &[(PathBuf, u16)],
    (height, width): (usize, usize),
    options: &FolderOptions,
    progress: Progress<'_>,
) -> Result<(Vec<u8>, Vec<Result<()>>)> {
    let each = CHANNELS * height * width;
    let mut pixels = Vec::new();
    let room = files.len().checked_mul(each).filter(|&bytes| pixels.try_reserve_exact(bytes).is_ok());
    let Some(bytes) = room else {
        return Err(Error::Memory { path: root.to_path_buf(), images: files.len(), height, width });
    };
    pixels.resize(bytes, 0);
    let done = AtomicUsize::new(0);
    let outcomes = pixels.par_chunks_mut(each).zip(files).map(|(place, (path, _))| {
        let outcome = decode_into(place, path, (height, width), options);
        progress(done.fetch_add(1, Ordering::Relaxed) + 1, files.len());
        outcome
    });
    if options.skip_corrupt {
        let outcomes = outcomes.collect();
        return Ok((pixels, outcomes));
    }
    match outcomes.find_first(Result::is_err) {
        Some(Err(error)) => Err(error),
        _ => Ok((pixels, files.iter().map(|_| Ok(())).collect())),
    }
}

fn decode_into(
    place: &mut [u8],
    path: &Path,
    expected: (usize, usize),
    options: &FolderOptions,
) -> Result<()> {
    let image = load_image(path, options.resize)?;
    let found = (image.height(), image.width());
    if found != expected {
        return Err(Error::ImageSize { path: path.to_path_buf(), expected, found });
    }
    place.copy_from_slice(image.pixels());
    Ok(())
}

fn folder_name(root: &Path) -> String {
    let absolute = root.canonicalize().unwrap_or_else(|_| root.to_path_buf());
    absolute.file_name().map_or_else(|| "folder".to_owned(), |name| name.to_string_lossy().into_owned())
}
