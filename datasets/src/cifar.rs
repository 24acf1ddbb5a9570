//! The binary versions of CIFAR-10 and CIFAR-100 (Krizhevsky 2009), as unpacked from their archives.
//!
//! A record is one label byte (CIFAR-10) or a coarse and a fine one (CIFAR-100), then 3072 samples
//! `[3, 32, 32]`. Class names come from the dataset's [`Manifest`].

use std::fs;
use std::path::{Path, PathBuf};

use crate::Split;
use crate::dataset::{CHANNELS, Dataset};
use crate::error::{Error, Result};
use crate::manifest::Manifest;

/// Height and width of every CIFAR image.
const SIDE: usize = 32;
const IMAGE_BYTES: usize = CHANNELS * SIDE * SIDE;

/// A label byte in front of the samples: its name and how many classes it has.
type LabelField = (&'static str, u8);

/// Reads CIFAR-10 from `cifar-10-batches-bin`, or from the folder that holds it: 50,000 training or 10,000 test images.
///
/// # Errors
/// [`Error::Io`], [`Error::CifarLength`], [`Error::CifarLabel`], each naming the file.
pub fn read_cifar10(dir: &Path, split: Split) -> Result<Dataset> {
    const BATCHES: [&str; 5] =
        ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"];
    let files = match split {
        Split::Train => &BATCHES[..],
        Split::Test => &["test_batch.bin"],
    };
    read(dir, "cifar10", files, &Records { count: 10_000, fields: &[("fine", 10)] })
}

/// Reads CIFAR-100 with its 100 fine labels from `cifar-100-binary`, or from the folder that holds it:
/// 50,000 training or 10,000 test images. The coarse labels are checked and dropped.
///
/// # Errors
/// [`Error::Io`], [`Error::CifarLength`], [`Error::CifarLabel`], each naming the file.
pub fn read_cifar100(dir: &Path, split: Split) -> Result<Dataset> {
    let (file, count) = match split {
        Split::Train => ("train.bin", 50_000),
        Split::Test => ("test.bin", 10_000),
    };
    read(dir, "cifar100", &[file], &Records { count, fields: &[("coarse", 20), ("fine", 100)] })
}

/// The folder with the binary files: `dir` itself, or the archive's folder inside it.
pub(crate) fn unpacked_folder(dir: &Path, manifest: &Manifest) -> PathBuf {
    let inner = dir.join(&manifest.folder);
    if inner.is_dir() { inner } else { dir.to_path_buf() }
}

/// What one file holds.
struct Records {
    count: usize,
    fields: &'static [LabelField],
}

impl Records {
    fn record_bytes(&self) -> usize {
        self.fields.len() + IMAGE_BYTES
    }

    /// Appends the records of `path`; the last label field is the class.
    fn read_into(&self, path: &Path, pixels: &mut Vec<u8>, labels: &mut Vec<u16>) -> Result<()> {
        let action = "read the CIFAR file";
        let (records, record_bytes) = (self.count as u64, self.record_bytes() as u64);
        let found = fs::metadata(path).map_err(Error::io(path, action))?.len();
        if found != records * record_bytes {
            return Err(Error::CifarLength { path: path.to_path_buf(), records, record_bytes, found });
        }
        let bytes = fs::read(path).map_err(Error::io(path, action))?;
        for (record, bytes) in bytes.chunks_exact(self.record_bytes()).enumerate() {
            let (found, samples) = bytes.split_at(self.fields.len());
            for (&(field, classes), &found) in self.fields.iter().zip(found) {
                if found >= classes {
                    return Err(Error::CifarLabel {
                        path: path.to_path_buf(),
                        record,
                        field,
                        classes,
                        found,
                    });
                }
            }
            labels.extend(found.last().map(|&label| u16::from(label)));
            pixels.extend_from_slice(samples);
        }
        Ok(())
    }
}

fn read(dir: &Path, name: &str, files: &[&str], records: &Records) -> Result<Dataset> {
    let manifest = Manifest::builtin(name)?;
    let folder = unpacked_folder(dir, &manifest);
    let images = files.len() * records.count;
    let (mut pixels, mut labels) = (Vec::with_capacity(images * IMAGE_BYTES), Vec::with_capacity(images));
    for file in files {
        records.read_into(&folder.join(file), &mut pixels, &mut labels)?;
    }
    Dataset::new(manifest.name, manifest.classes, (SIDE, SIDE), pixels, labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CIFAR100: Records = Records { count: 3, fields: &[("coarse", 20), ("fine", 100)] };

    /// Three records: coarse 0, 1, 2 and fine 97, 98, 99, all samples of a record equal to its number.
    fn three_records() -> Vec<u8> {
        (0..3_u8).flat_map(|i| [vec![i, 97 + i], vec![i; IMAGE_BYTES]].concat()).collect()
    }

    fn read_bytes(bytes: &[u8]) -> Result<(Vec<u8>, Vec<u16>)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("train.bin");
        fs::write(&path, bytes).unwrap();
        let (mut pixels, mut labels) = (vec![], vec![]);
        CIFAR100.read_into(&path, &mut pixels, &mut labels)?;
        Ok((pixels, labels))
    }

    #[test]
    fn fine_labels_and_samples_are_read_in_order() {
        let (pixels, labels) = read_bytes(&three_records()).unwrap();
        assert_eq!(labels, [97, 98, 99]);
        assert_eq!(pixels.len(), 3 * IMAGE_BYTES);
        assert!(
            pixels
                .chunks(IMAGE_BYTES)
                .enumerate()
                .all(|(i, image)| image.iter().all(|&p| usize::from(p) == i))
        );
    }

    #[test]
    fn every_wrong_length_is_refused_naming_the_file() {
        let whole = three_records();
        for length in [0, 1, 3073, 3074, whole.len() - 1, whole.len() + 1, 2 * whole.len()] {
            let bytes: Vec<u8> = whole.iter().copied().cycle().take(length).collect();
            let error = read_bytes(&bytes).unwrap_err();
            assert!(matches!(error, Error::CifarLength { records: 3, record_bytes: 3074, .. }), "{error}");
            assert!(error.to_string().contains("train.bin"));
        }
    }

    #[test]
    fn labels_out_of_range_are_refused_naming_record_and_field() {
        for (at, value, wanted) in [(3074, 20, (1, "coarse")), (2 * 3074 + 1, 100, (2, "fine"))] {
            let mut bytes = three_records();
            bytes[at] = value;
            match read_bytes(&bytes).unwrap_err() {
                Error::CifarLabel { record, field, .. } => assert_eq!((record, field), wanted),
                other => panic!("{other}"),
            }
        }
    }

    #[test]
    fn cifar10_test_batch_is_read_from_the_folder_or_its_parent() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("cifar-10-batches-bin");
        fs::create_dir(&folder).unwrap();
        let records =
            (0..10_000_usize).flat_map(|i| std::iter::once((i % 10) as u8).chain([i as u8; IMAGE_BYTES]));
        fs::write(folder.join("test_batch.bin"), records.collect::<Vec<u8>>()).unwrap();
        let dataset = read_cifar10(&folder, Split::Test).unwrap();
        assert_eq!(dataset, read_cifar10(dir.path(), Split::Test).unwrap());
        assert_eq!((dataset.len(), dataset.height(), dataset.width()), (10_000, 32, 32));
        assert_eq!(dataset.class_sizes(), [1_000; 10]);
        assert_eq!(dataset.classes()[usize::from(dataset.label(9_999))], "truck");
        assert_eq!(dataset.image(300), [44; IMAGE_BYTES]);
        let missing = read_cifar10(dir.path(), Split::Train).unwrap_err();
        assert!(missing.to_string().contains("data_batch_1.bin"), "{missing}");
    }
}
