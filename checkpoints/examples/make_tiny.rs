//! Writes the committed fixtures: `cargo run -p eqo-checkpoints --example make_tiny -- checkpoints/fixtures`.
//!
//! `tiny.safetensors` holds every kind of node, its Winograd convolutions F(2x2, 3x3), and `tiny-f4x4.safetensors` the same
//! kinds with F(4x4, 3x3) and F(2x2, 3x3) in turn. The `.json` beside each has the logits of a few seeded random images, which other
//! implementations can reproduce from the pixels it lists.

use std::path::Path;

use eqo_checkpoints::testing::{Spec, random_checkpoint, random_image};
use eqo_checkpoints::winograd::Algorithm;
use serde_json::json;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: make_tiny FOLDER")?;
    write(Path::new(&folder), "tiny", (2024, &[Algorithm::F2x2]))?;
    write(Path::new(&folder), "tiny-f4x4", (2025, &[Algorithm::F4x4, Algorithm::F2x2]))
}

fn write(
    folder: &Path,
    name: &str,
    (seed, tiles): (u64, &[Algorithm]),
) -> Result<(), Box<dyn std::error::Error>> {
    let checkpoint = random_checkpoint(seed, &Spec::every_kind().with_tiles(tiles));
    let engine = checkpoint.engine();
    let images: Vec<_> = (0..4).map(|seed| random_image(seed, &checkpoint)).collect();
    let logits = images.iter().map(|image| engine.run(image)).collect::<Result<Vec<_>, _>>()?;
    checkpoint.write(&folder.join(format!("{name}.safetensors")))?;
    let golden = json!({ "images": images, "logits": logits });
    std::fs::write(folder.join(format!("{name}.json")), golden.to_string() + "\n")?;
    Ok(())
}
