//! What can go wrong with images, labels, archives and downloads.

use std::path::{Path, PathBuf};

/// Every failure of this crate: where, expected, found, and what to do next.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused to read or write.
    #[error("{}: could not {action}: {source}; check that the path exists, is permitted and has space", path.display())]
    Io {
        /// File or folder concerned.
        path: PathBuf,
        /// What was being done, e.g. "read the image".
        action: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A buffer doesn't have the length its shape says.
    #[error(
        "{what}: expected {expected} (from its shape), found {found}; build it from whole images of 3*height*width bytes"
    )]
    Shape {
        /// Which buffer or count.
        what: &'static str,
        /// Expected length.
        expected: usize,
        /// Found length.
        found: usize,
    },
    /// A label points past the list of classes.
    #[error(
        "image {index}: expected a label below {classes} (the number of classes), found {found}; check the label file or the class list"
    )]
    Label {
        /// Index of the image.
        index: usize,
        /// Number of classes.
        classes: usize,
        /// Label found.
        found: u16,
    },
    /// The images don't fit in this machine's memory.
    #[error("{}: {images} images of 3x{height}x{width} do not fit in memory; use fewer images or a smaller `shorter_side`", path.display())]
    Memory {
        /// Root of the data.
        path: PathBuf,
        /// Number of images.
        images: usize,
        /// Height of each.
        height: usize,
        /// Width of each.
        width: usize,
    },
    /// A file could not be decoded as JPEG or PNG.
    #[error("{}: expected a valid JPEG or PNG image, found: {source}; replace or delete the file, or pass --skip-corrupt", path.display())]
    Decode {
        /// The image file.
        path: PathBuf,
        /// The decoder's reason.
        source: image::ImageError,
    },
    /// A file that begins as a JPEG could not be decoded.
    #[error("{}: expected a valid JPEG image, found: {source}; replace or delete the file, or pass --skip-corrupt", path.display())]
    Jpeg {
        /// The image file.
        path: PathBuf,
        /// The decoder's reason.
        source: std::io::Error,
    },
    /// A JPEG stops before its end-of-image marker.
    #[error("{}: expected a complete JPEG, found {bytes} bytes without an end-of-image marker (the file is truncated); replace or delete it, or pass --skip-corrupt", path.display())]
    TruncatedJpeg {
        /// The image file.
        path: PathBuf,
        /// Its length.
        bytes: usize,
    },
    /// An image file is larger than any image this crate accepts.
    #[error("{}: expected at most {limit} {unit}, found {found}; shrink the image first", path.display())]
    ImageTooLarge {
        /// The image file.
        path: PathBuf,
        /// Largest accepted.
        limit: u64,
        /// What is counted: "bytes", or "pixels a side after resizing".
        unit: &'static str,
        /// Found.
        found: u64,
    },
    /// An image has another size than the rest and no resizing was asked for.
    #[error("{}: expected {}x{} pixels like the first image, found {}x{}; set a resize (shorter side and centre crop)", path.display(), expected.0, expected.1, found.0, found.1)]
    ImageSize {
        /// The image file.
        path: PathBuf,
        /// Expected (height, width).
        expected: (usize, usize),
        /// Found (height, width).
        found: (usize, usize),
    },
    /// The resize itself is impossible.
    #[error(
        "resize: expected 1 <= centre_crop <= shorter_side <= {limit}, found shorter_side {shorter_side} and centre_crop {centre_crop:?}; correct the recipe"
    )]
    Resize {
        /// Wanted shorter side.
        shorter_side: usize,
        /// Wanted crop.
        centre_crop: Option<usize>,
        /// Largest accepted side.
        limit: usize,
    },
    /// The data has another number of classes than the model.
    #[error("{}: expected {expected} classes, found {found} ({sample}); point --data at the folder whose direct subfolders are the classes", path.display())]
    ClassCount {
        /// Root of the data.
        path: PathBuf,
        /// Expected number of classes.
        expected: usize,
        /// Found number of classes.
        found: usize,
        /// The first few class names.
        sample: String,
    },
    /// A folder holds no usable image.
    #[error("{}: expected images as <class>/<file>.jpg|jpeg|png, found {found}; point --data at the folder whose direct subfolders are the classes", path.display())]
    NoImages {
        /// Root of the data.
        path: PathBuf,
        /// What was there instead.
        found: String,
    },
    /// A CIFAR binary file has the wrong length.
    #[error("{}: expected {records} records of {record_bytes} bytes ({} bytes), found {found} bytes; the file is truncated or not the binary version, fetch it again with `eqo data fetch`", path.display(), records * record_bytes)]
    CifarLength {
        /// The file.
        path: PathBuf,
        /// Expected number of records.
        records: u64,
        /// Bytes in one record.
        record_bytes: u64,
        /// Length found.
        found: u64,
    },
    /// A CIFAR record has a label out of range.
    #[error("{}: record {record}: expected a {field} label below {classes}, found {found}; the file is damaged or not the binary version, fetch it again with `eqo data fetch`", path.display())]
    CifarLabel {
        /// The file.
        path: PathBuf,
        /// Index of the record in the file.
        record: usize,
        /// "coarse" or "fine" (CIFAR-10 has only fine labels).
        field: &'static str,
        /// Number of classes of that field.
        classes: u8,
        /// Label found.
        found: u8,
    },
    /// A split asks for more images than there are.
    #[error(
        "split of {name}: expected calibration + test <= {images} images, found {calibration} + {test}; ask for fewer"
    )]
    Split {
        /// Dataset name.
        name: String,
        /// Images there are.
        images: usize,
        /// Images asked for calibration.
        calibration: usize,
        /// Images asked for test.
        test: usize,
    },
    /// Mean or standard deviation that can't normalise pixels.
    #[error(
        "normalization, channel {channel}: expected 0 <= mean <= 1 and 0 < std <= 1, found mean {mean} and std {std}; give them for pixels scaled to [0, 1]"
    )]
    Normalization {
        /// Channel (0 red, 1 green, 2 blue).
        channel: usize,
        /// Mean found.
        mean: f32,
        /// Standard deviation found.
        std: f32,
    },
    /// No dataset of that name.
    #[error("dataset {name:?} is not known; expected one of: {known}")]
    UnknownDataset {
        /// Name asked for.
        name: String,
        /// Names there are.
        known: String,
    },
    /// A manifest isn't valid TOML or lacks a key.
    #[error("manifest {origin}: {source}; correct that key")]
    ManifestSyntax {
        /// Where the manifest came from.
        origin: String,
        /// The parser's reason.
        source: Box<toml::de::Error>,
    },
    /// A manifest has a value out of range.
    #[error("manifest {origin}: {key}: expected {expected}, found {found:?}; correct that key")]
    ManifestValue {
        /// Where the manifest came from.
        origin: String,
        /// Key concerned.
        key: &'static str,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// The request didn't reach the server, or the server broke HTTP.
    #[error("{url}: the request failed: {source}; check the network or proxy and run the command again")]
    Request {
        /// Address asked.
        url: String,
        /// The HTTP client's reason.
        source: Box<ureq::Error>,
    },
    /// The server answered with something else than the file.
    #[error(
        "{url}: expected HTTP status 200 or 206, found {status}; open the address in a browser, the file may have moved"
    )]
    HttpStatus {
        /// Address asked.
        url: String,
        /// Status found.
        status: u16,
    },
    /// The server announces a range or length that isn't the file's.
    #[error(
        "{url}: expected {expected}, the server announces {found}; the file at this address changed, check the manifest"
    )]
    HttpLength {
        /// Address asked.
        url: String,
        /// Announced header expected.
        expected: String,
        /// Announced header found.
        found: String,
    },
    /// The body stopped early; what came is kept for the next try.
    #[error(
        "{url}: expected {expected} bytes, the connection ended after {found} ({reason}); run the command again, it continues from there"
    )]
    Interrupted {
        /// Address asked.
        url: String,
        /// Bytes in the whole file.
        expected: u64,
        /// Bytes there are now.
        found: u64,
        /// Why it ended.
        reason: String,
    },
    /// A file isn't the one the manifest describes.
    #[error("{}: expected sha256 {expected}, found {found}; {next}", path.display())]
    Checksum {
        /// The file.
        path: PathBuf,
        /// Checksum of the manifest.
        expected: String,
        /// Checksum of the file.
        found: String,
        /// What to do.
        next: &'static str,
    },
    /// A file of the dataset has the wrong length or isn't there.
    #[error("{}: expected {expected} bytes, found {found}; delete its folder and run `eqo data fetch` again", path.display())]
    FileLength {
        /// The file.
        path: PathBuf,
        /// Length of the manifest.
        expected: u64,
        /// Length of the file, or "no file".
        found: String,
    },
    /// An archive holds something it must not.
    #[error("{}: entry {entry:?}: expected {expected}; the archive was not unpacked, check the manifest's url and checksum", path.display())]
    ArchiveEntry {
        /// The archive.
        path: PathBuf,
        /// Path of the entry inside the archive.
        entry: String,
        /// What every entry must be.
        expected: &'static str,
    },
}

impl Error {
    /// Wraps an operating system error with the path and the action.
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, action, source }
    }

    /// True when the file itself is at fault, so that `skip_corrupt` may leave it out.
    #[must_use]
    pub fn is_corrupt_image(&self) -> bool {
        matches!(
            self,
            Self::Decode { .. } | Self::Jpeg { .. } | Self::TruncatedJpeg { .. } | Self::ImageTooLarge { .. }
        )
    }
}

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
