//! The committed checkpoints: what their manifests say is what they do.

#![allow(clippy::unwrap_used, reason = "a broken assumption ends the test")]

use std::fs;

use e2e::{root, run_eqo};
use serde_json::Value;

#[test]
fn a_committed_checkpoint_has_its_stated_accuracy_and_runs_privately_at_once() {
    let mut manifests = 0;
    for entry in fs::read_dir(root().join("checkpoints/weights")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        manifests += 1;
        let manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let file = path.with_file_name(manifest["file"].as_str().unwrap());
        let data = manifest["dataset"].as_str().unwrap();
        let eval = |more: &[&str]| -> Value {
            let mut arguments = vec!["eval", file.to_str().unwrap(), "--data", data, "--json"];
            arguments.extend(more);
            let ran = run_eqo(arguments);
            assert_eq!(ran.code, 0, "{}", ran.stderr);
            serde_json::from_str(&ran.stdout).unwrap()
        };
        let plain = eval(&[]);
        assert_eq!([&plain["images"], &plain["correct"]], [&manifest["images"], &manifest["correct"]]);
        let private = eval(&["--private", "--images", "2"]);
        assert_eq!(private["mismatches"], 0);
    }
    assert!(manifests > 0, "checkpoints/weights holds a manifest");
}
