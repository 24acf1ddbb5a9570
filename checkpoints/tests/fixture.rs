//! The newest fixture is what its generator makes, the engine gives the golden logits of all, and files of earlier times
//! (`tiny` from before F(4x4, 3x3), `tiny-f4x4` from before taps could differ in bits, `tiny-taps` from before strided tiles, `tiny-phases` from before max pooling) are read, and written, as they were.

use std::collections::BTreeSet;

use eqo_checkpoints::Checkpoint;
use eqo_checkpoints::graph::Op;
use eqo_checkpoints::testing::{Spec, random_checkpoint};
use eqo_checkpoints::winograd::Algorithm;
use serde_json::Value;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");

#[test]
fn the_generator_reproduces_the_newest_fixture() {
    let spec =
        Spec::every_kind().with_tiles(&[Algorithm::F4x4, Algorithm::F2x2, Algorithm::P2x2]).with_mid_rise();
    let checkpoint = random_checkpoint(2033, &spec);
    let generated = checkpoint.to_bytes();
    assert!(generated == read("tiny-pools"), "run the example make_tiny and look at the diff");
    assert!(generated.len() < 100_000);
    let convs = || {
        let convs = checkpoint.graph().nodes().iter().map(|node| &node.op);
        convs.filter_map(|op| if let Op::Conv(conv) = op { Some(conv) } else { None })
    };
    assert!(convs().any(|conv| conv.algorithm == Algorithm::P2x2 && conv.weight_exponents.len() == 25));
    let pools = checkpoint.graph().nodes().iter().filter(|node| matches!(node.op, Op::MaxPool(_)));
    assert_eq!(pools.count(), 1);
    let lists: BTreeSet<usize> =
        convs().flat_map(|conv| conv.weight_exponents.iter().map(Vec::len)).collect();
    assert!([0, 1, 2, 5, 8].iter().all(|bits| lists.contains(bits)), "{lists:?}");
}

#[test]
fn files_of_earlier_times_are_read_and_written_as_they_were() {
    for name in ["tiny", "tiny-f4x4", "tiny-taps", "tiny-phases"] {
        let bytes = read(name);
        assert!(Checkpoint::read_bytes(&bytes).unwrap().to_bytes() == bytes, "{name}");
    }
}

#[expect(clippy::unwrap_used, reason = "an Err is a failed test")]
fn read(name: &str) -> Vec<u8> {
    std::fs::read(format!("{FIXTURES}/{name}.safetensors")).unwrap()
}

#[test]
fn the_engine_gives_the_golden_logits() {
    for name in ["tiny", "tiny-f4x4", "tiny-taps", "tiny-phases", "tiny-pools"] {
        let checkpoint = Checkpoint::read_bytes(&read(name)).unwrap();
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
