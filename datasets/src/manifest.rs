//! What a dataset to download consists of: address, checksums, files, classes.

use std::path::{Component, Path};

use serde::Deserialize;

use crate::error::{Error, Result};

/// The manifests compiled in, by name.
const BUILTIN: [(&str, &str); 2] = [
    ("cifar10", include_str!("../manifests/cifar10.toml")),
    ("cifar100", include_str!("../manifests/cifar100.toml")),
];

/// A downloadable dataset: one `.tar.gz` with one folder of files.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name to type, e.g. `cifar10`.
    pub name: String,
    /// Address of the archive, `http://` or `https://`.
    pub url: String,
    /// Length of the archive.
    pub bytes: u64,
    /// SHA-256 of the archive, 64 lowercase hexadecimal digits.
    pub sha256: String,
    /// Licence, or what the publisher asks for.
    pub licence: String,
    /// The folder inside the archive.
    pub folder: String,
    /// Class names in label order.
    pub classes: Vec<String>,
    /// The files that are used; others in the archive are ignored.
    pub files: Vec<ManifestFile>,
}

/// One file of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestFile {
    /// Name inside [`Manifest::folder`].
    pub name: String,
    /// Length.
    pub bytes: u64,
    /// SHA-256, 64 lowercase hexadecimal digits.
    pub sha256: String,
}

impl Manifest {
    /// The manifest of a known dataset.
    ///
    /// # Errors
    /// [`Error::UnknownDataset`], listing the known ones.
    pub fn builtin(name: &str) -> Result<Self> {
        let found = BUILTIN.iter().find(|(known, _)| *known == name);
        let Some((name, text)) = found else {
            let known = Self::names().collect::<Vec<_>>().join(", ");
            return Err(Error::UnknownDataset { name: name.to_owned(), known });
        };
        Self::parse(text, &format!("{name}.toml (built in)"))
    }

    /// Names of the known datasets.
    pub fn names() -> impl Iterator<Item = &'static str> {
        BUILTIN.iter().map(|(name, _)| *name)
    }

    /// Reads a manifest; `origin` names it in errors.
    ///
    /// # Errors
    /// [`Error::ManifestSyntax`] and [`Error::ManifestValue`].
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let manifest: Self = toml::from_str(text).map_err(|source| Error::ManifestSyntax {
            origin: origin.to_owned(),
            source: Box::new(source),
        })?;
        manifest.validate(origin)?;
        Ok(manifest)
    }

    /// File name of the archive: the last part of the address.
    #[must_use]
    pub fn archive_name(&self) -> &str {
        self.url.rsplit('/').next().unwrap_or(&self.url)
    }

    fn validate(&self, origin: &str) -> Result<()> {
        let check = |holds: bool, key, expected, found: &str| {
            let (origin, found) = (origin.to_owned(), found.to_owned());
            if holds { Ok(()) } else { Err(Error::ManifestValue { origin, key, expected, found }) }
        };
        let name = "one file or folder name";
        let digest = "64 lowercase hexadecimal digits";
        let http = self.url.starts_with("https://") || self.url.starts_with("http://");
        check(http, "url", "an http:// or https:// address", &self.url)?;
        check(is_plain_name(self.archive_name()), "url", "an address that ends in a file name", &self.url)?;
        check(self.bytes > 0, "bytes", "the length of the archive", "0")?;
        check(is_sha256(&self.sha256), "sha256", digest, &self.sha256)?;
        check(is_plain_name(&self.folder), "folder", name, &self.folder)?;
        check(!self.classes.is_empty(), "classes", "at least one class", "none")?;
        check(!self.files.is_empty(), "files", "at least one file", "none")?;
        for file in &self.files {
            check(is_plain_name(&file.name), "files.name", name, &file.name)?;
            check(is_sha256(&file.sha256), "files.sha256", digest, &file.sha256)?;
        }
        Ok(())
    }
}

/// True for a name that stays inside its folder when joined to it.
fn is_plain_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!(parts.next(), Some(Component::Normal(part)) if part == name) && parts.next().is_none()
}

fn is_sha256(digest: &str) -> bool {
    digest.len() == 64 && digest.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builtin_manifests_are_valid_and_match_their_names() {
        for name in Manifest::names() {
            let manifest = Manifest::builtin(name).unwrap();
            assert_eq!(manifest.name, name);
            let mut sorted = manifest.classes.clone();
            sorted.sort();
            sorted.dedup();
            assert_eq!(sorted, manifest.classes, "CIFAR numbers its classes alphabetically");
        }
        assert_eq!(Manifest::builtin("cifar10").unwrap().classes.len(), 10);
        assert_eq!(Manifest::builtin("cifar100").unwrap().classes.len(), 100);
        let unknown = Manifest::builtin("cifar1000").unwrap_err();
        assert!(unknown.to_string().contains("cifar10, cifar100"), "{unknown}");
    }

    #[test]
    fn every_bad_value_is_refused_naming_its_key() {
        let good = BUILTIN[0].1;
        for (from, to, key) in [
            ("https://", "ftp://", "url"),
            ("bytes = 170052171", "bytes = 0", "bytes"),
            ("c4a38c", "C4A38C", "sha256"),
            ("\"cifar-10-batches-bin\"", "\"../up\"", "folder"),
            ("\"test_batch.bin\"", "\"/etc/passwd\"", "files.name"),
            ("8e2eb146", "8e2eb14", "files.sha256"),
        ] {
            match Manifest::parse(&good.replacen(from, to, 1), "test").unwrap_err() {
                Error::ManifestValue { key: found, .. } => assert_eq!(found, key),
                other => panic!("{key}: {other}"),
            }
        }
        let typo = Manifest::parse(&good.replacen("licence", "license", 1), "test").unwrap_err();
        assert!(typo.to_string().contains("license"), "{typo}");
    }
}
