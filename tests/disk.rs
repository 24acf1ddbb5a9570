//! A disk that is full or can't be written: an error that names the file, and nothing under its name that is half a file.

#![allow(clippy::unwrap_used, reason = "a broken assumption ends the test")]

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use e2e::{Ran, binary, eqo, root, run, run_eqo};
use eqo_checkpoints::format::Checkpoint;

const CERT: [&str; 5] = ["cert", "--server", "localhost", "--client", "alice"];

/// `eqo` where no file may grow, as on a full disk but with another reason: `EFBIG`, since the signal is ignored.
fn without_room(arguments: &[&str]) -> Ran {
    let script = "trap '' XFSZ; ulimit -f 0; exec \"$@\"";
    run(Command::new("sh").args(["-c", script, "sh"]).arg(binary()).args(arguments).current_dir(root()))
}

/// The next write of `file` goes to a full disk.
fn fill(file: &Path) {
    let mut part: OsString = file.into();
    part.push(".part");
    symlink("/dev/full", part).unwrap();
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn certificates_without_room_are_an_error_and_can_be_made_once_there_is_some() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let arguments = [&CERT[..], &["--out", out]].concat();
    without_room(&arguments).refused(3, &[out, "ca.key"]);
    assert!(files(folder.path()).is_empty(), "{:?}", files(folder.path()));
    // There is room for the authority's key, and none for its certificate.
    fill(&folder.path().join("ca.pem"));
    run_eqo(&arguments).refused(3, &["ca.pem", "room"]);
    assert!(files(folder.path()).is_empty(), "{:?}", files(folder.path()));
    assert_eq!(run_eqo(&arguments).code, 0);
    // Likewise for a client that comes later; what was there stays.
    let before = files(folder.path());
    let bob = ["cert", "--server", "localhost", "--client", "bob", "--out", out];
    fill(&folder.path().join("bob.pem"));
    run_eqo(bob).refused(3, &["bob.pem", "room"]);
    assert_eq!(files(folder.path()), before);
    assert_eq!(run_eqo(bob).code, 0);
}

#[test]
fn figures_without_room_are_an_error_and_the_earlier_ones_stay() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    // From the cost model: nothing is run.
    let table = |profile| {
        let what =
            ["bench", "table", "--models", "cifar-resnet8", "--profiles", profile, "--modelled", profile];
        [&what[..], &["--out", out]].concat()
    };
    let first = run_eqo(table("sirnn"));
    assert_eq!(first.code, 0, "{}", first.stderr);
    let (before, names) = (fs::read(folder.path().join("table.json")).unwrap(), files(folder.path()));
    fill(&folder.path().join("table.json"));
    let full = run_eqo(table("coinn"));
    assert_eq!(full.code, 3);
    assert!(full.stderr.contains("table.json") && full.stderr.contains("room"), "{}", full.stderr);
    assert_eq!(fs::read(folder.path().join("table.json")).unwrap(), before);
    assert_eq!(files(folder.path()), names);
}

#[test]
fn results_that_nobody_can_take_are_an_error() {
    let tiny = e2e::tiny_checkpoint();
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ended = eqo(["inspect", tiny.to_str().unwrap(), "--json"]).stdout(full).output().unwrap();
    assert!(!ended.status.success());
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(!said.is_empty() && !said.contains("panicked"), "{said}");
}

#[test]
fn folders_that_cannot_be_written_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let sealed = folder.path().join("sealed");
    fs::create_dir(&sealed).unwrap();
    let mut permissions = fs::metadata(&sealed).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&sealed, permissions).unwrap();
    // Root may write it nevertheless, but not this one.
    let writable = fs::write(sealed.join("probe"), "").is_ok();
    let out = if writable { Path::new("/proc/eqo").to_owned() } else { sealed.join("out") };
    let out = out.to_str().unwrap();
    run_eqo([&CERT[..], &["--out", out]].concat()).refused(3, &[out]);
    let table = ["bench", "table", "--models", "cifar-resnet8", "--profiles", "sirnn", "--modelled", "sirnn"];
    run_eqo([&table[..], &["--out", out]].concat()).refused(3, &[out]);
    let checkpoint = format!("{out}/model.safetensors");
    run_eqo(["bench", "model", "--arch", "cifar-resnet8", "--save", &checkpoint]).refused(3, &[&checkpoint]);
}

#[test]
fn a_checkpoint_without_room_is_an_error_and_the_earlier_one_stays() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    let save = |seed| {
        ["bench", "model", "--arch", "cifar-resnet8", "--seed", seed, "--save", file.to_str().unwrap()]
    };
    assert_eq!(run_eqo(save("1")).code, 0);
    let before = fs::read(&file).unwrap();
    fill(&file);
    run_eqo(save("2")).refused(3, &["model.safetensors.part"]);
    without_room(&save("2")).refused(3, &["model.safetensors.part"]);
    assert_eq!((fs::read(&file).unwrap(), files(folder.path()).len()), (before, 1));
}

/// Needs a binary that trains.
#[test]
fn an_export_without_room_is_an_error_and_the_earlier_checkpoint_stays() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().to_str().unwrap();
    let quantize = |steps: &str, more: &[&str]| {
        let settings = ["data.train_images=60", "data.test_images=20", "data.calibration_images=20"];
        let overrides =
            settings.into_iter().chain(["float.steps=1", "float.batch_size=20", "qat.batch_size=20", steps]);
        let mut arguments = vec!["quantize", "configs/demo.toml", "--json", "--out", out];
        arguments.extend(overrides.flat_map(|assignment| ["--set", assignment]));
        run_eqo([&arguments[..], more].concat())
    };
    let exported = folder.path().join("model.safetensors");
    fs::create_dir_all(folder.path()).unwrap();
    fill(&exported);
    quantize("qat.steps=1", &[]).refused(3, &["model.safetensors"]);
    assert!(!exported.exists());
    assert_eq!(quantize("qat.steps=1", &[]).code, 0);
    let before = fs::read(&exported).unwrap();
    fill(&exported);
    quantize("qat.steps=2", &["--force"]).refused(3, &["model.safetensors"]);
    assert_eq!(fs::read(&exported).unwrap(), before);
    assert!(Checkpoint::read(&exported).is_ok());
}
