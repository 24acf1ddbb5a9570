//! Which crate may use which, and that a party's machine builds no Burn.

#![allow(clippy::unwrap_used, reason = "a broken assumption ends the test")]

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

/// DESIGN §1. Whatever isn't here is forbidden.
const ALLOWED: [(&str, &[&str]); 7] = [
    ("eqo-datasets", &[]),
    ("eqo-checkpoints", &[]),
    ("eqo-train", &["eqo-datasets", "eqo-checkpoints"]),
    ("eqo-quant", &["eqo-train", "eqo-datasets", "eqo-checkpoints"]),
    ("eqo-protocol", &["eqo-checkpoints", "eqo-datasets"]),
    ("eqo", &["eqo-train", "eqo-quant", "eqo-datasets", "eqo-checkpoints", "eqo-protocol"]),
    ("e2e", &["eqo-train", "eqo-quant", "eqo-datasets", "eqo-checkpoints", "eqo-protocol"]),
];

#[test]
fn crates_use_only_what_the_design_allows() {
    let packages = packages();
    let members: BTreeSet<&str> = packages.iter().map(name).collect();
    let listed: BTreeSet<&str> = ALLOWED.iter().map(|(name, _)| *name).collect();
    assert_eq!(members, listed, "a new crate needs its line in ALLOWED and in ARCHITECTURE.md");
    for package in &packages {
        let (_, allowed) = ALLOWED.iter().find(|(known, _)| *known == name(package)).unwrap();
        for dependency in package["dependencies"].as_array().unwrap() {
            let used = name(dependency);
            // A crate may test itself with its own `testing` feature.
            let forbidden = members.contains(used) && used != name(package) && !allowed.contains(&used);
            assert!(!forbidden, "{} must not use {used}; it may use {allowed:?}", name(package));
        }
    }
}

#[test]
fn only_train_and_quant_use_burn() {
    for package in packages() {
        let burn =
            package["dependencies"].as_array().unwrap().iter().any(|used| name(used).starts_with("burn"));
        assert!(
            !burn || ["eqo-train", "eqo-quant"].contains(&name(&package)),
            "{} uses Burn",
            name(&package)
        );
    }
}

#[test]
fn a_build_without_train_contains_no_burn() {
    let tree = |features: &[&str]| {
        let arguments =
            ["tree", "--locked", "--package", "eqo", "--prefix", "none", "--edges", "normal,build"];
        cargo(&[&arguments[..], features].concat())
    };
    let has_burn =
        |tree: &str| tree.lines().any(|line| line.starts_with("burn") || line.starts_with("eqo-train"));
    assert!(has_burn(&tree(&[])), "the default build trains");
    assert!(!has_burn(&tree(&["--no-default-features"])));
}

fn packages() -> Vec<Value> {
    let metadata = cargo(&["metadata", "--locked", "--no-deps", "--format-version", "1"]);
    let mut metadata: Value = serde_json::from_str(&metadata).unwrap();
    serde_json::from_value(metadata["packages"].take()).unwrap()
}

fn name(package: &Value) -> &str {
    package["name"].as_str().unwrap()
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(e2e::root()).output().unwrap();
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
