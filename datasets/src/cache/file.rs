//! The cache file: header, pixels from byte 4096 on, a CRC32C for each image, the places of the files left out.
//!
//! All integers are little-endian. The header is written last and has a checksum of its own, so a file that was not
//! finished can't be taken for a whole one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::dataset::CHANNELS;
use crate::image_file::MAX_SIDE;
use crate::mapped::Mapped;

/// SHA-256 of what the pixels were made from.
pub(super) type Key = [u8; 32];

const MAGIC: [u8; 8] = *b"EQO-IMGS";
/// To be raised whenever the layout, the decoder or the resize changes.
const VERSION: u32 = 1;
/// Where the pixels begin: a page boundary.
const PIXELS_AT: usize = 4096;
const HEADER: usize = 80;

/// Why a file isn't the cache that was looked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// No such file, or unreadable.
    Absent,
    /// Made from other files or settings, or by another version.
    Stale,
    /// Not what was written.
    Damaged(&'static str),
}

/// A cache file's contents, every checksum verified.
pub(super) struct Contents {
    /// (height, width) of each image.
    pub(super) size: (usize, usize),
    pub(super) images: usize,
    /// `[images, CHANNELS, height, width]`
    pub(super) pixels: Mapped,
    /// Places, in the listing, of the files left out.
    pub(super) skipped: Vec<usize>,
}

/// What stands at the start of the file.
#[derive(Clone, Copy)]
struct Header {
    key: Key,
    size: (usize, usize),
    images: usize,
    skipped: usize,
    /// CRC32C of everything after the pixels.
    tail: u32,
}

impl Header {
    fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&(self.size.0 as u32).to_le_bytes());
        bytes[16..20].copy_from_slice(&(self.size.1 as u32).to_le_bytes());
        bytes[20..28].copy_from_slice(&(self.images as u64).to_le_bytes());
        bytes[28..36].copy_from_slice(&(self.skipped as u64).to_le_bytes());
        bytes[36..40].copy_from_slice(&self.tail.to_le_bytes());
        bytes[40..72].copy_from_slice(&self.key);
        let check = crc32c::crc32c(&bytes[..HEADER - 4]);
        bytes[HEADER - 4..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8; HEADER]) -> Result<Self, Unusable> {
        if bytes[..8] != MAGIC {
            return Err(Unusable::Damaged("magic"));
        }
        if word(&bytes[8..]) != VERSION {
            return Err(Unusable::Stale);
        }
        if word(&bytes[HEADER - 4..]) != crc32c::crc32c(&bytes[..HEADER - 4]) {
            return Err(Unusable::Damaged("header"));
        }
        let size = (word(&bytes[12..]) as usize, word(&bytes[16..]) as usize);
        let sides = 1..=MAX_SIDE as usize;
        if !sides.contains(&size.0) || !sides.contains(&size.1) {
            return Err(Unusable::Damaged("size"));
        }
        let mut key = [0; 32];
        key.copy_from_slice(&bytes[40..72]);
        let (images, skipped) = (count(&bytes[20..]), count(&bytes[28..]));
        Ok(Self { key, size, images, skipped, tail: word(&bytes[36..]) })
    }

    /// Bytes of the pixels and of the whole file, if they can be counted.
    fn lengths(&self) -> Option<(usize, usize)> {
        let pixels = self.images.checked_mul(CHANNELS * self.size.0 * self.size.1)?;
        let tail = self.images.checked_mul(4)?.checked_add(self.skipped.checked_mul(8)?)?;
        Some((pixels, PIXELS_AT.checked_add(pixels)?.checked_add(tail)?))
    }
}

/// The cache at `path` if it was made for `key`. Reads all of it once, on all cores.
pub(super) fn open(path: &Path, key: &Key) -> Result<Contents, Unusable> {
    let mut file = File::open(path).map_err(|_| Unusable::Absent)?;
    let mut header = [0; HEADER];
    file.read_exact(&mut header).map_err(|_| Unusable::Damaged("length"))?;
    let header = Header::parse(&header)?;
    if header.key != *key {
        return Err(Unusable::Stale);
    }
    let map = Mapped::open(&file).map_err(|_| Unusable::Absent)?;
    let (pixels, whole) = header.lengths().ok_or(Unusable::Damaged("length"))?;
    if map.len() != whole {
        return Err(Unusable::Damaged("length"));
    }
    let (checks, skipped) = map[PIXELS_AT + pixels..].split_at(4 * header.images);
    if crc32c::crc32c_append(crc32c::crc32c(checks), skipped) != header.tail {
        return Err(Unusable::Damaged("tail"));
    }
    let each = CHANNELS * header.size.0 * header.size.1;
    let images = map[PIXELS_AT..PIXELS_AT + pixels].par_chunks_exact(each);
    if !images.zip(checks.par_chunks_exact(4)).all(|(image, check)| crc32c::crc32c(image) == word(check)) {
        return Err(Unusable::Damaged("pixels"));
    }
    let skipped = skipped.chunks_exact(8).map(count).collect();
    let pixels = map.narrowed(PIXELS_AT..PIXELS_AT + pixels).ok_or(Unusable::Damaged("length"))?;
    Ok(Contents { size: header.size, images: header.images, pixels, skipped })
}

/// Writes a cache file as `<path>.part` until it is whole; dropped before, it removes that.
pub(super) struct Writer {
    file: File,
    path: PathBuf,
    /// The unfinished file, none once it is finished.
    part: Option<PathBuf>,
    key: Key,
    size: (usize, usize),
    /// CRC32C of each image.
    checks: Vec<u8>,
}

impl Writer {
    /// Begins a file that shall be at `path`; `None` while another process writes it.
    pub(super) fn create(path: &Path, key: Key, size: (usize, usize)) -> io::Result<Option<Self>> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let part = crate::part_path(path);
        if let Ok(other) = File::open(&part) {
            // The system gives the lock of a process that ended back.
            if other.try_lock().is_err() {
                return Ok(None);
            }
            // Not truncated: under its final name it may be mapped by now.
            match fs::remove_file(&part) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let mut file = OpenOptions::new().write(true).create_new(true).open(&part)?;
        file.try_lock()?;
        file.seek(SeekFrom::Start(PIXELS_AT as u64))?;
        Ok(Some(Self { file, path: path.to_owned(), part: Some(part), key, size, checks: Vec::new() }))
    }

    /// Appends whole images.
    pub(super) fn push(&mut self, pixels: &[u8]) -> io::Result<()> {
        let each = CHANNELS * self.size.0 * self.size.1;
        let checks: Vec<u32> = pixels.par_chunks_exact(each).map(crc32c::crc32c).collect();
        self.checks.extend(checks.into_iter().flat_map(u32::to_le_bytes));
        self.file.write_all(pixels)
    }

    /// Ends the file, `skipped` being the places of the files left out, and gives it its name.
    pub(super) fn finish(mut self, skipped: &[usize]) -> io::Result<()> {
        let images = self.checks.len() / 4;
        let mut tail = std::mem::take(&mut self.checks);
        tail.extend(skipped.iter().flat_map(|&index| (index as u64).to_le_bytes()));
        self.file.write_all(&tail)?;
        let tail = crc32c::crc32c(&tail);
        let header = Header { key: self.key, size: self.size, images, skipped: skipped.len(), tail };
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(&header.to_bytes())?;
        self.file.sync_all()?;
        self.part.take().map_or(Ok(()), |part| fs::rename(part, &self.path))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Some(part) = &self.part {
            let _ = fs::remove_file(part);
        }
    }
}

fn word(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// A count, the largest where it is past the address space.
fn count(bytes: &[u8]) -> usize {
    bytes.first_chunk().map_or(0, |bytes| usize::try_from(u64::from_le_bytes(*bytes)).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests;
