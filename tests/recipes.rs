//! Recipes: every shipped one is valid, every mistake is refused with the way out.

#![allow(clippy::unwrap_used, reason = "a broken assumption ends the test")]

use std::fs;

use e2e::{root, run_eqo};

#[test]
fn every_shipped_recipe_parses_and_its_resolved_form_parses_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut recipes = 0;
    for entry in fs::read_dir(root().join("configs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        recipes += 1;
        let shown = run_eqo(["recipe".as_ref(), path.as_os_str()]);
        assert_eq!(shown.code, 0, "{}: {}", path.display(), shown.stderr);
        let resolved = folder.path().join("resolved.toml");
        fs::write(&resolved, &shown.stdout).unwrap();
        assert_eq!(run_eqo(["recipe".as_ref(), resolved.as_os_str()]).stdout, shown.stdout);
    }
    assert!(recipes >= 2, "configs/ holds the demo and the CIFAR-10 recipe");
}

#[test]
fn a_misspelt_key_exits_2_and_names_the_nearest_one() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = folder.path().join("typo.toml");
    fs::write(&recipe, "[qat]\nlearning_rat = 0.1\n").unwrap();
    for command in ["recipe", "train", "quantize"] {
        let ran = run_eqo([command.as_ref(), recipe.as_os_str()]);
        ran.refused(2, &["typo.toml", "qat.learning_rat", "qat.learning_rate"]);
    }
}

#[test]
fn a_misspelt_or_impossible_override_exits_2() {
    let demo = root().join("configs/demo.toml");
    let with = |set: &str| run_eqo(["recipe", demo.to_str().unwrap(), "--set", set]);
    with("bits.weigth=2").refused(2, &["bits.weigth", "bits.weight"]);
    with("bits.weight=9").refused(2, &["bits.weight", "2 to 8", "9"]);
    with("bits.weight").refused(2, &["section.key=value"]);
    assert!(with("bits.weight=3").stdout.contains("weight = 3"));
}

#[test]
fn a_missing_recipe_exits_2_and_is_named() {
    run_eqo(["quantize", "configs/no-such.toml"]).refused(2, &["configs/no-such.toml"]);
}
