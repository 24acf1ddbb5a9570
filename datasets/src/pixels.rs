//! The samples of a dataset, wherever they are.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use crate::mapped::Mapped;

/// Images of one size, in memory, or in a file that all clones and subsets share.
#[derive(Clone)]
pub(crate) enum Pixels {
    /// In memory.
    Owned(Vec<u8>),
    /// In a cache file.
    Mapped(Arc<Mapped>),
    /// Some images of a cache file.
    Picked(Picked),
}

/// Images picked from a file, which are read where they are.
#[derive(Clone)]
pub(crate) struct Picked {
    map: Arc<Mapped>,
    /// Which images of the file, in this order.
    images: Arc<[usize]>,
    /// Bytes of an image.
    each: usize,
    /// All of them one after the other, once someone asked for that.
    whole: Arc<OnceLock<Vec<u8>>>,
}

impl Pixels {
    /// All images one after the other; copied into memory, and kept there, if that isn't how they lie.
    pub(crate) fn all(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Mapped(bytes) => bytes,
            Self::Picked(picked) => picked.whole.get_or_init(|| {
                picked
                    .images
                    .iter()
                    .flat_map(|&image| &picked.map[place(image, picked.each)])
                    .copied()
                    .collect()
            }),
        }
    }

    /// Bytes of all images.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Picked(picked) => picked.images.len() * picked.each,
            others => others.all().len(),
        }
    }

    /// Image `index` of those of `each` bytes.
    pub(crate) fn image(&self, index: usize, each: usize) -> &[u8] {
        match self {
            Self::Picked(picked) => &picked.map[place(picked.images[index], each)],
            others => &others.all()[place(index, each)],
        }
    }

    /// The images at `indices`: copies of those in memory, none of those in a file.
    pub(crate) fn pick(&self, indices: &[usize], each: usize) -> Self {
        let picked = |map: &Arc<Mapped>, images| {
            let (map, whole) = (map.clone(), Arc::new(OnceLock::new()));
            Self::Picked(Picked { map, images, each, whole })
        };
        match self {
            Self::Owned(bytes) => {
                let mut copies = Vec::with_capacity(indices.len() * each);
                indices.iter().for_each(|&index| copies.extend_from_slice(&bytes[place(index, each)]));
                Self::Owned(copies)
            }
            Self::Mapped(map) => {
                let images = map.len() / each;
                assert!(indices.iter().all(|&index| index < images), "an index is below {images}");
                picked(map, indices.into())
            }
            Self::Picked(of) => picked(&of.map, indices.iter().map(|&index| of.images[index]).collect()),
        }
    }
}

fn place(image: usize, each: usize) -> Range<usize> {
    image * each..(image + 1) * each
}

impl From<Vec<u8>> for Pixels {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Owned(bytes)
    }
}

/// Equal samples are equal wherever they are.
impl PartialEq for Pixels {
    fn eq(&self, other: &Self) -> bool {
        self.all() == other.all()
    }
}

impl Eq for Pixels {}

impl fmt::Debug for Pixels {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if matches!(self, Self::Owned(_)) { "memory" } else { "a mapped file" };
        write!(out, "{} bytes in {place}", self.len())
    }
}
