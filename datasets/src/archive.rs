//! Unpacking a dataset's `.tar.gz`: only the files of the manifest, each checked, nothing outside the target.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};
use tar::{Archive, Entry};

use crate::error::{Error, Result};
use crate::manifest::{Manifest, ManifestFile};

/// Room for what a tar adds to the files: headers, padding, files that are not used.
const SLACK_BYTES: u64 = 64 << 20;

/// Unpacks the manifest's files from `archive` into `target`, which appears only when all are there and right.
pub(crate) fn unpack(manifest: &Manifest, archive: &Path, target: &Path) -> Result<()> {
    let part = crate::part_path(target);
    if part.exists() {
        fs::remove_dir_all(&part).map_err(Error::io(&part, "remove the unfinished folder"))?;
    }
    fs::create_dir_all(&part).map_err(Error::io(&part, "create the folder"))?;
    let unpacked = unpack_files(manifest, archive, &part);
    if let Err(error) = unpacked {
        // The first error is the one to report; a leftover folder is removed by the next try.
        let _ = fs::remove_dir_all(&part);
        return Err(error);
    }
    fs::rename(&part, target).map_err(Error::io(target, "rename the finished folder"))
}

fn unpack_files(manifest: &Manifest, archive: &Path, part: &Path) -> Result<()> {
    let action = "unpack the archive";
    let file = File::open(archive).map_err(Error::io(archive, action))?;
    let most = manifest.files.iter().map(|file| file.bytes).sum::<u64>() + SLACK_BYTES;
    let mut tar = Archive::new(GzDecoder::new(io::BufReader::new(file)).take(most));
    for entry in tar.entries().map_err(Error::io(archive, action))? {
        let mut entry = entry.map_err(Error::io(archive, action))?;
        let name = entry_name(&manifest.folder, archive, &entry)?;
        if let Some(file) = manifest.files.iter().find(|file| name == Path::new(&file.name)) {
            write_file(file, archive, &mut entry, &part.join(&file.name))?;
        }
    }
    let missing = manifest.files.iter().find(|file| !part.join(&file.name).is_file());
    match missing {
        None => Ok(()),
        Some(file) => Err(Error::ArchiveEntry {
            path: archive.to_path_buf(),
            entry: file.name.clone(),
            expected: "this file, which is not there",
        }),
    }
}

/// Path of an entry below `folder`; a path that leads out of the archive is refused.
fn entry_name<R: Read>(folder: &str, archive: &Path, entry: &Entry<'_, R>) -> Result<PathBuf> {
    let path = entry.path().map_err(Error::io(archive, "read an entry's path"))?;
    let refuse = |expected| Error::ArchiveEntry {
        path: archive.to_path_buf(),
        entry: path.display().to_string(),
        expected,
    };
    if !path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(refuse("a path inside the archive's folder"));
    }
    let kind = entry.header().entry_type();
    if kind.is_symlink() || kind.is_hard_link() {
        return Err(refuse("a file or folder, not a link"));
    }
    let inside: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
    Ok(inside.strip_prefix(folder).map(Path::to_path_buf).unwrap_or_default())
}

fn write_file<R: Read>(
    expected: &ManifestFile,
    archive: &Path,
    entry: &mut Entry<'_, R>,
    path: &Path,
) -> Result<()> {
    let found = entry.size();
    if found != expected.bytes {
        return Err(Error::FileLength {
            path: path.to_path_buf(),
            expected: expected.bytes,
            found: found.to_string(),
        });
    }
    let mut file = File::create(path).map_err(Error::io(path, "create the file"))?;
    io::copy(entry, &mut file).map_err(Error::io(archive, "unpack the archive"))?;
    file.flush().map_err(Error::io(path, "write the file"))?;
    check_file(expected, path)
}

/// Checks length and checksum of one unpacked file.
pub(crate) fn check_file(expected: &ManifestFile, path: &Path) -> Result<()> {
    let length = |found| Error::FileLength { path: path.to_path_buf(), expected: expected.bytes, found };
    let found = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(length("no file".to_owned())),
        Err(error) => return Err(Error::io(path, "read the file")(error)),
    };
    if found != expected.bytes {
        return Err(length(found.to_string()));
    }
    check_sha256(path, &expected.sha256, "delete its folder and run `eqo data fetch` again")
}

/// Checks the SHA-256 of a whole file, in constant memory.
pub(crate) fn check_sha256(path: &Path, expected: &str, next: &'static str) -> Result<()> {
    let action = "read the file for its checksum";
    let mut file = File::open(path).map_err(Error::io(path, action))?;
    let mut hash = Sha256::new();
    io::copy(&mut file, &mut HashWriter(&mut hash)).map_err(Error::io(path, action))?;
    let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if found == expected {
        return Ok(());
    }
    Err(Error::Checksum { path: path.to_path_buf(), expected: expected.to_owned(), found, next })
}

struct HashWriter<'a>(&'a mut Sha256);

impl Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
