//! Claims about event files, read back by a decoder of their own.

use super::*;

/// All events of a file, every CRC checked.
fn read(path: &Path) -> Vec<Event> {
    let bytes = fs::read(path).unwrap();
    let mut rest = &bytes[..];
    let mut events = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<8>() {
        let (check, after) = after.split_first_chunk::<4>().unwrap();
        assert_eq!(*check, masked_crc(length));
        let (data, after) = after.split_at(u64::from_le_bytes(*length) as usize);
        let (check, after) = after.split_first_chunk::<4>().unwrap();
        assert_eq!(*check, masked_crc(data));
        events.push(Event::decode(data).unwrap());
        rest = after;
    }
    assert!(rest.is_empty());
    events
}

/// What TensorBoard shows for `tag` over all files of a folder.
fn scalars(dir: &Path, tag: &str) -> Vec<(i64, f32)> {
    let mut shown: Vec<(i64, f32)> = Vec::new();
    for path in event_files(dir).unwrap() {
        for event in read(&path) {
            match event.what {
                Some(What::SessionLog(SessionLog { status: START })) => {
                    shown.retain(|&(step, _)| step < event.step);
                }
                Some(What::Summary(summary)) => {
                    let values = summary.value.iter().filter(|value| value.tag == tag);
                    shown.extend(values.filter_map(|value| Some((event.step, value.simple_value?))));
                }
                _ => {}
            }
        }
    }
    shown
}

#[test]
fn checksums_are_the_published_ones() {
    // RFC 3720, B.4; masked as TensorFlow's crc32c_test.cc does.
    for (data, crc) in
        [(&[0; 32][..], 0x8A91_36AA_u32), (&[0xFF; 32], 0x62A8_AB43), (b"123456789", 0xE306_9283)]
    {
        assert_eq!(crc32c::crc32c(data), crc);
        let masked = u32::from_le_bytes(masked_crc(data));
        assert_eq!(masked.wrapping_sub(0xA282_EAD8).rotate_left(15), crc, "the mask can be taken off");
        assert_ne!(masked, crc);
    }
}

/// The record that TensorBoard's own `RecordWriter` makes of `Event(wall_time=1.5, step=7, …)` with one scalar.
#[test]
fn a_record_is_byte_for_byte_what_tensorboards_writer_makes() {
    let value = vec![Scalar { tag: "train/loss".to_owned(), simple_value: Some(0.25) }];
    let what = Some(What::Summary(Summary { value }));
    let event = Event { wall_time: 1.5, step: 7, what };
    assert_eq!(record(&event), include_bytes!("../../../fixtures/event.bin"));
}

#[test]
fn a_file_begins_with_its_version_and_holds_what_was_appended() {
    let dir = tempfile::tempdir().unwrap();
    let mut events = Events::open(dir.path(), 0).unwrap();
    events.append(20, &[("train/loss", 1.5), ("train/accuracy", 0.25)]).unwrap();
    events.append(40, &[("train/loss", 0.75)]).unwrap();
    let [path] = &event_files(dir.path()).unwrap()[..] else { panic!("one file") };
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    let first = &read(path)[0];
    assert_eq!(first.what, Some(What::FileVersion("brain.Event:2".to_owned())));
    assert!(first.wall_time > 1.6e9, "seconds since 1970");
    assert_eq!(scalars(dir.path(), "train/loss"), [(20, 1.5), (40, 0.75)]);
    assert_eq!(scalars(dir.path(), "train/accuracy"), [(20, 0.25)]);
}

#[test]
fn after_resuming_no_step_is_shown_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut events = Events::open(dir.path(), 0).unwrap();
    [10, 20, 30].iter().for_each(|&step| events.append(step, &[("loss", step as f64)]).unwrap());
    let mut events = Events::open(dir.path(), 20).unwrap();
    [30, 40].iter().for_each(|&step| events.append(step, &[("loss", -(step as f64))]).unwrap());
    for accuracy in [0.25, 0.5] {
        record_test_accuracy(dir.path(), "integer", 40, accuracy).unwrap();
        record_test_accuracy(dir.path(), "float", 40, 0.75).unwrap();
    }
    assert_eq!(scalars(dir.path(), "loss"), [(10, 10.0), (20, 20.0), (30, -30.0), (40, -40.0)]);
    assert_eq!(scalars(dir.path(), "test/integer"), [(40, 0.5)]);
    assert_eq!(scalars(dir.path(), "test/float"), [(40, 0.75)]);
    drop(Events::open(dir.path(), 0).unwrap());
    assert_eq!(scalars(dir.path(), "loss"), [], "a new run begins with nothing");
}
