//! Writes the newest fixture: `cargo run -p eqo-checkpoints --example make_tiny -- checkpoints/fixtures`.
//!
//! `tiny-pools.safetensors` holds every kind of node, F(4x4, 3x3) and F(2x2, 3x3) in turn, stride 2 by phases, taps of different bits, with one or none among
//! them, and offset weights. The `.json` beside it has the logits of a few seeded random images, which other
//! implementations can reproduce from the pixels it lists. `tiny` (F(2x2, 3x3) only), `tiny-f4x4`, `tiny-taps` and `tiny-phases` are as
//! this example wrote them before taps could differ in bits, before strided convolutions could have tiles, and before there was
//! max pooling.

use std::path::Path;

use eqo_checkpoints::testing::{Spec, random_checkpoint, random_image};
use eqo_checkpoints::winograd::Algorithm;
use serde_json::json;

const SEED: u64 = 2033;
const TILES: [Algorithm; 3] = [Algorithm::F4x4, Algorithm::F2x2, Algorithm::P2x2];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: make_tiny FOLDER")?;
    let folder = Path::new(&folder);
    let checkpoint = random_checkpoint(SEED, &Spec::every_kind().with_tiles(&TILES).with_mid_rise());
    let engine = checkpoint.engine();
    let images: Vec<_> = (0..4).map(|seed| random_image(seed, &checkpoint)).collect();
    let logits = images.iter().map(|image| engine.run(image)).collect::<Result<Vec<_>, _>>()?;
    checkpoint.write(&folder.join("tiny-pools.safetensors"))?;
    let golden = json!({ "images": images, "logits": logits });
    std::fs::write(folder.join("tiny-pools.json"), golden.to_string() + "\n")?;
    Ok(())
}
