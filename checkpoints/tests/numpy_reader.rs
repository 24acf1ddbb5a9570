//! The NumPy reader computes the engine's logits, on the fixtures and on the checkpoint that `EQO_CHECKPOINT` names.
//!
//! `EQO_PYTHON` names an interpreter that has NumPy and safetensors; the default is `python3`.

#![expect(clippy::unwrap_used, reason = "an Err is a failed test")]

use std::path::Path;
use std::process::Command;

use eqo_checkpoints::Checkpoint;
use eqo_checkpoints::testing::random_image;

const READER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/eqo_reader.py");
const FIXTURES: [&str; 5] = [
    concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/tiny.safetensors"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/tiny-f4x4.safetensors"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/tiny-taps.safetensors"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/tiny-phases.safetensors"),
    concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/tiny-pools.safetensors"),
];

#[test]
fn numpy_logits_equal_the_engines() {
    let python = std::env::var("EQO_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let probe = Command::new(&python).args(["-c", "import numpy, safetensors"]).output();
    if !probe.is_ok_and(|output| output.status.success()) {
        println!(
            "skipped: {python} lacks numpy or safetensors; set EQO_PYTHON to an interpreter that has them"
        );
        return;
    }
    let named = std::env::var("EQO_CHECKPOINT").ok();
    for path in FIXTURES.map(str::to_owned).into_iter().chain(named) {
        compare(&python, Path::new(&path));
    }
}

fn compare(python: &str, path: &Path) {
    let checkpoint = Checkpoint::read(path).unwrap();
    let images: Vec<_> = (0..6).map(|seed| random_image(seed, &checkpoint)).collect();
    let folder = tempfile::tempdir().unwrap();
    let array = folder.path().join("images.npy");
    std::fs::write(&array, npy(&images, checkpoint.graph().shape(0))).unwrap();
    let output = Command::new(python).arg(READER).arg(path).arg(&array).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Vec<Vec<i64>> = serde_json::from_slice(&output.stdout).unwrap();
    let engine = checkpoint.engine();
    let expected: Vec<_> = images.iter().map(|image| engine.run(image).unwrap()).collect();
    let distinct: std::collections::BTreeSet<_> = expected.iter().collect();
    assert_eq!(distinct.len(), images.len(), "logits must depend on the image: {}", path.display());
    assert_eq!(found, expected, "{}", path.display());
}

/// A NumPy file of bytes, `[images, channels, height, width]` (NEP 1, version 1.0).
fn npy(images: &[Vec<u8>], [channels, height, width]: [usize; 3]) -> Vec<u8> {
    let shape = format!("({}, {channels}, {height}, {width})", images.len());
    let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}");
    let padded = format!("{header:<117}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend_from_slice(&(padded.len() as u16).to_le_bytes());
    file.extend_from_slice(padded.as_bytes());
    file.extend(images.iter().flatten());
    file
}
