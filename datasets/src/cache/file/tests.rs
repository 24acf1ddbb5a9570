//! Claims about the cache file.

use super::*;

const KEY: Key = [7; 32];
const SIZE: (usize, usize) = (2, 3);

fn write(path: &Path, images: usize, skipped: &[usize]) -> Vec<u8> {
    let pixels: Vec<u8> = (0..images * 18).map(|i| (i * 37 % 251) as u8).collect();
    let mut writer = Writer::create(path, KEY, SIZE).unwrap().unwrap();
    pixels.chunks(36).for_each(|chunk| writer.push(chunk).unwrap());
    writer.finish(skipped).unwrap();
    pixels
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn what_is_written_is_read_back_and_leaves_no_part_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/er/a.eqo-images");
    let pixels = write(&path, 5, &[1, 6]);
    let contents = open(&path, &KEY).unwrap();
    assert_eq!((contents.size, contents.images, contents.skipped), (SIZE, 5, vec![1, 6]));
    assert_eq!(contents.pixels[..], pixels);
    assert_eq!(names(path.parent().unwrap()), ["a.eqo-images"]);
}

#[test]
fn another_key_another_version_and_no_file_are_told_apart_from_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    assert_eq!(open(&path, &KEY).err(), Some(Unusable::Absent));
    write(&path, 1, &[]);
    assert_eq!(open(&path, &[8; 32]).err(), Some(Unusable::Stale));
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] += 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(open(&path, &KEY).err(), Some(Unusable::Stale));
}

#[test]
fn every_changed_byte_that_is_read_and_every_cut_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    write(&path, 2, &[3]);
    let whole = fs::read(&path).unwrap();
    for at in (0..HEADER).chain(PIXELS_AT..whole.len()) {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&path, changed).unwrap();
        assert!(open(&path, &KEY).is_err(), "byte {at}");
    }
    for end in (0..HEADER + 2).chain(PIXELS_AT - 1..whole.len()) {
        fs::write(&path, &whole[..end]).unwrap();
        assert!(matches!(open(&path, &KEY), Err(Unusable::Damaged(_))), "cut at {end}");
    }
    fs::write(&path, [&whole[..], &[0]].concat()).unwrap();
    assert_eq!(open(&path, &KEY).err(), Some(Unusable::Damaged("length")));
}

#[test]
fn headers_that_claim_absurd_counts_are_refused_before_anything_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let sizes = [(1, 1), (MAX_SIDE as usize, MAX_SIDE as usize), (0, 1), (1, usize::MAX)];
    for size in sizes {
        for images in [1, 1 << 40, usize::MAX] {
            for skipped in [0, usize::MAX / 8, usize::MAX] {
                let header = Header { key: KEY, size, images, skipped, tail: 0 };
                fs::write(&path, header.to_bytes()).unwrap();
                assert!(
                    matches!(open(&path, &KEY), Err(Unusable::Damaged(_))),
                    "{size:?} {images} {skipped}"
                );
            }
        }
    }
}

#[test]
fn a_mapped_cache_outlives_its_replacement() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let pixels = write(&path, 3, &[]);
    let old = open(&path, &KEY).unwrap();
    write(&path, 1, &[]);
    assert_eq!(old.pixels[..], pixels);
    assert_eq!(open(&path, &KEY).unwrap().images, 1);
}

#[test]
fn two_writers_never_share_a_file_and_a_dead_ones_rest_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let mut first = Writer::create(&path, KEY, SIZE).unwrap().unwrap();
    assert!(Writer::create(&path, KEY, SIZE).unwrap().is_none());
    first.push(&[1; 18]).unwrap();
    drop(first);
    assert!(names(dir.path()).is_empty());
    fs::write(crate::part_path(&path), "left by a killed process").unwrap();
    write(&path, 1, &[]);
    assert_eq!(open(&path, &KEY).unwrap().images, 1);
    assert_eq!(names(dir.path()), ["a"]);
}
