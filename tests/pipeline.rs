//! The whole pipeline with very few steps: accuracy is nobody's claim here, equality is.

#![allow(clippy::unwrap_used, reason = "a broken assumption ends the test")]

use std::fs;

use e2e::{Server, json_of, run_eqo};
use serde_json::Value;

/// Seconds of work instead of minutes.
const SHORT: [&str; 7] = [
    "data.train_images=200",
    "data.test_images=40",
    "data.calibration_images=20",
    "float.steps=3",
    "float.batch_size=20",
    "qat.steps=2",
    "qat.batch_size=20",
];

#[test]
fn the_demo_ends_with_no_mismatch_and_leaves_what_it_promises() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let evaluation = json_of(short(&["demo", "--json", "--images", "2", "--out", out]));
    assert_eq!((&evaluation["mode"], &evaluation["images"]), (&"private".into(), &2.into()));
    assert_eq!(evaluation["mismatches"], 0);

    let page = fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert_eq!(page.matches("<svg").count(), 2);
    assert!(!page.contains("src=") && !page.contains("href="), "the report refers to nothing outside");
    for entry in walk(folder.path()) {
        assert!(!entry.ends_with(".part"), "{entry} is left over");
    }

    let images: Vec<String> = walk(&folder.path().join("images"));
    assert_eq!(images.len(), 2);
    let checkpoint = folder.path().join("model.safetensors");
    let server = Server::start(&checkpoint, &["--sessions", "1"]);
    let arguments =
        ["infer", "--insecure-plaintext", "--server", &server.address, "--json"].map(String::from);
    let ran = run_eqo(arguments.into_iter().chain(images));
    assert_eq!((ran.code, ran.stdout.lines().count()), (0, 2), "{}", ran.stderr);
}

#[test]
fn quantize_skips_fresh_stages_and_keeps_a_finished_run_of_another_recipe() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let quantize = |more: &[&str]| {
        let mut arguments = short(&["quantize", "configs/demo.toml", "--json", "--out", out]);
        arguments.extend(more.iter().map(|&word| word.to_owned()));
        run_eqo(arguments)
    };
    let first = quantize(&[]);
    assert_eq!(first.code, 0, "{}", first.stderr);
    let exported = fs::read(folder.path().join("model.safetensors")).unwrap();
    let again = quantize(&[]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    let trained = |json: &Value| ["float", "qat"].map(|stage| json["seconds"].get(stage).is_some());
    assert_eq!((trained(&first.json()), trained(&again.json())), ([true; 2], [false; 2]));
    assert_eq!(
        fs::read(folder.path().join("model.safetensors")).unwrap(),
        exported,
        "seeds decide everything"
    );

    quantize(&["--set", "qat.steps=1"]).refused(2, &["--force", out]);
    assert_eq!(fs::read(folder.path().join("model.safetensors")).unwrap(), exported);
    assert_eq!(quantize(&["--set", "qat.steps=1", "--force"]).code, 0);
}

/// Networks that PyTorch wrote, with a 7x7 stem, max poolings, bottlenecks, a flattened map.
#[test]
fn onnx_models_are_quantized_and_run_privately_without_a_mismatch() {
    let folder = tempfile::tempdir().unwrap();
    for network in ["residual-traced", "plain-exported"] {
        let model = format!("train/fixtures/networks/{network}.onnx");
        let out = folder.path().join(network);
        let mut arguments =
            short(&["quantize", "configs/demo.toml", "--json", "--out", out.to_str().unwrap()]);
        let weights = format!("model.weights={model}");
        arguments.extend(["--set", "model.arch=onnx", "--set", &weights].map(String::from));
        json_of(arguments);
        let checkpoint = out.join("model.safetensors");
        let evaluate = [
            "eval",
            checkpoint.to_str().unwrap(),
            "--data",
            "synthetic",
            "--images",
            "2",
            "--private",
            "--json",
        ];
        let private = json_of(evaluate);
        assert_eq!((&private["images"], &private["mismatches"]), (&2.into(), &0.into()), "{network}");
        let float =
            json_of(["eval", &model, "--arch", "onnx", "--data", "synthetic", "--images", "20", "--json"]);
        assert_eq!(float["images"], 20, "{network}");
    }
}

#[test]
fn float_weights_evaluate_to_what_training_said() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let trained = json_of(short(&["train", "configs/demo.toml", "--json", "--out", out]));
    assert_eq!((&trained["stage"], &trained["images"]), (&"float".into(), &40.into()));
    let weights = trained["weights"].as_str().unwrap();
    let evaluated = json_of([
        "eval",
        weights,
        "--arch",
        "cifar-resnet8",
        "--data",
        "synthetic",
        "--images",
        "40",
        "--json",
        "--mean",
        "0.5,0.5,0.5",
        "--std",
        "0.25,0.25,0.25",
    ]);
    assert_eq!((&evaluated["mode"], &evaluated["correct"]), (&"float".into(), &trained["correct"]));
}

#[test]
fn a_learning_rate_sweep_leaves_a_curve_and_a_plot_and_no_weights() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let sweep = ["train", "configs/demo.toml", "--lr-find", "--json", "--out", out];
    let mut arguments = short(&sweep);
    // The later of two overrides holds.
    arguments.extend(["--set", "float.batch_size=2"].map(str::to_owned));
    let found = json_of(arguments);
    assert_eq!(found["stage"], "float");
    let rows = fs::read_to_string(folder.path().join("lr_find.csv")).unwrap().lines().count();
    assert_eq!(found["steps"].as_u64().unwrap() as usize, rows - 1);
    assert!(fs::read_to_string(folder.path().join("lr_find.svg")).unwrap().contains("<polyline"));
    assert!(walk(folder.path()).iter().all(|file| !file.ends_with(".safetensors")));
    run_eqo(["train", "configs/demo.toml", "--lr-find", "--resume"]).refused(2, &["--resume"]);
}

/// `arguments` and the overrides that make a recipe short.
fn short(arguments: &[&str]) -> Vec<String> {
    let overrides = SHORT.into_iter().flat_map(|assignment| ["--set", assignment]);
    arguments.iter().copied().chain(overrides).map(str::to_owned).collect()
}

/// Every file of a folder.
fn walk(folder: &std::path::Path) -> Vec<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path.to_str().unwrap().to_owned()) }
    }
    files.sort();
    files
}
