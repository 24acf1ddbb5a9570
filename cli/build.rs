//! Tells the program which compiler it was built with, for the reports of measurements.

#![allow(clippy::print_stdout, reason = "that is how build scripts speak to cargo")]

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=RUSTC");
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(compiler).arg("--version").output().ok();
    let version = version.and_then(|output| String::from_utf8(output.stdout).ok());
    println!("cargo::rustc-env=EQO_RUSTC={}", version.as_deref().map_or("unknown", str::trim));
}
