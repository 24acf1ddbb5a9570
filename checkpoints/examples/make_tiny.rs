//! Writes the committed fixture: `cargo run -p eqo-checkpoints --example make_tiny -- checkpoints/fixtures`.
//!
//! `tiny.safetensors` holds every kind of node; `tiny.json` the logits of its `images` seeded random images, which
//! other implementations can reproduce from the pixels it lists.

use std::path::Path;

use eqo_checkpoints::testing::{Spec, random_checkpoint, random_image};
use serde_json::json;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: make_tiny FOLDER")?;
    let checkpoint = random_checkpoint(2024, &Spec::every_kind());
    let engine = checkpoint.engine();
    let images: Vec<_> = (0..4).map(|seed| random_image(seed, &checkpoint)).collect();
    let logits = images.iter().map(|image| engine.run(image)).collect::<Result<Vec<_>, _>>()?;
    checkpoint.write(&Path::new(&folder).join("tiny.safetensors"))?;
    let golden = json!({ "images": images, "logits": logits });
    std::fs::write(Path::new(&folder).join("tiny.json"), golden.to_string() + "\n")?;
    Ok(())
}
