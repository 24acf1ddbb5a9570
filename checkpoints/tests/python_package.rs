//! The Python package's engine and PyTorch module compute the Rust engine's logits: on the fixtures, on random networks of
//! every operation and on the checkpoint that `EQO_CHECKPOINT` names.
//!
//! `EQO_PYTHON` names an interpreter that has NumPy and safetensors, and PyTorch if its module is to be compared; the default is
//! `python3`. What is missing is said, and skipped.

#![expect(clippy::unwrap_used, reason = "an Err is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use eqo_checkpoints::Checkpoint;
use eqo_checkpoints::testing::{Spec, random_checkpoint, random_image};
use eqo_checkpoints::winograd::Algorithm::{F2x2, F4x4, P2x2};
use serde::Deserialize;

const PACKAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/src");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python/tests/logits_of.py");
const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");
/// Random networks of [`Spec::random`].
const NETWORKS: u64 = 60;
const IMAGES: u64 = 6;

/// What the script found of one checkpoint.
#[derive(Deserialize)]
struct Found {
    numpy: Vec<Vec<i64>>,
    torch: Option<Vec<Vec<i64>>>,
    arithmetic: BTreeSet<String>,
}

#[test]
fn every_logit_of_numpy_and_pytorch_equals_the_engines() {
    let python = std::env::var("EQO_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has = |module: &str| {
        let probe = Command::new(&python).args(["-c", &format!("import {module}")]).output();
        let found = probe.is_ok_and(|output| output.status.success());
        if !found {
            println!("skipped: {python} lacks {module}; set EQO_PYTHON to an interpreter that has it");
        }
        found
    };
    if !has("numpy") || !has("safetensors") {
        return;
    }
    let torch = has("torch");
    let folder = tempfile::tempdir().unwrap();
    let expected: BTreeMap<String, Vec<Vec<i64>>> = checkpoints()
        .into_iter()
        .map(|(name, it)| (name.clone(), write(folder.path(), &name, &it)))
        .collect();
    let output =
        Command::new(&python).arg(SCRIPT).arg(folder.path()).env("PYTHONPATH", PACKAGE).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: BTreeMap<String, Found> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    let mut arithmetic = BTreeSet::new();
    for (name, found) in found {
        assert_eq!(found.numpy, expected[&name], "NumPy, {name}");
        assert!(!torch || found.torch.is_some(), "PyTorch is there and was not asked: {name}");
        assert!(found.torch.is_none_or(|logits| logits == expected[&name]), "PyTorch, {name}");
        arithmetic.extend(found.arithmetic);
    }
    println!("{} checkpoints, PyTorch {torch}, arithmetic {arithmetic:?}", expected.len());
    let both = ["float32", "float64"].map(str::to_owned);
    assert!(
        arithmetic.is_superset(&BTreeSet::from(both)),
        "the networks must need more than one: {arithmetic:?}"
    );
}

fn checkpoints() -> Vec<(String, Checkpoint)> {
    let random =
        (0..NETWORKS).map(|seed| (format!("random-{seed}"), random_checkpoint(seed, &Spec::random(seed))));
    let every =
        [[F2x2, F4x4, P2x2], [F4x4, P2x2, F2x2]].into_iter().enumerate().flat_map(|(order, tiles)| {
            let spec = Spec::every_kind().with_tiles(&tiles).with_mid_rise();
            let seeds =
                (0..5).map(move |seed| (format!("every-{order}-{seed}"), random_checkpoint(seed, &spec)));
            seeds.collect::<Vec<_>>()
        });
    let pools = (0..5).map(|seed| (format!("pools-{seed}"), random_checkpoint(seed, &Spec::pools())));
    let fixtures = ["tiny", "tiny-f4x4", "tiny-taps", "tiny-phases", "tiny-pools"].map(|name| {
        (name.to_owned(), Checkpoint::read(Path::new(&format!("{FIXTURES}/{name}.safetensors"))).unwrap())
    });
    let named = std::env::var("EQO_CHECKPOINT").ok();
    let named = named.map(|path| ("named".to_owned(), Checkpoint::read(Path::new(&path)).unwrap()));
    random.chain(every).chain(pools).chain(fixtures).chain(named).collect()
}

/// Writes a checkpoint and its images; the engine's logits of them.
fn write(folder: &Path, name: &str, checkpoint: &Checkpoint) -> Vec<Vec<i64>> {
    let images: Vec<_> = (0..IMAGES).map(|seed| random_image(seed, checkpoint)).collect();
    checkpoint.write(&folder.join(format!("{name}.safetensors"))).unwrap();
    std::fs::write(folder.join(format!("{name}.npy")), npy(&images, checkpoint.graph().shape(0))).unwrap();
    let engine = checkpoint.engine();
    let logits: Vec<_> = images.iter().map(|image| engine.run(image).unwrap()).collect();
    let distinct: BTreeSet<_> = logits.iter().collect();
    // A few random networks ignore the image, the fixtures none.
    let fixture = name.starts_with("tiny");
    assert!(!fixture || distinct.len() == images.len(), "logits must depend on the image: {name}");
    logits
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
