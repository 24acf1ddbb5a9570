//! The command line: streams and exit codes.

use e2e::{json_of, root, run_eqo, tiny_checkpoint};

#[test]
fn help_and_version_go_to_stdout_and_exit_0() {
    for command in [
        "demo", "train", "quantize", "recipe", "inspect", "eval", "compare", "serve", "infer", "cert",
        "bench", "data",
    ] {
        let ran = run_eqo([command, "--help"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{command}");
        assert!(ran.stdout.contains("Usage: eqo"), "{}", ran.stdout);
    }
    assert_eq!(run_eqo(["--version"]).code, 0);
}

#[test]
fn usage_mistakes_exit_2_and_print_no_result() {
    run_eqo(["evil"]).refused(2, &["evil", "eval"]);
    run_eqo::<&str>([]).refused(2, &["Usage"]);
    run_eqo(["eval", "x.safetensors"]).refused(2, &["--data"]);
    run_eqo(["eval", "x.safetensors", "--data", "d", "--images", "0"])
        .refused(2, &["--images", "at least 1"]);
    run_eqo(["eval", "x.safetensors", "--data", "d", "--ot", "softspoken3"])
        .refused(2, &["softspoken3", "softspoken4"]);
    run_eqo(["infer", "--server", "127.0.0.1:1", "--expect-graph", "12", "a.png"])
        .refused(2, &["64 hexadecimal"]);
    run_eqo(["data", "verify", "cifar11"]).refused(2, &["cifar11", "cifar10"]);
}

#[test]
fn a_dataset_that_is_not_there_fails_its_verification() {
    let folder = tempfile::tempdir().unwrap();
    let ran = run_eqo(["data", "verify", "cifar10", "--dir", folder.path().to_str().unwrap()]);
    ran.refused(3, &["data_batch_1.bin", "eqo data fetch"]);
}

#[test]
fn an_unreachable_download_exits_4() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = std::fs::read_to_string(root().join("datasets/manifests/cifar10.toml")).unwrap();
    // Port 9 (discard) of this machine: nothing listens.
    let nowhere = manifest.replace("https://www.cs.toronto.edu", "http://127.0.0.1:9");
    let path = folder.path().join("manifest.toml");
    std::fs::write(&path, nowhere).unwrap();
    let dir = folder.path().to_str().unwrap();
    let ran = run_eqo(["data", "fetch", "cifar10", "--dir", dir, "--manifest", path.to_str().unwrap()]);
    ran.refused(4, &["127.0.0.1:9"]);
}

#[test]
fn stdout_holds_one_json_object_or_a_table() {
    let tiny = tiny_checkpoint();
    let arguments = ["inspect", tiny.to_str().unwrap()];
    let table = run_eqo(arguments);
    assert!(
        table.code == 0 && table.stdout.contains("predicted") || table.stdout.contains("MB"),
        "{}",
        table.stdout
    );
    let json = run_eqo(arguments.iter().chain(&["--json"]));
    assert_eq!(json.stdout.lines().count(), 1);
    assert!(json_of(arguments.iter().chain(&["--json"])).is_object());
}
