//! The documents tell the truth: their commands parse, the files they name exist.

#![allow(clippy::unwrap_used, reason = "a broken assumption ends the test")]

use std::fs;
use std::path::{Path, PathBuf};

use e2e::{root, run_eqo};

#[test]
fn every_command_in_the_documents_parses() {
    let mut checked = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for command in text.lines().filter_map(eqo_command) {
            // With --help at its end a command line is parsed, options, values and all, and not run.
            let words: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
            let ran = run_eqo(&words);
            assert_eq!(ran.code, 0, "{}: eqo {}: {}", document.display(), command.join(" "), ran.stderr);
            for recipe in command.iter().filter(|word| word.starts_with("configs/")) {
                assert!(root().join(recipe).is_file(), "{}: {recipe} isn't there", document.display());
            }
            checked += 1;
        }
    }
    assert!(checked >= 5, "README.md shows the commands that matter, found {checked}");
}

#[test]
fn every_link_to_a_file_leads_to_one() {
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for target in links(&text) {
            let file = document.parent().unwrap().join(&target);
            assert!(file.exists(), "{}: link to {target}, which isn't there", document.display());
        }
    }
}

/// README, ARCHITECTURE and every other Markdown file that lies at most one folder deep.
fn documents() -> Vec<PathBuf> {
    let folders = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    let ours = |path: &PathBuf| path.is_dir() && !path.ends_with("target") && !path.ends_with("runs");
    let folders = folders.filter(ours).chain([root().to_owned()]);
    let found: Vec<_> = folders.flat_map(|folder| markdown_in(&folder)).collect();
    assert!(found.iter().any(|path| path.ends_with("README.md")));
    found
}

fn markdown_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

/// The words after `eqo` in a line that is a command of ours, without comments, pipes and placeholders.
fn eqo_command(line: &str) -> Option<Vec<String>> {
    let line = line.trim().trim_start_matches("$ ");
    let line = ["eqo ", "cargo run --release -- ", "cargo run --release --no-default-features -- "]
        .iter()
        .find_map(|prefix| line.strip_prefix(prefix))?;
    let command = line.split([';', '|', '>', '&']).next()?.split(" #").next()?;
    let words: Vec<String> =
        command.split_whitespace().map(|word| word.replace(['[', ']', '…'], "")).collect();
    (!words.is_empty()).then_some(words)
}

/// Targets of Markdown links that aren't addresses or anchors.
fn links(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files = targets.filter(|target| !target.contains("://") && !target.starts_with('#'));
    files.map(|target| target.split('#').next().unwrap_or_default().to_owned()).collect()
}
