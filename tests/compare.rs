//! `eqo compare`: accuracy against bytes, predicted and measured, of runs as they lie in their folders.

#![allow(clippy::unwrap_used, reason = "a broken assumption ends the test")]

use std::fs;
use std::path::{Path, PathBuf};

use e2e::{eqo, image_folder, json_of, root, run, run_eqo};
use serde_json::{Value, json};

#[test]
fn both_parties_measure_what_was_predicted_and_the_engine_counts_what_the_manifest_says() {
    let committed = committed();
    let labelled = format!("demo/W4={}", committed.display());
    let arguments = ["compare", &labelled, "--data", "synthetic", "--private", "3", "--batch", "2", "--json"];
    let compared = json_of(arguments);
    let row = &compared["runs"][0];
    let manifest: Value =
        serde_json::from_slice(&fs::read(committed.with_extension("json")).unwrap()).unwrap();
    for key in ["images", "correct", "arch"] {
        assert_eq!(row[key], manifest[key], "{key}");
    }
    assert_eq!(row["accuracy_from"], "engine");
    assert_eq!((&row["mismatches"], &row["equal"]), (&json!(0), &json!(true)));
    assert_eq!(row["measured_bytes"], row["predicted_bytes"]);
    assert_eq!(row["measured_bytes_online"], row["predicted_bytes_online"]);
    assert_eq!(row["session_images"], 3);
    assert_eq!(row["bytes_per_image"].as_f64().unwrap() * 3.0, row["measured_bytes"].as_f64().unwrap());
    let private = json_of([
        "eval",
        path(&committed),
        "--data",
        "synthetic",
        "--private",
        "--images",
        "3",
        "--batch",
        "2",
        "--json",
    ]);
    assert_eq!(row["measured_bytes"], private["bytes_total"]);
}

#[test]
fn without_a_private_run_the_bytes_are_those_of_inspect_and_the_accuracy_is_the_reports() {
    let folder = tempfile::tempdir().unwrap();
    let run = run_folder(folder.path(), "demo", &own_report());
    let compared = json_of(["compare", path(&run), "--batch", "5", "--json"]);
    let inspected = json_of(["inspect", path(&committed()), "--batch", "5", "--json"]);
    let row = &compared["runs"][0];
    for key in ["predicted_bytes", "predicted_bytes_online", "graph"] {
        assert_eq!(row[key], inspected[key], "{key}");
    }
    assert_eq!(
        [&row["correct"], &row["images"], &row["accuracy_from"]],
        [&json!(960), &json!(1000), &json!("report")]
    );
    assert_eq!((&row["name"], row["act_bits"].as_f64()), (&json!("demo"), Some(6.0)));
    let bits = row["weight_bits"].as_f64().unwrap();
    assert!(bits > 4.0 && bits < 4.5, "4 bits but for the first and the last layer's 8, found {bits}");
    assert!(row.get("measured_bytes").is_none() && row.get("mismatches").is_none());
}

#[test]
fn labels_name_runs_and_series_and_the_page_shows_them() {
    let folder = tempfile::tempdir().unwrap();
    run_folder(folder.path(), "a", &own_report());
    let arguments = ["compare", "uniform/W4 & <b>=a", "plain=a/model.safetensors", "a", "--out"];
    let ran = run(eqo(arguments).current_dir(folder.path()));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for word in ["uniform/W4 & <b>", "plain", "cifar-resnet8", "96.00%", "MB an image"] {
        assert!(ran.stdout.contains(word), "{word}: {}", ran.stdout);
    }
    assert_eq!(entries(folder.path()), ["a", "compare.html"], "no .part is left");
    let page = fs::read_to_string(folder.path().join("compare.html")).unwrap();
    assert_eq!(page.matches("<svg").count(), 1);
    assert!(page.contains("uniform/W4 &amp; &lt;b&gt;") && !page.contains("<b>"));
    assert!(!page.contains("src=") && !page.contains("href="), "the page refers to nothing outside");

    let json = run(eqo(arguments[..4].iter().chain(&["--json"])).current_dir(folder.path())).json();
    let of = |key: &str| -> Vec<&str> {
        json["runs"].as_array().unwrap().iter().map(|row| row[key].as_str().unwrap()).collect()
    };
    assert_eq!(of("series"), ["uniform", "plain", "runs"]);
    assert_eq!(of("name"), ["uniform/W4 & <b>", "plain", "a"]);
    let optimal = json["runs"].as_array().unwrap().iter().all(|row| row["pareto"] == true);
    assert!(optimal, "equal runs are optimal together");
}

#[test]
fn nothing_is_written_unless_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    run_folder(folder.path(), "a", &own_report());
    assert_eq!(run(eqo(["compare", "a"]).current_dir(folder.path())).code, 0);
    assert_eq!(entries(folder.path()), ["a"]);
}

#[test]
fn a_missing_or_unfinished_run_is_named_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let run = run_folder(folder.path(), "done", &own_report());
    run_eqo(["compare", path(&run), "uniform=no/such-run"])
        .refused(3, &["no/such-run", "expected", "folder"]);
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    run_eqo(["compare", path(&run), path(&empty)])
        .refused(3, &["empty", "model.safetensors", "eqo quantize"]);
    let cut = empty.join("model.safetensors");
    fs::write(&cut, &fs::read(committed()).unwrap()[..5000]).unwrap();
    run_eqo(["compare", path(&run), path(&empty)]).refused(3, &["empty/model.safetensors"]);
}

#[test]
fn the_report_of_another_checkpoint_or_of_other_images_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images");
    image_folder(&images, &committed(), 12);
    let counted = json_of(["eval", path(&committed()), "--data", path(&images), "--json"]);
    let [mut other, mut counts, mut impossible] = [own_report(), own_report(), own_report()];
    other["graph_hash"] = "00".repeat(32).into();
    counts["integer"]["correct"] = 961.into();
    impossible["integer"]["correct"] = 1001.into();
    for (name, report, reason) in [
        ("other", other, "another checkpoint"),
        ("counts", counts, "961 of 1000"),
        ("impossible", impossible, "1001 of 1000"),
        ("empty", json!({}), "no report"),
        ("own", own_report(), "of 1000 images"),
    ] {
        let run = run_folder(folder.path(), name, &report);
        let run = path(&run);
        if name != "own" {
            run_eqo(["compare", run]).refused(2, &[name, "report.json", reason, "--data"]);
        }
        let ran = run_eqo(["compare", run, "--data", path(&images), "--json"]);
        assert!(ran.code == 0 && ran.stderr.contains(reason), "{}", ran.stderr);
        let row = &ran.json()["runs"][0];
        assert_eq!([&row["images"], &row["correct"]], [&counted["images"], &counted["correct"]], "{name}");
        assert_eq!(row["accuracy_from"], "engine", "{name}");
    }
}

#[test]
fn mistakes_on_the_command_line_are_refused() {
    let run = committed();
    let run = path(&run);
    run_eqo(["compare"]).refused(2, &["RUN"]);
    run_eqo(["compare", run]).refused(2, &["report", "--data FOLDER"]);
    run_eqo(["compare", run, "--private", "2"]).refused(2, &["--data"]);
    run_eqo(["compare", run, "--data", "synthetic", "--private", "0"]).refused(2, &["at least 1"]);
    run_eqo(["compare", "--out", run, run]).refused(2, &["--out", "page"]);
    run_eqo(["compare", run, "--out", "no/such/page.html"]).refused(2, &["--out", "no/such"]);
    run_eqo(["compare", "=no/such"]).refused(2, &["LABEL=RUN"]);
    run_eqo(["compare", run, "--data", "no/such"]).refused(3, &["no/such"]);
}

fn committed() -> PathBuf {
    root().join("checkpoints/weights/synthetic-resnet8-w4a6.safetensors")
}

/// What `eqo quantize` would have written beside the committed checkpoint, as far as a comparison reads it.
fn own_report() -> Value {
    let inspected = json_of(["inspect", path(&committed()), "--json"]);
    json!({ "graph_hash": inspected["graph"], "integer": { "correct": 960, "images": 1000, "accuracy": 0.96 } })
}

/// The committed checkpoint as a run `name` with `report`.
fn run_folder(folder: &Path, name: &str, report: &Value) -> PathBuf {
    let run = folder.join(name);
    fs::create_dir(&run).unwrap();
    fs::copy(committed(), run.join("model.safetensors")).unwrap();
    fs::write(run.join("report.json"), report.to_string()).unwrap();
    run
}

fn entries(folder: &Path) -> Vec<String> {
    let entries =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut entries: Vec<String> = entries.collect();
    entries.sort();
    entries
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
