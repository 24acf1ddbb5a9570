//! A file's bytes as a slice that the operating system reads when it is touched and may forget again.
#![allow(unsafe_code, reason = "mapping a file is unsafe; this module is the only place that does it")]

use std::fs::File;
use std::io;
use std::ops::{Deref, Range};

use memmap2::Mmap;

/// Some bytes of a mapped file.
pub(crate) struct Mapped {
    map: Mmap,
    range: Range<usize>,
}

impl Mapped {
    /// Maps the whole of `file`, which must never be written again.
    ///
    /// # Errors
    /// The system's reason, such as no address space left or a file system that can't map.
    pub(crate) fn open(file: &File) -> io::Result<Self> {
        // SAFETY: cache files are complete before they get their name and are only ever replaced by another file of
        // that name, which leaves this one as it is. Someone who shortens it by hand while it is in use ends the
        // process with SIGBUS, as with any mapped file (shared libraries, for one); contents changed by hand are only
        // pixels, and any pixel is a valid one.
        let map = unsafe { Mmap::map(file) }?;
        let range = 0..map.len();
        Ok(Self { map, range })
    }

    /// The same mapping narrowed to `range`, or `None` where that isn't inside.
    pub(crate) fn narrowed(self, range: Range<usize>) -> Option<Self> {
        self.map.get(range.clone())?;
        Some(Self { range, ..self })
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map[self.range.clone()]
    }
}
