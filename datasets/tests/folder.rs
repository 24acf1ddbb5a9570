//! Image folders: order, parallel decoding, corrupt files, class count, sizes, detection of what a folder holds.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use eqo_datasets::folder::{self, FolderOptions};
use eqo_datasets::{Error, Image, Resize, Split, open, save_png};
use image::{ImageFormat, Rgb, RgbImage};

const STRICT: FolderOptions = FolderOptions { resize: None, expected_classes: None, skip_corrupt: false };

fn quiet(_: usize, _: usize) {}

fn png(path: &Path, side: usize, value: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    save_png(path, &Image::new(side, side, vec![value; 3 * side * side]).unwrap()).unwrap();
}

fn jpeg_bytes() -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::from_fn(8, 8, |x, y| Rgb([x as u8 * 30, y as u8 * 30, 128]))
        .write_to(&mut bytes, ImageFormat::Jpeg)
        .unwrap();
    bytes.into_inner()
}

/// b/1.png, b/10.png, b/2.png and a/x.JPG, besides things that are no images.
fn small_folder() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (name, value) in [("1", 1), ("2", 2), ("10", 10)] {
        png(&root.path().join(format!("b/{name}.png")), 8, value);
    }
    fs::create_dir(root.path().join("a")).unwrap();
    fs::write(root.path().join("a/x.JPG"), jpeg_bytes()).unwrap();
    fs::write(root.path().join("a/notes.txt"), "not an image").unwrap();
    fs::write(root.path().join("a/.hidden.png"), "not an image").unwrap();
    fs::create_dir(root.path().join(".cache")).unwrap();
    root
}

#[test]
fn classes_and_files_come_in_byte_order_and_progress_counts_each_file() {
    let root = small_folder();
    let calls = AtomicUsize::new(0);
    let progress = |done: usize, total: usize| {
        assert!(total == 4 && (1..=4).contains(&done));
        calls.fetch_add(1, Ordering::Relaxed);
    };
    let (dataset, skipped) = folder::read(root.path(), &STRICT, &progress).unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 4);
    assert!(skipped.is_empty());
    assert_eq!(dataset.classes(), ["a", "b"]);
    assert_eq!(dataset.labels(), [0, 1, 1, 1]);
    let firsts: Vec<u8> = (1..4).map(|i| dataset.image(i)[0]).collect();
    assert_eq!(firsts, [1, 10, 2]);
}

#[test]
fn jpeg_planes_are_red_green_blue() {
    let root = small_folder();
    let (dataset, _) = folder::read(root.path(), &STRICT, &quiet).unwrap();
    let planes: Vec<&[u8]> = dataset.image(0).chunks(64).collect();
    assert!(planes[0][7] > 180 && planes[0][56] < 40, "red grows to the right");
    assert!(planes[1][7] < 40 && planes[1][56] > 180, "green grows downwards");
    assert!(planes[2].iter().all(|&blue| (108..=148).contains(&blue)));
}

#[test]
fn a_corrupt_jpeg_is_named_or_skipped_and_counted() {
    let root = small_folder();
    let whole = jpeg_bytes();
    fs::write(root.path().join("a/cut.jpg"), &whole[..whole.len() / 2]).unwrap();
    fs::write(root.path().join("b/0.png"), "garbage").unwrap();

    let error = folder::read(root.path(), &STRICT, &quiet).unwrap_err();
    assert!(error.to_string().contains("cut.jpg"), "{error}");

    let lenient = FolderOptions { skip_corrupt: true, ..STRICT };
    let (dataset, skipped) = folder::read(root.path(), &lenient, &quiet).unwrap();
    let names: Vec<String> = skipped.iter().map(ToString::to_string).collect();
    assert_eq!(skipped.len(), 2);
    assert!(names[0].contains("cut.jpg") && names[1].contains("0.png"), "{names:?}");
    assert_eq!(dataset.labels(), [0, 1, 1, 1]);
    assert_eq!(
        dataset,
        folder::read(small_folder().path(), &STRICT, &quiet).unwrap().0.renamed(dataset.name())
    );
}

/// Two temporary folders have different names; the rest must be equal.
trait Renamed {
    fn renamed(self, name: &str) -> Self;
}

impl Renamed for eqo_datasets::Dataset {
    fn renamed(self, name: &str) -> Self {
        let size = (self.height(), self.width());
        Self::new(name, self.classes().to_vec(), size, self.pixels().to_vec(), self.labels().to_vec())
            .unwrap()
    }
}

#[test]
fn the_first_bad_file_in_order_is_reported_whatever_the_threads_do() {
    let root = tempfile::tempdir().unwrap();
    for i in 0..64 {
        png(&root.path().join(format!("a/{i:02}.png")), 4, i);
    }
    for bad in [17, 18, 40, 63] {
        fs::write(root.path().join(format!("a/{bad}.png")), "garbage").unwrap();
    }
    for _ in 0..20 {
        let error = folder::read(root.path(), &STRICT, &quiet).unwrap_err();
        assert!(matches!(&error, Error::Decode { path, .. } if path.ends_with("a/17.png")), "{error}");
    }
}

#[test]
fn another_size_is_an_error_naming_the_file_unless_resized() {
    let root = small_folder();
    png(&root.path().join("b/3.png"), 9, 3);
    for skip_corrupt in [false, true] {
        let error = folder::read(root.path(), &FolderOptions { skip_corrupt, ..STRICT }, &quiet).unwrap_err();
        let named = matches!(&error, Error::ImageSize { path, expected: (8, 8), found: (9, 9) } if path.ends_with("b/3.png"));
        assert!(named, "{error}");
    }
    let resize = Some(Resize { shorter_side: 6, centre_crop: Some(4) });
    let (dataset, _) = folder::read(root.path(), &FolderOptions { resize, ..STRICT }, &quiet).unwrap();
    assert_eq!((dataset.len(), dataset.height(), dataset.width()), (5, 4, 4));
    assert_eq!(dataset.image(4), [3; 48]);
}

#[test]
fn wrong_class_counts_and_empty_folders_are_refused() {
    let root = small_folder();
    let ten = FolderOptions { expected_classes: Some(10), ..STRICT };
    let error = folder::read(root.path(), &ten, &quiet).unwrap_err();
    assert!(matches!(error, Error::ClassCount { expected: 10, found: 2, .. }), "{error}");

    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(folder::read(empty.path(), &STRICT, &quiet), Err(Error::NoImages { .. })));
    fs::create_dir(empty.path().join("a")).unwrap();
    assert!(matches!(folder::read(empty.path(), &STRICT, &quiet), Err(Error::NoImages { .. })));
    fs::write(empty.path().join("a/bad.jpg"), "garbage").unwrap();
    let lenient = FolderOptions { skip_corrupt: true, ..STRICT };
    assert!(matches!(folder::read(empty.path(), &lenient, &quiet), Err(Error::NoImages { .. })));
    assert!(matches!(folder::read(&root.path().join("no"), &STRICT, &quiet), Err(Error::Io { .. })));
}

#[test]
fn open_takes_the_split_folder_or_the_folder_itself() {
    let root = tempfile::tempdir().unwrap();
    png(&root.path().join("train/a/1.png"), 4, 1);
    png(&root.path().join("val/a/1.png"), 4, 2);
    for (split, pixel) in [(Split::Train, 1), (Split::Test, 2)] {
        let (dataset, _) = open(root.path(), split, &STRICT, &quiet).unwrap();
        assert_eq!((dataset.image(0)[0], dataset.len()), (pixel, 1));
        let (same, _) = open(&root.path().join("val"), split, &STRICT, &quiet).unwrap();
        assert_eq!(same.image(0)[0], 2);
    }
}

#[test]
fn open_recognises_cifar_binaries_and_checks_their_classes() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("cifar-100-binary");
    fs::create_dir(&folder).unwrap();
    let record = |i: usize| [(i % 20) as u8, (i % 100) as u8].into_iter().chain([7; 3072]);
    fs::write(folder.join("test.bin"), (0..10_000).flat_map(record).collect::<Vec<u8>>()).unwrap();
    let (dataset, _) = open(root.path(), Split::Test, &STRICT, &quiet).unwrap();
    assert_eq!((dataset.name(), dataset.len()), ("cifar100", 10_000));
    assert_eq!(dataset.class_sizes(), [100; 100]);
    let ten = FolderOptions { expected_classes: Some(10), ..STRICT };
    assert!(matches!(
        open(root.path(), Split::Test, &ten, &quiet),
        Err(Error::ClassCount { found: 100, .. })
    ));
}
