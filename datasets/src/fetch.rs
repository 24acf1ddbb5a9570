//! Downloading a dataset: resumed, bounded, checked, unpacked.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body};

use crate::Progress;
use crate::archive;
use crate::error::{Error, Result};
use crate::manifest::Manifest;

/// Longest wait for a connection, an answer, or the next bytes.
const PATIENCE: Duration = Duration::from_secs(60);
const MAX_REDIRECTS: u32 = 5;
const BUFFER_BYTES: usize = 1 << 16;

/// Brings the dataset into `dir/<folder>` and returns that path; nothing is done when it is there and right.
///
/// The archive is downloaded to `dir/<archive>.part` (continued from where an earlier try stopped, when the
/// server can), checked and renamed, then unpacked. An archive put into `dir` by hand is used instead.
/// `progress` gets (bytes there, bytes in all).
///
/// # Errors
/// The HTTP errors ([`Error::Request`], [`Error::HttpStatus`], [`Error::HttpLength`], [`Error::Interrupted`]),
/// [`Error::Checksum`] (the downloaded part is removed), [`Error::FileLength`], [`Error::ArchiveEntry`], [`Error::Io`].
pub fn fetch(manifest: &Manifest, dir: &Path, progress: Progress<'_>) -> Result<PathBuf> {
    let folder = dir.join(&manifest.folder);
    if folder.exists() {
        verify(manifest, dir)?;
        return Ok(folder);
    }
    fs::create_dir_all(dir).map_err(Error::io(dir, "create the folder"))?;
    let archive = dir.join(manifest.archive_name());
    if archive.exists() {
        archive::check_sha256(&archive, &manifest.sha256, "delete it and run `eqo data fetch` again")?;
    } else {
        download(manifest, &archive, progress)?;
    }
    archive::unpack(manifest, &archive, &folder)?;
    Ok(folder)
}

/// Checks length and checksum of every file of the dataset in `dir/<folder>`.
///
/// # Errors
/// [`Error::FileLength`] or [`Error::Checksum`] for the first file that is missing or different, [`Error::Io`].
pub fn verify(manifest: &Manifest, dir: &Path) -> Result<()> {
    let folder = dir.join(&manifest.folder);
    manifest.files.iter().try_for_each(|file| archive::check_file(file, &folder.join(&file.name)))
}

fn download(manifest: &Manifest, archive: &Path, progress: Progress<'_>) -> Result<()> {
    let part = crate::part_path(archive);
    let mut have = fs::metadata(&part).map_or(0, |metadata| metadata.len());
    if have > manifest.bytes {
        have = 0; // not a part of this file; it is overwritten
    }
    if have < manifest.bytes {
        let response = request(manifest, have)?;
        let resumed = response.status() == StatusCode::PARTIAL_CONTENT;
        let start = if resumed { have } else { 0 };
        check_length(manifest, &response, start, resumed)?;
        let mut file = open_part(&part, start)?;
        copy_body(manifest, response.into_body(), (&mut file, &part), start, progress)?;
    }
    let next =
        "the downloaded part was removed; run the command again, or check the manifest if this repeats";
    if let Err(error) = archive::check_sha256(&part, &manifest.sha256, next) {
        fs::remove_file(&part).map_err(Error::io(&part, "remove the wrong download"))?;
        return Err(error);
    }
    fs::rename(&part, archive).map_err(Error::io(archive, "rename the finished download"))
}

/// Asks for the archive from byte `start` on; only 200 and 206 pass.
fn request(manifest: &Manifest, start: u64) -> Result<Response<Body>> {
    let agent: Agent = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(MAX_REDIRECTS)
        .timeout_connect(Some(PATIENCE))
        .timeout_recv_response(Some(PATIENCE))
        .timeout_per_read(Some(PATIENCE))
        .build()
        .into();
    let url = || manifest.url.clone();
    let mut request = agent.get(&manifest.url);
    if start > 0 {
        request = request.header(header::RANGE, format!("bytes={start}-"));
    }
    let response =
        request.call().map_err(|source| Error::Request { url: url(), source: Box::new(source) })?;
    match response.status() {
        StatusCode::OK => Ok(response),
        StatusCode::PARTIAL_CONTENT if start > 0 => Ok(response),
        status => Err(Error::HttpStatus { url: url(), status: status.as_u16() }),
    }
}

/// Compares what the server announces with the manifest, before a byte is written.
fn check_length(manifest: &Manifest, response: &Response<Body>, start: u64, resumed: bool) -> Result<()> {
    let announced = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let bytes = manifest.bytes;
    let (found, expected) = if resumed {
        let range = announced(header::CONTENT_RANGE).unwrap_or("no content-range");
        (Some(range), format!("bytes {start}-{}/{bytes}", bytes - 1))
    } else {
        (announced(header::CONTENT_LENGTH), bytes.to_string())
    };
    match found {
        Some(found) if found != expected => {
            Err(Error::HttpLength { url: manifest.url.clone(), expected, found: found.to_owned() })
        }
        _ => Ok(()),
    }
}

/// Opens the part to append, or anew when the download starts from 0.
fn open_part(part: &Path, start: u64) -> Result<File> {
    let file = if start > 0 { File::options().append(true).open(part) } else { File::create(part) };
    file.map_err(Error::io(part, "open the unfinished download"))
}

/// Appends the body until the file is complete; what came before an interruption stays for the next try.
fn copy_body(
    manifest: &Manifest,
    body: Body,
    (file, part): (&mut File, &Path),
    start: u64,
    progress: Progress<'_>,
) -> Result<()> {
    let url = || manifest.url.clone();
    let expected = manifest.bytes;
    let mut found = start;
    let mut reader = body.into_reader();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        progress(found as usize, expected as usize);
        let interrupted = |reason| Error::Interrupted { url: url(), expected, found, reason };
        let read = match reader.read(&mut buffer) {
            Ok(0) if found == expected => return Ok(()),
            Ok(0) => return Err(interrupted("end of the body".to_owned())),
            Ok(read) => read,
            Err(error) => return Err(interrupted(error.to_string())),
        };
        found += read as u64;
        if found > expected {
            let found = format!("more than {expected} bytes");
            return Err(Error::HttpLength { url: url(), expected: format!("{expected} bytes"), found });
        }
        file.write_all(&buffer[..read]).map_err(Error::io(part, "write the download"))?;
    }
}
