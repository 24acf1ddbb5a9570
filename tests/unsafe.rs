//! The inventory of unsafe code says what there is.

#![allow(clippy::unwrap_used, reason = "a broken assumption ends the test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use e2e::root;

const INVENTORY: &str = "docs/unsafe.md";
/// Every folder with sources of ours.
const FOLDERS: [&str; 7] = ["checkpoints", "cli", "datasets", "protocol", "quant", "tests", "train"];

#[test]
fn every_file_with_unsafe_code_is_in_the_inventory_with_its_number_and_no_other() {
    let mut found = BTreeMap::new();
    FOLDERS.iter().for_each(|folder| search(&root().join(folder), &mut found));
    assert!(found.contains_key("protocol/src/ring/pack/avx512.rs"), "{found:?}");
    assert_eq!(found, listed(), "left: the code, right: {INVENTORY}");
}

#[test]
fn every_file_that_allows_unsafe_code_has_some_and_states_its_safety() {
    for file in listed().keys() {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let attribute = format!("#![allow({}_code", KEYWORD);
        assert!(text.contains(&attribute) && text.contains("// SAFETY:"), "{file}");
    }
}

/// Not as a literal, so that this file has none.
const KEYWORD: &str = concat!("un", "safe");

/// Files below `folder` that have the keyword, by their path from the root, with its number.
fn search(folder: &Path, found: &mut BTreeMap<String, usize>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            search(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let count = count(&fs::read_to_string(&path).unwrap());
            let name = path.strip_prefix(root()).unwrap().display().to_string();
            (count > 0).then(|| found.insert(name, count));
        }
    }
}

/// The keyword's number outside of comments and strings.
fn count(text: &str) -> usize {
    let code = text.lines().map(|line| {
        let unquoted: String = line.split('"').step_by(2).collect();
        unquoted.split("//").next().unwrap_or_default().to_owned()
    });
    let words = |line: String| {
        line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| *word == KEYWORD).count()
    };
    code.map(words).sum()
}

#[test]
fn comments_strings_and_longer_words_do_not_count() {
    let code =
        ["{} {{", "{}_code", "// {}", "\"{}\" {} fn", "#![allow({}_code, reason = \"{} here\")]"].join("\n");
    assert_eq!(count(&code.replace("{}", KEYWORD)), 2);
}

/// The rows of the inventory.
fn listed() -> BTreeMap<String, usize> {
    let text = fs::read_to_string(root().join(INVENTORY)).unwrap();
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
        let file = cells.next()?.trim_matches('`');
        Some((file.to_owned(), cells.next()?.parse().ok()?))
    });
    rows.collect()
}
