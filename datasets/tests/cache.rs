//! Decoding once: what makes a cache valid, what makes it void, and that the images never differ.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use eqo_datasets::cache::CachePlace;
use eqo_datasets::folder::{self, FolderOptions};
use eqo_datasets::{Dataset, Image, Resize, save_png};

const OPTIONS: FolderOptions = FolderOptions { resize: None, expected_classes: None, skip_corrupt: false };
const LENIENT: FolderOptions = FolderOptions { skip_corrupt: true, ..OPTIONS };

fn png(path: &Path, value: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let pixels = (0..3 * 64).map(|i| value.wrapping_add(i)).collect();
    save_png(path, &Image::new(8, 8, pixels).unwrap()).unwrap();
}

/// `images/a/{0,1,2}.png` and `images/b/0.png`, alone in a temporary folder.
fn images() -> (tempfile::TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let root = parent.path().join("images");
    (0..3).for_each(|i| png(&root.join(format!("a/{i}.png")), 10 * i));
    png(&root.join("b/0.png"), 99);
    (parent, root)
}

/// The dataset and how many files were decoded for it.
fn read(root: &Path, options: &FolderOptions, place: &CachePlace) -> (Dataset, usize) {
    let calls = AtomicUsize::new(0);
    let progress = |_, _| _ = calls.fetch_add(1, Ordering::Relaxed);
    let (dataset, _) = folder::read_cached(root, options, place, &progress).unwrap();
    let plain = folder::read(root, options, &|_, _| ()).unwrap().0;
    assert_eq!(dataset, plain, "a cache changes nothing");
    (dataset, calls.into_inner())
}

fn cache_files(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.to_string_lossy().contains("eqo-images")).collect()
}

#[test]
fn the_second_reading_decodes_nothing_and_gives_the_same_images() {
    let (parent, root) = images();
    let other = tempfile::tempdir().unwrap();
    for place in [CachePlace::Beside, CachePlace::Folder(other.path().join("new/caches"))] {
        assert_eq!(read(&root, &OPTIONS, &place).1, 4);
        assert_eq!(read(&root, &OPTIONS, &place).1, 0);
    }
    assert_eq!(cache_files(parent.path()).len(), 1);
    assert_eq!(cache_files(&other.path().join("new/caches")).len(), 1);
    assert_eq!(read(&root, &OPTIONS, &CachePlace::Off).1, 4);
}

#[test]
fn any_change_of_the_folder_decodes_it_again_into_the_same_file() {
    let (parent, root) = images();
    let fresh = || read(&root, &OPTIONS, &CachePlace::Beside).1;
    assert_eq!(fresh(), 4);
    png(&root.join("b/1.png"), 5);
    assert_eq!((fresh(), fresh()), (5, 0), "a file more");
    fs::remove_file(root.join("a/0.png")).unwrap();
    assert_eq!((fresh(), fresh()), (4, 0), "a file less");
    fs::rename(root.join("a/1.png"), root.join("b/2.png")).unwrap();
    assert_eq!((fresh(), fresh()), (4, 0), "another label");
    png(&root.join("a/2.png"), 77);
    let later = SystemTime::now() + Duration::from_secs(5);
    File::options().write(true).open(root.join("a/2.png")).unwrap().set_modified(later).unwrap();
    assert_eq!((fresh(), fresh()), (4, 0), "other contents");
    fs::rename(root.join("b"), root.join("c")).unwrap();
    assert_eq!((fresh(), fresh()), (4, 0), "another class name");
    assert_eq!(cache_files(parent.path()).len(), 1);
}

#[test]
fn a_damaged_cache_is_made_anew() {
    let (parent, root) = images();
    let fresh = || read(&root, &OPTIONS, &CachePlace::Beside).1;
    assert_eq!(fresh(), 4);
    let cache = &cache_files(parent.path())[0];
    let whole = fs::read(cache).unwrap();
    let mut changed = whole.clone();
    changed[4096 + 100] ^= 0x10;
    for damaged in [&changed[..], &whole[..whole.len() - 1], &whole[..50], b"", b"something else entirely"] {
        // Under another inode: this one may still be mapped.
        fs::remove_file(cache).unwrap();
        fs::write(cache, damaged).unwrap();
        assert_eq!((fresh(), fresh()), (4, 0));
    }
    assert_eq!(fs::read(cache).unwrap(), whole);
}

#[test]
fn each_size_has_its_own_cache() {
    let (parent, root) = images();
    let small = FolderOptions { resize: Some(Resize { shorter_side: 4, centre_crop: Some(3) }), ..OPTIONS };
    for expected in [4, 0] {
        assert_eq!(read(&root, &OPTIONS, &CachePlace::Beside).1, expected);
        let (dataset, decoded) = read(&root, &small, &CachePlace::Beside);
        assert_eq!((dataset.height(), dataset.width(), decoded), (3, 3, expected));
    }
    assert_eq!(cache_files(parent.path()).len(), 2);
}

#[test]
fn corrupt_files_are_named_again_from_the_cache_and_never_skipped_without_leave() {
    let (_parent, root) = images();
    fs::write(root.join("a/00.png"), "garbage").unwrap();
    fs::write(root.join("b/9.jpg"), "garbage").unwrap();
    let reports = |expected_decoded: usize| {
        let calls = AtomicUsize::new(0);
        let progress = |_, _| _ = calls.fetch_add(1, Ordering::Relaxed);
        let (dataset, skipped) =
            folder::read_cached(&root, &LENIENT, &CachePlace::Beside, &progress).unwrap();
        assert_eq!((dataset.labels(), calls.into_inner()), (&[0, 0, 0, 1][..], expected_decoded));
        skipped.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let first = reports(6);
    assert!(first[0].contains("a/00.png") && first[1].contains("b/9.jpg"), "{first:?}");
    assert_eq!(reports(0), first);
    assert_eq!(read(&root, &LENIENT, &CachePlace::Beside).1, 0);
    let strict = folder::read_cached(&root, &OPTIONS, &CachePlace::Beside, &|_, _| ());
    assert!(strict.unwrap_err().to_string().contains("a/00.png"));
}

#[test]
fn a_place_that_cannot_be_written_means_memory() {
    let (parent, root) = images();
    let file = parent.path().join("a-file");
    fs::write(&file, "").unwrap();
    let place = CachePlace::Folder(file.join("below"));
    assert_eq!((read(&root, &OPTIONS, &place).1, read(&root, &OPTIONS, &place).1), (4, 4));
}

#[test]
fn a_failed_reading_leaves_no_file() {
    let (parent, root) = images();
    fs::write(root.join("b/9.jpg"), "garbage").unwrap();
    folder::read_cached(&root, &OPTIONS, &CachePlace::Beside, &|_, _| ()).unwrap_err();
    assert!(cache_files(parent.path()).is_empty());
}

#[test]
fn settings_are_off_auto_or_a_folder() {
    assert_eq!(CachePlace::from_setting("off"), CachePlace::Off);
    assert_eq!(CachePlace::from_setting("/big/disk"), CachePlace::Folder("/big/disk".into()));
    // Tests share a process, so the variable isn't set here.
    if std::env::var_os(eqo_datasets::cache::VARIABLE).is_none() {
        assert_eq!(CachePlace::from_setting("auto"), CachePlace::Beside);
    }
}
