//! The binary starts. As the package's integration test it also makes `cargo test --workspace` build the binary,
//! with the features of that build, for the end-to-end tests in `tests/`.

use std::process::Command;

#[test]
fn the_binary_knows_its_version() {
    let output = Command::new(env!("CARGO_BIN_EXE_eqo")).arg("--version").output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), concat!("eqo ", env!("CARGO_PKG_VERSION")));
}
