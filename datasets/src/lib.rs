//! Images and labels for EQO: CIFAR binaries, image folders, a seeded synthetic set, checked downloads.
//!
//! Everything is a [`Dataset`]: 8-bit RGB images of one size with labels. What turns pixels into
//! network input is [`Normalization`]; nothing here knows a network.

pub mod cache;
pub mod cifar;
pub mod fetch;
pub mod folder;
pub mod manifest;
pub mod split;
pub mod synthetic;

mod archive;
mod dataset;
mod error;
mod image_file;
mod jpeg;
mod mapped;
mod pixels;
mod preprocess;
mod source;

use std::path::{Path, PathBuf};

pub use dataset::{CHANNELS, Dataset, Image};
pub use error::{Error, Result};
pub use image_file::{Resize, load_image, save_png};
pub use manifest::Manifest;
pub use preprocess::Normalization;
pub use source::open;

/// Called from any thread with (done, in all): files when reading, bytes when downloading.
pub type Progress<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// Which official part of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// The training images.
    Train,
    /// The test images.
    Test,
}

/// Where a file is written before it is complete: `<path>.part`.
fn part_path(path: &Path) -> PathBuf {
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    PathBuf::from(part)
}
