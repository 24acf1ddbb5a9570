//! `eqo bench`: a network nobody trained, priced by running it, and each gate on its own.

#![allow(clippy::unwrap_used, reason = "a broken assumption ends the test")]

use std::path::Path;

use e2e::{eqo, json_of, run, run_eqo};
use serde_json::Value;

const SMALL: [&str; 7] = ["bench", "model", "--arch", "cifar-resnet8", "--weight-bits", "2", "--json"];

#[test]
fn a_random_network_runs_privately_at_its_predicted_price_and_has_no_accuracy() {
    for options in
        [&["--profile", "eqo+"][..], &["--tile", "0", "--images", "2", "--batch", "2"], &["--tile", "4"]]
    {
        let measured = json_of(SMALL.iter().chain(options));
        assert_eq!(measured["mode"], "private");
        assert_eq!(measured["mismatches"], 0);
        for key in ["accuracy", "correct"] {
            assert!(measured.as_object().unwrap().contains_key(key) && measured[key].is_null(), "{key}");
        }
        let layers = measured["layers"].as_array().unwrap();
        let sum = |key: &str| -> u64 { layers.iter().map(|layer| layer[key].as_u64().unwrap()).sum() };
        let online_and_offline = sum("bytes_online") + sum("bytes_offline");
        assert_eq!(online_and_offline, sum("predicted_bytes"));
        assert_eq!(online_and_offline, measured["bytes_total"].as_u64().unwrap());
    }
}

#[test]
fn a_saved_network_is_inspected_at_the_price_it_was_measured_at() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    let measured = json_of(SMALL.iter().chain(&["--save", file.to_str().unwrap()]));
    assert_eq!(measured["model"], "cifar-resnet8-w2a6-f2x2-random");
    let inspected = json_of(["inspect", file.to_str().unwrap(), "--json"]);
    assert_eq!(inspected["predicted_bytes"], measured["bytes_total"]);
    assert_eq!(inspected["model"], measured["model"]);
    let bits: Vec<&Value> =
        inspected["layers"].as_array().unwrap().iter().map(|l| &l["weight_bits"]).collect();
    assert!(bits.contains(&&Value::from(2)) && bits.contains(&&Value::from(8)));
}

#[test]
fn nothing_is_left_behind_unless_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let ran = run(eqo(SMALL).env("TMPDIR", folder.path()));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(entries(folder.path()), 0);
}

#[test]
fn mistakes_are_refused_before_anything_runs() {
    let with =
        |option: &str, value: &str| run_eqo(["bench", "model", "--arch", "cifar-resnet8", option, value]);
    run_eqo(["bench", "model", "--arch", "resnet9"]).refused(2, &["resnet9", "cifar-resnet20"]);
    with("--weight-bits", "1").refused(2, &["--weight-bits", "2..=8"]);
    with("--act-bits", "9").refused(2, &["--act-bits", "2..=8"]);
    with("--tile", "3").refused(2, &["--tile", "0", "2", "4"]);
    with("--images", "1000000").refused(2, &["--images", "100000"]);
    with("--save", "/nowhere/model.safetensors").refused(3, &["/nowhere", "write failed"]);
}

fn entries(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[test]
fn primitives_are_measured_one_by_one_with_the_keys_of_the_contract() {
    let some = ["--elements", "1000", "--only", "and", "--only", "matmul", "--ot", "softspoken4", "--json"];
    let measured = json_of(["bench", "primitives"].iter().chain(&some));
    assert_eq!(measured["ot"], "softspoken4");
    let rows = measured["primitives"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["and", "matmul"]);
    let expected =
        "bits bits_per_element_offline bits_per_element_online elements million_per_core_second name rounds";
    for row in rows {
        let mut keys: Vec<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(keys, expected.split_whitespace().collect::<Vec<_>>());
        assert!(row["million_per_core_second"].as_f64().unwrap() > 0.0, "{row}");
    }
    assert_eq!((&rows[0]["elements"], &rows[1]["elements"]), (&Value::from(1000), &Value::from(1024)));
    run_eqo(["bench", "primitives", "--only", "xor"]).refused(2, &["--only", "xor", "requantize"]);
    run_eqo(["bench", "primitives", "--elements", "0"]).refused(2, &["--elements"]);
}
