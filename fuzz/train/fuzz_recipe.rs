//! Recipes: TOML text, and an override in its first line.

#![no_main]
#![allow(dead_code, unused_imports)]

mod import;
mod parts;
mod qat;
mod recipe;

mod tensors {
    pub(crate) use crate::parts::NamedTensors;
}

mod batch_norm {
    pub(crate) const EPSILON: f32 = 1e-5;
}

use eqo_fuzz::plant;
use libfuzzer_sys::fuzz_target;
pub(crate) use parts::{Error, Result};
use recipe::Recipe;

const RECIPES: [&str; 2] =
    [include_str!("../../configs/demo.toml"), include_str!("../../configs/cifar10-resnet20-w4a6.toml")];

fn seeds() -> Vec<Vec<u8>> {
    let overrides = ["float.steps=3", "bits.weight=2", "name=x y", "plan.budget=0.5"];
    let whole = RECIPES.iter().flat_map(|text| overrides.map(|line| format!("{line}\n{text}")));
    whole.chain([Recipe::default().to_toml()]).map(String::into_bytes).collect()
}

fuzz_target!(init: if std::env::var_os("EQO_SEEDS").is_some() { plant(seeds()) }, |data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let _ = Recipe::parse(text, "a file", &[]);
    if let Ok(recipe) = Recipe::parse(rest, "a file", &[first.to_owned()]) {
        let again = Recipe::parse(&recipe.to_toml(), "its copy", &[]).expect("what is written can be read");
        assert_eq!(again.to_toml(), recipe.to_toml());
    }
});
