//! Bad input gets a clear message and the right exit code, never a panic, and loses nothing.

#![allow(clippy::unwrap_used, reason = "a broken assumption ends the test")]

use std::fs::{self, File};
use std::process::Stdio;

use e2e::{eqo, image_folder, json_of, run_eqo, shared, tiny_checkpoint};

#[test]
fn a_truncated_checkpoint_exits_3_and_is_named_by_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = fs::read(tiny_checkpoint()).unwrap();
    for length in [0, 7, 100, bytes.len() / 2, bytes.len() - 1] {
        let cut = folder.path().join("cut.safetensors");
        fs::write(&cut, &bytes[..length]).unwrap();
        let cut = cut.to_str().unwrap();
        run_eqo(["inspect", cut]).refused(3, &["cut.safetensors"]);
        run_eqo(["eval", cut, "--data", "synthetic"]).refused(3, &["cut.safetensors"]);
        run_eqo(["serve", cut, "--listen", "127.0.0.1:0", "--insecure-plaintext"])
            .refused(3, &["cut.safetensors"]);
    }
}

#[test]
fn a_flipped_weight_bit_and_an_unknown_version_exit_3() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.safetensors");
    let bytes = fs::read(tiny_checkpoint()).unwrap();
    let mut flipped = bytes.clone();
    *flipped.last_mut().unwrap() ^= 1;
    fs::write(&path, flipped).unwrap();
    run_eqo(["inspect".as_ref(), path.as_os_str()]).refused(3, &["bad.safetensors", "weights_blake3"]);
    fs::write(&path, replaced(&bytes, b"\"version\":\"1\"", b"\"version\":\"9\"")).unwrap();
    run_eqo(["inspect".as_ref(), path.as_os_str()])
        .refused(3, &["bad.safetensors", "version", "expected 1", "found 9"]);
}

#[test]
fn a_missing_checkpoint_or_folder_exits_3_and_is_named() {
    run_eqo(["inspect", "no/such.safetensors"]).refused(3, &["no/such.safetensors"]);
    let tiny = tiny_checkpoint();
    run_eqo(["eval", tiny.to_str().unwrap(), "--data", "no/such"]).refused(3, &["no/such"]);
}

#[test]
fn float_weights_with_foreign_keys_exit_3_and_the_keys_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let foreign = folder.path().join("foreign.safetensors");
    let header = br#"{"conv1.wait":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 4]].concat();
    fs::write(&foreign, bytes).unwrap();
    let ran = run_eqo(["eval", foreign.to_str().unwrap(), "--arch", "cifar-resnet20", "--data", "synthetic"]);
    ran.refused(3, &["foreign.safetensors", "conv1.wait", "conv1.weight", "linear.bias"]);
}

#[test]
fn a_pytorch_file_of_another_architecture_exits_3_and_the_keys_are_listed() {
    let Some(weights) = shared("models/resnet20-12fca82f.th") else { return };
    let ran = run_eqo(["eval", weights.to_str().unwrap(), "--arch", "cifar-resnet32", "--data", "synthetic"]);
    ran.refused(3, &["resnet20-12fca82f.th", "layer1.3.conv1.weight"]);
    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("cut.th");
    fs::write(&cut, &fs::read(weights).unwrap()[..100_000]).unwrap();
    let ran = run_eqo(["eval", cut.to_str().unwrap(), "--arch", "cifar-resnet20", "--data", "synthetic"]);
    ran.refused(3, &["cut.th"]);
}

#[test]
fn an_unknown_architecture_exits_2_with_the_known_ones() {
    let tiny = tiny_checkpoint();
    let ran = run_eqo(["eval", tiny.to_str().unwrap(), "--arch", "resnet21", "--data", "synthetic"]);
    ran.refused(2, &["resnet21", "cifar-resnet20"]);
}

#[test]
fn a_corrupt_image_is_named_and_skip_corrupt_counts_it() {
    let folder = tempfile::tempdir().unwrap();
    image_folder(folder.path(), &tiny_checkpoint(), 6);
    let class = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    fs::write(class.join("broken.jpg"), [0xFF, 0xD8, 0xFF, 0xE0, 0, 16]).unwrap();
    let tiny = tiny_checkpoint();
    let arguments = ["eval", tiny.to_str().unwrap(), "--data", folder.path().to_str().unwrap()];
    run_eqo(arguments).refused(3, &["broken.jpg", "--skip-corrupt"]);
    let evaluation = json_of(arguments.iter().chain(&["--skip-corrupt", "--json"]));
    assert_eq!((&evaluation["images"], &evaluation["skipped"]), (&6.into(), &1.into()));
}

#[test]
fn a_folder_with_another_number_of_classes_exits_3() {
    let folder = tempfile::tempdir().unwrap();
    image_folder(folder.path(), &tiny_checkpoint(), 6);
    fs::create_dir(folder.path().join("one-too-many")).unwrap();
    let tiny = tiny_checkpoint();
    let ran = run_eqo(["eval", tiny.to_str().unwrap(), "--data", folder.path().to_str().unwrap()]);
    ran.refused(3, &["classes", folder.path().to_str().unwrap()]);
}

#[test]
fn an_output_folder_that_cannot_be_made_exits_3_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "kept").unwrap();
    let out = file.join("run");
    for command in ["quantize", "train"] {
        let ran = run_eqo([command, "configs/demo.toml", "--out", out.to_str().unwrap()]);
        ran.refused(3, &[out.to_str().unwrap()]);
    }
    run_eqo(["demo", "--out", out.to_str().unwrap()]).refused(3, &[out.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(file).unwrap(), "kept");
}

#[test]
fn a_full_disk_behind_stdout_exits_3() {
    let Ok(full) = File::options().write(true).open("/dev/full") else { return };
    let tiny = tiny_checkpoint();
    let mut inspect = eqo(["inspect".as_ref(), tiny.as_os_str()]);
    let child = inspect.stdout(Stdio::from(full)).stderr(Stdio::piped()).spawn().unwrap();
    let ended = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains("stdout: write failed"), "{stderr}");
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|window| window == from).expect("the header states it");
    let mut changed = bytes.to_vec();
    changed[at..at + from.len()].copy_from_slice(to);
    changed
}
