//! Writes test images of the built-in set as `FOLDER/<label>-<class>/<image>.png`, the images that `eqo eval --data synthetic` takes:
//! `cargo run --release -p eqo-datasets --example export_synthetic -- FOLDER [IMAGES] [SEED]`, 1000 and 1 if not given.

use std::path::Path;

use eqo_datasets::{save_png, synthetic};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = Path::new(arguments.first().ok_or("usage: export_synthetic FOLDER [IMAGES] [SEED]")?);
    let number = |index: usize, default: u64| arguments.get(index).map_or(Ok(default), |text| text.parse());
    let (count, seed) = (number(1, 1000)?, number(2, 1)?);
    let images = synthetic::generate_test(seed, usize::try_from(count)?);
    for (index, &label) in images.labels().iter().enumerate() {
        let class = images.classes()[usize::from(label)].replace(' ', "-");
        let place = folder.join(format!("{label}-{class}"));
        std::fs::create_dir_all(&place)?;
        save_png(place.join(format!("{index:06}.png")), &images.to_image(index))?;
    }
    Ok(())
}
