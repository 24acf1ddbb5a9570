//! The committed fixture is what its generator makes, and the engine still gives its golden logits.

use std::collections::BTreeSet;
use std::path::Path;

use eqo_checkpoints::Checkpoint;
use eqo_checkpoints::testing::{Spec, random_checkpoint};
use serde_json::Value;

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/tiny.safetensors");
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/tiny.json");

#[test]
fn the_generator_reproduces_the_fixture() {
    let generated = random_checkpoint(2024, &Spec::every_kind()).to_bytes();
    assert!(generated == std::fs::read(FIXTURE).unwrap(), "run the example make_tiny and look at the diff");
    assert!(generated.len() < 100_000);
}

#[test]
fn the_engine_gives_the_golden_logits() {
    let checkpoint = Checkpoint::read(Path::new(FIXTURE)).unwrap();
    let engine = checkpoint.engine();
    let golden: Value = serde_json::from_slice(&std::fs::read(GOLDEN).unwrap()).unwrap();
    let images: Vec<Vec<u8>> = serde_json::from_value(golden["images"].clone()).unwrap();
    let logits: Vec<Vec<i64>> = serde_json::from_value(golden["logits"].clone()).unwrap();
    let distinct: BTreeSet<_> = logits.iter().collect();
    assert_eq!([images.len(), distinct.len()], [4, 4], "golden logits must depend on the image");
    for (image, logits) in images.iter().zip(logits) {
        assert_eq!(engine.run(image).unwrap(), logits);
    }
}
