//! Downloads against a local HTTP server: whole, resumed, wrong, truncated, hostile.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod server;

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use eqo_datasets::{Error, Manifest, fetch};
use server::{Answer, Server, serve_cut_once};

fn quiet(_: usize, _: usize) {}

/// Two incompressible files, so that half of the archive is worth resuming.
fn files() -> [(&'static str, Vec<u8>); 2] {
    let bytes =
        |salt: u32| (0..40_000_u32).map(|i| ((i + salt).wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    [("train.bin", bytes(1)), ("test.bin", bytes(2))]
}

fn gzip(tar: tar::Builder<Vec<u8>>) -> Vec<u8> {
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut gz, &tar.into_inner().unwrap()).unwrap();
    gz.finish().unwrap()
}

fn append(tar: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_old();
    header.set_size(bytes.len() as u64);
    // Written raw, because the builder refuses the hostile names that are wanted here.
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_cksum();
    tar.append(&header, bytes).unwrap();
}

fn archive() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    append(&mut tar, "set/readme.html", b"ignored");
    files().iter().for_each(|(name, bytes)| append(&mut tar, &format!("set/{name}"), bytes));
    gzip(tar)
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn manifest(url: &str, archive: &[u8]) -> Manifest {
    let file = |(name, bytes): &(&str, Vec<u8>)| {
        format!("[[files]]\nname = {name:?}\nbytes = {}\nsha256 = {:?}\n", bytes.len(), sha256(bytes))
    };
    let head = format!(
        "name = \"set\"\nurl = \"{url}/set.tar.gz\"\nbytes = {}\nsha256 = {:?}\nlicence = \"CC0\"\nfolder = \"set\"\nclasses = [\"a\"]\n",
        archive.len(),
        sha256(archive),
    );
    let text = files().iter().map(file).fold(head, |text, file| text + &file);
    Manifest::parse(&text, "test").unwrap()
}

fn assert_complete(dir: &Path) {
    for (name, bytes) in files() {
        assert_eq!(fs::read(dir.join("set").join(name)).unwrap(), bytes);
    }
    let mut left: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["set", "set.tar.gz"], "nothing unfinished is left");
    assert_eq!(fs::read_dir(dir.join("set")).unwrap().count(), 2, "unlisted files are not unpacked");
}

#[test]
fn a_full_download_is_checked_unpacked_and_not_repeated() {
    let archive = archive();
    let server = Server::start(archive.clone(), Answer::Ranges);
    let manifest = manifest(&server.url, &archive);
    let dir = tempfile::tempdir().unwrap();
    let seen = Mutex::new(Vec::new());
    let progress = |done: usize, total: usize| seen.lock().unwrap().push((done, total));
    let folder = fetch::fetch(&manifest, &dir.path().join("new"), &progress).unwrap();
    assert_eq!(folder, dir.path().join("new/set"));
    assert_complete(&dir.path().join("new"));
    let seen = seen.into_inner().unwrap();
    assert!(seen.is_sorted() && seen[0].0 == 0);
    assert_eq!(*seen.last().unwrap(), (archive.len(), archive.len()));

    fetch::fetch(&manifest, &dir.path().join("new"), &quiet).unwrap();
    assert_eq!(server.ranges(), [None], "one request in all");
}

#[test]
fn a_download_resumes_from_half() {
    let archive = archive();
    let half = archive.len() / 2;
    let server = Server::start(archive.clone(), Answer::Ranges);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("set.tar.gz.part"), &archive[..half]).unwrap();
    fetch::fetch(&manifest(&server.url, &archive), dir.path(), &quiet).unwrap();
    assert_complete(dir.path());
    assert_eq!(server.ranges(), [Some(format!("bytes={half}-"))]);
}

#[test]
fn a_server_that_ignores_ranges_is_read_from_the_start() {
    let archive = archive();
    let server = Server::start(archive.clone(), Answer::Whole);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("set.tar.gz.part"), &archive[..archive.len() / 2]).unwrap();
    fetch::fetch(&manifest(&server.url, &archive), dir.path(), &quiet).unwrap();
    assert_complete(dir.path());
}

#[test]
fn a_complete_part_or_an_archive_put_there_by_hand_needs_no_server() {
    let archive = archive();
    let manifest = manifest("http://127.0.0.1:1", &archive);
    for name in ["set.tar.gz.part", "set.tar.gz"] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(name), &archive).unwrap();
        fetch::fetch(&manifest, dir.path(), &quiet).unwrap();
        assert_complete(dir.path());
    }
    let dir = tempfile::tempdir().unwrap();
    let refused = fetch::fetch(&manifest, dir.path(), &quiet).unwrap_err();
    assert!(matches!(refused, Error::Request { .. }), "{refused}");
}

#[test]
fn a_wrong_checksum_is_an_error_and_the_part_is_removed() {
    let archive = archive();
    let mut served = archive.clone();
    served[1000] ^= 1;
    let server = Server::start(served, Answer::Ranges);
    let dir = tempfile::tempdir().unwrap();
    let error = fetch::fetch(&manifest(&server.url, &archive), dir.path(), &quiet).unwrap_err();
    assert!(matches!(&error, Error::Checksum { expected, .. } if *expected == sha256(&archive)), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_truncated_body_keeps_what_came_and_the_next_try_continues() {
    let archive = archive();
    let cut = archive.len() / 3;
    let dir = tempfile::tempdir().unwrap();
    let cut_url = serve_cut_once(archive.clone(), cut);
    let error = fetch::fetch(&manifest(&cut_url, &archive), dir.path(), &quiet).unwrap_err();
    assert!(matches!(&error, Error::Interrupted { found, .. } if *found == cut as u64), "{error}");
    assert_eq!(fs::read(dir.path().join("set.tar.gz.part")).unwrap(), archive[..cut]);

    let server = Server::start(archive.clone(), Answer::Ranges);
    fetch::fetch(&manifest(&server.url, &archive), dir.path(), &quiet).unwrap();
    assert_complete(dir.path());
    assert_eq!(server.ranges(), [Some(format!("bytes={cut}-"))]);
}

#[test]
fn not_found_names_address_and_status_and_leaves_nothing() {
    let archive = archive();
    let server = Server::start(archive.clone(), Answer::NotFound);
    let dir = tempfile::tempdir().unwrap();
    let error = fetch::fetch(&manifest(&server.url, &archive), dir.path(), &quiet).unwrap_err();
    assert!(matches!(error, Error::HttpStatus { status: 404, .. }), "{error}");
    assert!(error.to_string().contains(&server.url));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn redirects_are_followed_a_few_times_only() {
    let archive = archive();
    let server = Server::start(archive.clone(), Answer::RedirectForever);
    let dir = tempfile::tempdir().unwrap();
    let error = fetch::fetch(&manifest(&server.url, &archive), dir.path(), &quiet).unwrap_err();
    assert!(matches!(error, Error::Request { .. }), "{error}");
    assert_eq!(server.ranges().len(), 6);
}

#[test]
fn a_body_of_another_length_is_refused_announced_or_not() {
    let archive = archive();
    let longer = [&archive[..], &[0; 100_000]].concat();
    for (answer, part) in [(Answer::Whole, 0), (Answer::Unannounced, archive.len() as u64)] {
        let server = Server::start(longer.clone(), answer);
        let dir = tempfile::tempdir().unwrap();
        let error = fetch::fetch(&manifest(&server.url, &archive), dir.path(), &quiet).unwrap_err();
        assert!(matches!(error, Error::HttpLength { .. }), "{error}");
        let kept = fs::metadata(dir.path().join("set.tar.gz.part")).map_or(0, |metadata| metadata.len());
        assert!(kept <= part, "kept {kept}");
    }
}

#[test]
fn archives_that_lead_outside_hold_links_or_lack_a_file_are_refused() {
    let [(train, train_bytes), (test, test_bytes)] = files();
    let hostile = |name: &str, link: bool| {
        let mut tar = tar::Builder::new(Vec::new());
        append(&mut tar, &format!("set/{train}"), &train_bytes);
        if link {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            tar.append_link(&mut header, name, "/etc/passwd").unwrap();
        } else {
            append(&mut tar, name, &test_bytes);
        }
        gzip(tar)
    };
    let up = format!("set/../../{test}");
    for (name, link) in
        [(up.as_str(), false), ("/tmp/evil.bin", false), ("set/test.bin", true), ("set/no.bin", false)]
    {
        let archive = hostile(name, link);
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("inner");
        fs::create_dir(&target).unwrap();
        fs::write(target.join("set.tar.gz"), &archive).unwrap();
        let error = fetch::fetch(&manifest("http://127.0.0.1:1", &archive), &target, &quiet).unwrap_err();
        assert!(matches!(error, Error::ArchiveEntry { .. }), "{name}: {error}");
        assert_eq!(fs::read_dir(&target).unwrap().count(), 1, "only the archive is left");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

#[test]
fn verify_names_the_changed_short_or_missing_file() {
    let archive = archive();
    let manifest = manifest("http://127.0.0.1:1", &archive);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("set.tar.gz"), &archive).unwrap();
    fetch::fetch(&manifest, dir.path(), &quiet).unwrap();
    fetch::verify(&manifest, dir.path()).unwrap();

    let path = dir.path().join("set/test.bin");
    let mut bytes = fs::read(&path).unwrap();
    bytes[39_999] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(
        matches!(fetch::verify(&manifest, dir.path()), Err(Error::Checksum { path: p, .. }) if p == path)
    );
    fs::write(&path, &bytes[1..]).unwrap();
    assert!(
        matches!(fetch::verify(&manifest, dir.path()), Err(Error::FileLength { path: p, .. }) if p == path)
    );
    fs::remove_file(&path).unwrap();
    let error = fetch::fetch(&manifest, dir.path(), &quiet).unwrap_err();
    assert!(error.to_string().contains("test.bin") && error.to_string().contains("no file"), "{error}");
}
