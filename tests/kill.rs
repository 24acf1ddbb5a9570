//! SIGKILL at any moment: the other party hears of it, what was written is whole, and what resumes ends as if nothing had happened.

#![allow(clippy::unwrap_used, reason = "a broken assumption ends the test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use e2e::{Server, eqo, image_folder, run, run_eqo, tiny_checkpoint};
use eqo_checkpoints::format::Checkpoint;

/// A checkpoint that takes long enough to be killed at, and images for it.
fn parties(folder: &Path) -> (PathBuf, Vec<String>) {
    let checkpoint = e2e::root().join("checkpoints/weights/synthetic-resnet8-w4a6.safetensors");
    let images = folder.join("images");
    image_folder(&images, &checkpoint, 6);
    let of_class = |class: fs::DirEntry| fs::read_dir(class.path()).unwrap();
    let files = fs::read_dir(images).unwrap().flat_map(|class| of_class(class.unwrap()));
    (checkpoint, files.map(|file| file.unwrap().path().to_str().unwrap().to_owned()).collect())
}

fn infer(address: &str, images: &[String]) -> Command {
    let mut command =
        eqo(["infer", "--insecure-plaintext", "--timeout", "30", "--json", "--server", address]);
    command.args(images);
    command
}

/// Starts `command`, and kills it after this share of `whole`; whether it was still at work.
fn kill(mut command: Command, whole: Duration, share: f64) -> bool {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    thread::sleep(whole.mul_f64(share));
    let done = child.try_wait().unwrap().is_some();
    let _ = child.kill();
    child.wait().unwrap();
    !done
}

#[test]
fn a_client_whose_server_is_killed_ends_with_an_error_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoint, images) = parties(folder.path());
    let server = Server::start(&checkpoint, &[]);
    let since = Instant::now();
    assert_eq!(run(&mut infer(&server.address, &images)).code, 0);
    let whole = since.elapsed();
    let mut cut_off = 0;
    for share in [0.05, 0.2, 0.4, 0.6, 0.8] {
        let server = Server::start(&checkpoint, &[]);
        let mut client = infer(&server.address, &images);
        let client = thread::spawn(move || run(&mut client));
        thread::sleep(whole.mul_f64(share));
        // SIGKILL.
        drop(server);
        let ran = client.join().unwrap();
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
        assert!(ran.code == 4 && !ran.stderr.is_empty() || ran.code == 0, "{}: {}", ran.code, ran.stderr);
        cut_off += usize::from(ran.code == 4);
    }
    assert!(cut_off > 0, "every client was done before its server was killed");
}

#[test]
fn a_client_that_is_killed_costs_the_server_that_session_only() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoint, images) = parties(folder.path());
    let server = Server::start(&checkpoint, &["--timeout", "30"]);
    let since = Instant::now();
    let honest = run(&mut infer(&server.address, &images));
    assert_eq!(honest.code, 0);
    let whole = since.elapsed();
    let shares = [0.05, 0.2, 0.4, 0.6, 0.8];
    let cut_off = shares.iter().filter(|&&share| kill(infer(&server.address, &images), whole, share)).count();
    assert!(cut_off > 0, "every client was done before it was killed");
    let again = run(&mut infer(&server.address, &images));
    assert_eq!(again.code, 0, "{}", again.stderr);
    let logits = |ran: &e2e::Ran| -> Vec<serde_json::Value> {
        let row = |line| serde_json::from_str::<serde_json::Value>(line).unwrap()["logits"].clone();
        ran.stdout.lines().map(row).collect()
    };
    assert_eq!(logits(&again), logits(&honest));
}

/// What a killed command leaves under a file's name is the whole file.
fn all_whole(folder: &Path) {
    let checkpoint = folder.join("model.safetensors");
    if checkpoint.exists() {
        Checkpoint::read(&checkpoint).unwrap();
    }
    for name in
        ["report.json", "table.json"].map(|name| folder.join(name)).iter().filter(|name| name.exists())
    {
        serde_json::from_slice::<serde_json::Value>(&fs::read(name).unwrap()).unwrap();
    }
}

#[test]
fn a_checkpoint_that_was_being_written_is_whole_or_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let save = |place: &Path| {
        eqo([
            "bench",
            "model",
            "--arch",
            "cifar-resnet8",
            "--save",
            place.join("model.safetensors").to_str().unwrap(),
        ])
    };
    let whole_folder = folder.path().join("whole");
    fs::create_dir(&whole_folder).unwrap();
    let since = Instant::now();
    assert_eq!(run(&mut save(&whole_folder)).code, 0);
    let whole = since.elapsed();
    let killed = folder.path().join("killed");
    fs::create_dir(&killed).unwrap();
    for tenth in 1..10 {
        kill(save(&killed), whole, f64::from(tenth) / 10.0);
        all_whole(&killed);
    }
    // What is left over is in nobody's way.
    fs::write(killed.join("model.safetensors.part"), "half a file").unwrap();
    assert_eq!(run(&mut save(&killed)).code, 0);
    let file = |folder: &Path| fs::read(folder.join("model.safetensors")).unwrap();
    assert_eq!(file(&killed), file(&whole_folder));
    assert!(!killed.join("model.safetensors.part").exists());
    let tiny = fs::read(tiny_checkpoint()).unwrap();
    let part = folder.path().join("model.safetensors.part");
    fs::write(&part, &tiny[..tiny.len() / 2]).unwrap();
    run_eqo(["inspect", part.to_str().unwrap()]).refused(3, &["model.safetensors.part"]);
}

/// Small, but with a checkpoint of the training at every third step.
const SMALL: [&str; 11] = [
    "data.train_images=120",
    "data.test_images=20",
    "data.calibration_images=20",
    "float.steps=12",
    "float.batch_size=20",
    "float.checkpoint_every=3",
    "qat.steps=8",
    "qat.batch_size=20",
    "qat.checkpoint_every=3",
    "plan.least_probes=2",
    "plan.most_probes=4",
];

fn recipe(command: &str, out: &Path, more: &[&str]) -> Command {
    let overrides = SMALL.into_iter().flat_map(|assignment| ["--set", assignment]);
    let mut arguments = vec![command, "configs/demo.toml", "--json", "--out", out.to_str().unwrap()];
    arguments.extend(overrides);
    arguments.extend(more);
    eqo(arguments)
}

/// Runs `command` undisturbed in one folder, and in another with a SIGKILL at each of these shares of its time before it may end;
/// `results` must be the same files. Needs a binary that trains.
fn survives(command: &str, more: &[&str], results: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let [undisturbed, killed] = ["undisturbed", "killed"].map(|name| folder.path().join(name));
    let since = Instant::now();
    let ran = run(&mut recipe(command, &undisturbed, more));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let whole = since.elapsed();
    let resumed = [more, &["--resume"]].concat();
    for share in [0.3, 0.5, 0.7, 0.4, 0.9] {
        kill(recipe(command, &killed, &resumed), whole, share);
        all_whole(&killed);
    }
    let ran = run(&mut recipe(command, &killed, &resumed));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for result in results {
        let [expected, found] = [&undisturbed, &killed].map(|folder| fs::read(folder.join(result)).unwrap());
        assert!(expected == found, "{result} of {command} differs");
    }
}

#[test]
fn training_that_is_killed_again_and_again_ends_in_the_same_bits() {
    survives("train", &["--stage", "qat"], &["float.safetensors", "qat.safetensors"]);
}

#[test]
fn planning_that_is_killed_again_and_again_ends_in_the_same_plan() {
    survives("plan", &[], &["plan.toml"]);
}

#[test]
fn quantizing_that_is_killed_again_and_again_exports_the_same_checkpoint() {
    survives("quantize", &[], &["model.safetensors"]);
}
