//! Two real processes over TCP give exactly the integer engine's logits at exactly the predicted price.

#![allow(clippy::unwrap_used, reason = "a broken assumption ends the test")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::{Server, image_folder, json_of, run_eqo, tiny_checkpoint};
use eqo_checkpoints::engine::{Engine, class_of};
use eqo_checkpoints::format::Checkpoint;
use eqo_datasets::load_image;
use serde_json::Value;

#[test]
fn private_evaluation_has_no_mismatch_and_costs_what_was_predicted() {
    let folder = tempfile::tempdir().unwrap();
    image_folder(folder.path(), &tiny_checkpoint(), 5);
    let plain = evaluate(folder.path(), &[]);
    for options in
        [&["--batch", "1"][..], &["--batch", "2"], &["--ot", "softspoken1"], &["--ot", "softspoken8"]]
    {
        let private = evaluate(folder.path(), &[&["--private"], options].concat());
        assert_eq!(private["mismatches"], 0, "{options:?}");
        assert_eq!((&private["images"], &private["correct"]), (&plain["images"], &plain["correct"]));
        let layers = private["layers"].as_array().unwrap();
        for layer in layers {
            assert_eq!(
                sum(&[layer], &["bytes_offline", "bytes_online"]),
                sum(&[layer], &["predicted_bytes"]),
                "{layer}"
            );
        }
        let layers: Vec<&Value> = layers.iter().collect();
        assert_eq!(
            sum(&layers, &["bytes_offline", "bytes_online"]),
            private["bytes_total"].as_u64().unwrap()
        );
    }
}

#[test]
fn a_network_is_named_and_changes_nothing_but_time() {
    let folder = tempfile::tempdir().unwrap();
    image_folder(folder.path(), &tiny_checkpoint(), 1);
    let plain = evaluate(folder.path(), &["--private"]);
    let shaped = evaluate(folder.path(), &["--private", "--network", "100,2"]);
    assert_eq!((&shaped["mismatches"], shaped["network"].as_str()), (&Value::from(0), Some("100,2")));
    for key in ["bytes_total", "rounds_online", "correct"] {
        assert_eq!(plain[key], shaped[key], "{key}");
    }
    let rounds = shaped["rounds_online"].as_f64().unwrap();
    assert!(
        shaped["seconds"].as_f64().unwrap() >= 0.001 * (rounds - 1.0),
        "every round waits for the network"
    );
    run_eqo(["eval", "x.safetensors", "--data", "x", "--network", "lan"]).refused(2, &["--private"]);
}

#[test]
fn evaluations_have_the_keys_of_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    image_folder(folder.path(), &tiny_checkpoint(), 2);
    let plain = ["accuracy", "correct", "images", "mode", "model", "seconds"];
    assert_eq!(keys(&evaluate(folder.path(), &[])), BTreeSet::from(plain.map(String::from)));
    let private = evaluate(folder.path(), &["--private"]);
    let more = "mismatches profile ot batch bytes_offline bytes_online bytes_total rounds_offline rounds_online \
                seconds_offline seconds_online peak_memory_client peak_memory_server layers";
    // Not every system tells the peaks.
    let told = |key: &&str| cfg!(target_os = "linux") || !key.starts_with("peak_memory");
    let expected: BTreeSet<_> =
        plain.into_iter().chain(more.split_whitespace().filter(told)).map(String::from).collect();
    assert_eq!(keys(&private), expected);
    let layer = ["bytes_offline", "bytes_online", "node", "op", "predicted_bytes", "rounds_online"];
    assert_eq!(keys(&private["layers"][0]), BTreeSet::from(layer.map(String::from)));
}

#[test]
fn inspect_lists_every_node_and_foretells_the_private_run() {
    let folder = tempfile::tempdir().unwrap();
    image_folder(folder.path(), &tiny_checkpoint(), 1);
    let tiny = tiny_checkpoint();
    let inspected = json_of(["inspect".as_ref(), tiny.as_os_str(), "--json".as_ref()]);
    let layers = inspected["layers"].as_array().unwrap();
    let expected = "node op algorithm weight_bits exponents act_bits ring_bits predicted_bytes";
    for key in expected.split_whitespace() {
        assert!(layers.iter().all(|layer| layer.get(key).is_some()), "{key}");
    }
    let measured = evaluate(folder.path(), &["--private"]);
    assert_eq!(inspected["predicted_bytes"], measured["bytes_total"]);
    let column = |json: &Value| -> Vec<_> {
        json["layers"].as_array().unwrap().iter().map(|layer| layer["predicted_bytes"].clone()).collect()
    };
    assert_eq!(column(&inspected), column(&measured));
    let checkpoint = Checkpoint::read(&tiny).unwrap();
    for node in checkpoint.graph().nodes() {
        assert!(layers.iter().any(|layer| layer["node"] == node.name.as_str()), "{}", node.name);
    }
}

#[test]
fn infer_prints_the_integer_engines_logits_one_object_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let files = image_folder(folder.path(), &tiny_checkpoint(), 3);
    let server = Server::start(&tiny_checkpoint(), &["--sessions", "2"]);
    for batch in ["1", "2"] {
        let arguments =
            ["infer", "--insecure-plaintext", "--server", &server.address, "--json", "--batch", batch];
        let ran =
            run_eqo(arguments.iter().map(AsRef::as_ref).chain(files.iter().map(|file| file.as_os_str())));
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let lines: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), files.len());
        for (file, line) in files.iter().zip(&lines) {
            let logits = plain_logits(file);
            assert_eq!(line["logits"], Value::from(logits.clone()));
            assert_eq!(line["class"], class_of(&logits));
            assert!(line["bytes_total"].as_u64().unwrap() > 0 && line["seconds"].as_f64().unwrap() > 0.0);
        }
    }
    assert_eq!(server.wait().0, 0, "two sessions were asked for and two were served");
}

#[test]
fn two_clients_are_served_at_the_same_time() {
    let folder = tempfile::tempdir().unwrap();
    let files = image_folder(folder.path(), &tiny_checkpoint(), 2);
    let server = Server::start(&tiny_checkpoint(), &[]);
    let ask = |file: &PathBuf| {
        json_of([
            "infer".as_ref(),
            "--insecure-plaintext".as_ref(),
            "--server".as_ref(),
            server.address.as_ref(),
            "--json".as_ref(),
            file.as_os_str(),
        ])
    };
    let answers: Vec<Value> = std::thread::scope(|scope| {
        let asking: Vec<_> = files.iter().map(|file| scope.spawn(move || ask(file))).collect();
        asking.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (file, answer) in files.iter().zip(answers) {
        assert_eq!(answer["logits"], Value::from(plain_logits(file)));
    }
}

#[test]
fn the_expected_graph_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let file = image_folder(folder.path(), &tiny_checkpoint(), 1).remove(0);
    let tiny = tiny_checkpoint();
    let inspected = json_of(["inspect".as_ref(), tiny.as_os_str(), "--json".as_ref()]);
    let server = Server::start(&tiny, &[]);
    let graph = inspected["graph"].as_str().unwrap();
    json_of([
        "infer",
        "--insecure-plaintext",
        "--server",
        &server.address,
        "--expect-graph",
        graph,
        "--json",
        file.to_str().unwrap(),
    ]);
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_a_server_cleanly() {
    let server = Server::start(&tiny_checkpoint(), &[]);
    let sent = Command::new("kill").args(["-INT", &server.id().to_string()]).status().unwrap();
    assert!(sent.success());
    assert_eq!(server.wait().0, 0);
}

fn evaluate(folder: &Path, options: &[&str]) -> Value {
    let tiny = tiny_checkpoint();
    let arguments = ["eval", tiny.to_str().unwrap(), "--data", folder.to_str().unwrap(), "--json"];
    json_of(arguments.iter().chain(options))
}

fn plain_logits(file: &Path) -> Vec<i64> {
    let checkpoint = Checkpoint::read(&tiny_checkpoint()).unwrap();
    let engine = Engine::new(checkpoint.graph().clone(), checkpoint.weights()).unwrap();
    engine.run(load_image(file, None).unwrap().pixels()).unwrap()
}

fn sum(layers: &[&Value], keys: &[&str]) -> u64 {
    layers.iter().flat_map(|layer| keys.iter().map(|key| layer[key].as_u64().unwrap())).sum()
}

fn keys(object: &Value) -> BTreeSet<String> {
    object.as_object().unwrap().keys().cloned().collect()
}
