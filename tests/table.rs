//! `eqo bench table` and `eqo bench study`: protocols executed beside each other, and the tables in the documents.

#![allow(clippy::unwrap_used, reason = "a broken assumption ends the test")]

use std::fs;

use e2e::{json_of, root, run_eqo};
use serde_json::Value;

/// The row of a profile.
fn row<'v>(table: &'v Value, profile: &str) -> &'v Value {
    let rows = table["rows"].as_array().unwrap();
    rows.iter().find(|row| row["profile"] == profile).unwrap_or_else(|| panic!("{profile} in {rows:?}"))
}

#[test]
fn protocols_are_executed_beside_each_other_and_their_bytes_are_the_operators_sum() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let measured = json_of([
        "bench",
        "table",
        "--models",
        "cifar-resnet8",
        "--profiles",
        "sirnn,coinn,eqo+",
        "--network",
        "loopback",
        "--json",
        "--out",
        out,
    ]);
    for profile in ["sirnn", "coinn", "eqo+"] {
        let row = row(&measured, profile);
        assert_eq!((&row["executed"], &row["mismatches"]), (&Value::from(true), &Value::from(0)));
        let operators = row["operators"].as_array().unwrap();
        for key in ["bytes_offline", "bytes_online"] {
            let sum: u64 = operators.iter().map(|operator| operator[key].as_u64().unwrap()).sum();
            assert_eq!(sum, row[key].as_u64().unwrap(), "{profile}, {key}");
        }
        assert!(row["seconds_total"].as_f64() >= row["seconds_online"].as_f64());
        assert!(row["accuracy"].is_null(), "random weights have none");
        let ratio = row["ratio_to_sirnn"].as_f64().unwrap();
        let bytes = |row: &Value| row["bytes_total"].as_f64().unwrap();
        assert!(
            (ratio - bytes(self::row(&measured, "sirnn")) / bytes(row)).abs() < 1e-9,
            "{profile}: {ratio}"
        );
    }
    assert!(row(&measured, "eqo+")["ratio_to_sirnn"].as_f64().unwrap() > 35.0);
    let written: Value =
        serde_json::from_slice(&fs::read(folder.path().join("table.json")).unwrap()).unwrap();
    assert_eq!(written, measured);
    let page = fs::read_to_string(folder.path().join("table.html")).unwrap();
    assert_eq!(page.matches("<svg").count(), 3, "by operator, by phase, time");
    let markdown = fs::read_to_string(folder.path().join("table.md")).unwrap();
    assert_eq!(markdown.lines().filter(|line| line.starts_with("| cifar-resnet8 |")).count(), 3);
}

#[test]
fn what_is_not_run_is_modelled_with_the_same_bytes_and_its_layers_run_alone() {
    let table = |options: &[&str]| {
        let fixed = ["bench", "table", "--models", "cifar-resnet8", "--profiles", "coinn", "--json"];
        json_of(fixed.iter().chain(options))
    };
    let (run, modelled) = (table(&[]), table(&["--execute-up-to", "1000", "--layers"]));
    let (run, modelled) = (row(&run, "coinn"), row(&modelled, "coinn"));
    for key in
        ["bytes_offline", "bytes_online", "bytes_total", "rounds_online", "operators", "ratio_to_sirnn"]
    {
        assert_eq!(run[key], modelled[key], "{key}");
    }
    for key in ["seconds_online", "seconds_total", "mismatches", "peak_memory_client"] {
        assert!(modelled[key].is_null() && !run[key].is_null(), "{key}");
    }
    assert_eq!(modelled["executed"], false);
    let layers = modelled["layers"].as_array().unwrap();
    assert!(
        layers.len() > 4 && layers.iter().all(|layer| layer["bytes"].as_u64().unwrap() > 0),
        "{layers:?}"
    );
}

#[test]
fn a_trained_checkpoint_brings_its_accuracy_if_its_report_is_there() {
    let checkpoint =
        format!("eqo+={}", root().join("checkpoints/weights/synthetic-resnet8-w4a6.safetensors").display());
    let arguments =
        ["bench", "table", "--profiles", "eqo+", "--json", "--checkpoint", &checkpoint, "--models"];
    let with = |models: &str| run_eqo(arguments.iter().chain(&[models]));
    let ran = with("cifar-resnet8");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("no accuracy") && row(&ran.json(), "eqo+")["accuracy"].is_null());
    assert_eq!(row(&ran.json(), "eqo+")["executed"], true);
    with("cifar-resnet20").refused(2, &["synthetic-resnet8-w4a6", "--models", "cifar-resnet20"]);
}

#[test]
fn wrong_names_are_refused_with_the_known_ones() {
    let table = |options: &[&str]| run_eqo(["bench", "table"].iter().chain(options));
    table(&["--models", "cifar-resnet9", "--profiles", "sirnn"])
        .refused(2, &["cifar-resnet9", "cifar-resnet8"]);
    table(&["--models", "cifar-resnet8", "--profiles", "cheetah"])
        .refused(2, &["cheetah", "cryptflow2", "eqo+"]);
    let network = ["--models", "cifar-resnet8", "--profiles", "eqo", "--network", "lte"];
    table(&network).refused(2, &["lte", "loopback", "wan"]);
    table(&["--models", "cifar-resnet8"]).refused(2, &["--profiles"]);
    let plan = ["--models", "cifar-resnet8", "--profiles", "eqo", "--plan", "sirnn=plan.toml"];
    table(&plan).refused(2, &["sirnn", "eqo+"]);
    table(&["--from", "Cargo.toml"]).refused(3, &["Cargo.toml", "--out"]);
    run_eqo(["bench", "study", "--arch", "resnet9"]).refused(2, &["resnet9", "cifar-resnet8"]);
}

#[test]
fn every_step_of_the_study_is_executed_and_those_of_one_network_give_its_logits() {
    let study = json_of(["bench", "study", "--arch", "cifar-resnet8", "--weight-bits", "2", "--json"]);
    let rows = study["rows"].as_array().unwrap();
    let steps: Vec<&str> = rows.iter().map(|row| row["step"].as_str().unwrap()).collect();
    assert_eq!(steps[..4], ["SiRNN", "Winograd", "quantization", "fusion"]);
    assert_eq!(steps[steps.len() - 1], "proven rings");
    let bytes: Vec<u64> = rows.iter().map(|row| row["bytes_total"].as_u64().unwrap()).collect();
    for (at, row) in rows.iter().enumerate() {
        assert_eq!(row["mismatches"], 0, "{row}");
        let (before, first) = (bytes[at.saturating_sub(1)] as f64, bytes[0] as f64);
        let ratios = [&row["ratio_to_previous"], &row["ratio_to_sirnn"]].map(|ratio| ratio.as_f64().unwrap());
        let expected = [before, first].map(|bytes_of| bytes_of / bytes[at] as f64);
        assert!(ratios.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9), "{row}");
    }
    for saves in ["Winograd", "quantization", "fusion", "MSB known", "residual", "silent OT", "proven rings"]
    {
        let at = steps.iter().position(|step| *step == saves).unwrap();
        assert!(bytes[at] < bytes[at - 1], "{saves}: {} after {}", bytes[at], bytes[at - 1]);
    }
}

#[test]
fn the_tables_in_the_documents_are_those_of_their_json() {
    for (command, json, document) in [
        ("table", "docs/benchmarks.json", "README.md"),
        ("table", "docs/benchmarks.json", "docs/benchmarks.md"),
        ("table", "docs/benchmarks-imagenet.json", "docs/benchmarks.md"),
        ("study", "docs/study.json", "docs/benchmarks.md"),
    ] {
        let ran = run_eqo(["bench", command, "--from", json, "--markdown"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let text = fs::read_to_string(root().join(document)).unwrap();
        let (begin, end) = (format!("<!-- {json}: begin -->\n"), format!("<!-- {json}: end -->"));
        let found = text.split_once(&begin).and_then(|(_, rest)| rest.split_once(&end));
        let (found, _) = found.unwrap_or_else(|| panic!("{document} has no part for {json}"));
        let next = format!("put the output of `eqo bench {command} --from {json} --markdown` there");
        assert_eq!(found, ran.stdout, "{document}: {next}");
    }
}
