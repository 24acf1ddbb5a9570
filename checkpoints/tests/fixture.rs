//! The committed fixtures are what their generator makes, and the engine still gives their golden logits.
//!
//! `tiny` was written before F(4x4, 3x3) was there: it must be read, and be written, as it was.

use std::collections::BTreeSet;
use std::path::Path;

use eqo_checkpoints::Checkpoint;
use eqo_checkpoints::testing::{Spec, random_checkpoint};
use eqo_checkpoints::winograd::Algorithm;
use serde_json::Value;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");

#[test]
fn the_generator_reproduces_the_fixtures() {
    use Algorithm::{F2x2, F4x4};
    for (name, seed, tiles) in [("tiny", 2024, &[F2x2][..]), ("tiny-f4x4", 2025, &[F4x4, F2x2])] {
        let generated = random_checkpoint(seed, &Spec::every_kind().with_tiles(tiles)).to_bytes();
        let committed = std::fs::read(format!("{FIXTURES}/{name}.safetensors")).unwrap();
        assert!(generated == committed, "run the example make_tiny and look at the diff");
        assert!(generated.len() < 100_000);
    }
}

#[test]
fn the_engine_gives_the_golden_logits() {
    for name in ["tiny", "tiny-f4x4"] {
        let checkpoint = Checkpoint::read(Path::new(&format!("{FIXTURES}/{name}.safetensors"))).unwrap();
        let engine = checkpoint.engine();
        let golden = std::fs::read(format!("{FIXTURES}/{name}.json")).unwrap();
        let golden: Value = serde_json::from_slice(&golden).unwrap();
        let images: Vec<Vec<u8>> = serde_json::from_value(golden["images"].clone()).unwrap();
        let logits: Vec<Vec<i64>> = serde_json::from_value(golden["logits"].clone()).unwrap();
        let distinct: BTreeSet<_> = logits.iter().collect();
        assert_eq!([images.len(), distinct.len()], [4, 4], "golden logits must depend on the image");
        for (image, logits) in images.iter().zip(logits) {
            assert_eq!(engine.run(image).unwrap(), logits, "{name}");
        }
    }
}
