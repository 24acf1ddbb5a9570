//! The samples of a dataset, wherever they are.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::mapped::Mapped;

/// Bytes in memory, or in a file that all clones share.
#[derive(Clone)]
pub(crate) enum Pixels {
    /// In memory.
    Owned(Vec<u8>),
    /// In a cache file.
    Mapped(Arc<Mapped>),
}

impl Deref for Pixels {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Mapped(bytes) => bytes,
        }
    }
}

impl From<Vec<u8>> for Pixels {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Owned(bytes)
    }
}

/// Equal samples are equal wherever they are.
impl PartialEq for Pixels {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Pixels {}

impl fmt::Debug for Pixels {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if matches!(self, Self::Owned(_)) { "memory" } else { "a mapped file" };
        write!(out, "{} bytes in {place}", self.len())
    }
}
