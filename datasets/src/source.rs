//! One entry for `--data DIR`: tells CIFAR binaries from image folders by what is there.

use std::path::Path;

use crate::dataset::Dataset;
use crate::error::Result;
use crate::folder::{self, FolderOptions, Skipped};
use crate::manifest::Manifest;
use crate::{Progress, Split, cifar};

type ReadBinary = fn(&Path, Split) -> Result<Dataset>;

/// Reads `split` of whatever dataset `dir` holds.
///
/// - the unpacked CIFAR-10 or CIFAR-100 binaries, or the folder that holds that one folder;
/// - `dir/train/<class>/…` and `dir/test/<class>/…` (or `val` for `test`, as ImageNet names it);
/// - `dir/<class>/…`, used as it is whatever `split` says.
///
/// # Errors
/// Those of [`cifar::read_cifar10`], [`cifar::read_cifar100`] and [`folder::read`].
pub fn open(
    dir: &Path,
    split: Split,
    options: &FolderOptions,
    progress: Progress<'_>,
) -> Result<(Dataset, Skipped)> {
    let known: [(&str, &str, ReadBinary); 2] =
        [("cifar10", "test_batch.bin", cifar::read_cifar10), ("cifar100", "test.bin", cifar::read_cifar100)];
    for (name, file, read) in known {
        let manifest = Manifest::builtin(name)?;
        if cifar::unpacked_folder(dir, &manifest).join(file).is_file() {
            folder::check_classes(dir, &manifest.classes, options.expected_classes)?;
            return Ok((read(dir, split)?, Skipped::new()));
        }
    }
    let names: &[&str] = match split {
        Split::Train => &["train"],
        Split::Test => &["test", "val"],
    };
    let part = names.iter().map(|name| dir.join(name)).find(|part| part.is_dir());
    folder::read(part.as_deref().unwrap_or(dir), options, progress)
}
