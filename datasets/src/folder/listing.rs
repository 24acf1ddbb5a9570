//! What an image folder holds: classes and files, before anything is decoded.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A folder's classes and files.
pub(crate) struct Listing {
    /// The folder.
    pub(crate) root: PathBuf,
    /// Subfolders in byte order of their names.
    pub(crate) classes: Vec<String>,
    /// Files and labels, by class, then in byte order of their names.
    pub(crate) files: Vec<(PathBuf, u16)>,
}

impl Listing {
    /// Lists `root`, whose classes must be `expected_classes` if that is given.
    pub(crate) fn read(root: &Path, expected_classes: Option<usize>) -> Result<Self> {
        let classes = subfolders(root)?;
        check_classes(root, &classes, expected_classes)?;
        let mut files = Vec::new();
        for (label, class) in classes.iter().enumerate() {
            files.extend(image_files(&root.join(class))?.into_iter().map(|path| (path, label as u16)));
        }
        Ok(Self { root: root.to_owned(), classes, files })
    }

    /// The folder's own name.
    pub(crate) fn name(&self) -> String {
        let absolute = self.root.canonicalize().unwrap_or_else(|_| self.root.clone());
        absolute.file_name().map_or_else(|| "folder".to_owned(), |name| name.to_string_lossy().into_owned())
    }
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
