//! `eqo infer` over connections that break: it comes back, and answers as if nothing had happened.

#![allow(clippy::unwrap_used, reason = "a broken assumption ends the test")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use e2e::{Ran, Server, eqo, image_folder, run_eqo, tiny_checkpoint};
use serde_json::Value;
use tempfile::TempDir;

/// Three images.
fn images() -> (TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let images = image_folder(folder.path(), &tiny_checkpoint(), 3);
    (folder, images)
}

fn infer(address: &str, reconnect: &str, images: &[PathBuf]) -> Ran {
    let options = ["infer", "--json", "--insecure-plaintext", "--ot", "softspoken4", "--timeout", "20"];
    let more = ["--reconnect", reconnect, "--server", address].map(str::to_owned);
    let images = images.iter().map(|image| image.display().to_string());
    run_eqo(options.map(str::to_owned).into_iter().chain(more).chain(images))
}

fn logits(said: &str) -> Vec<Value> {
    said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["logits"].clone()).collect()
}

/// Carries connections to `server`; the first so many break after this many bytes to the client. Its address, and how many came.
fn line(server: &str, broken: usize, after: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (server, came) = (server.to_owned(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&came);
    thread::spawn(move || {
        while let Ok((client, _)) = listener.accept() {
            let limit = if count.fetch_add(1, Ordering::SeqCst) < broken { after } else { usize::MAX };
            let server = TcpStream::connect(&server).unwrap();
            let (from_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || carry(from_client, to_server, usize::MAX));
            thread::spawn(move || carry(server, client, limit));
        }
    });
    (address, came)
}

fn carry(mut from: TcpStream, mut to: TcpStream, mut left: usize) {
    let mut buffer = vec![0; 1 << 14];
    while left > 0 {
        let most = buffer.len().min(left);
        let Ok(length @ 1..) = from.read(&mut buffer[..most]) else { break };
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
        left -= length;
    }
    for stream in [from, to] {
        // It may have ended already.
        let _ = stream.shutdown(Shutdown::Both);
    }
}

#[test]
fn an_inference_goes_on_over_a_connection_that_breaks_again_and_again() {
    let (_folder, images) = images();
    let server = Server::start(&tiny_checkpoint(), &[]);
    let whole = infer(&server.address, "0", &images);
    assert_eq!(whole.code, 0, "{}", whole.stderr);
    for after in [30_000, 90_000, 150_000] {
        let (address, came) = line(&server.address, 2, after);
        let ran = infer(&address, "5", &images);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_eq!(logits(&ran.stdout), logits(&whole.stdout));
        assert!(came.load(Ordering::SeqCst) >= 2, "the connection broke after {after} bytes");
    }
}

#[test]
fn without_patience_a_broken_connection_is_an_error() {
    let (_folder, images) = images();
    let server = Server::start(&tiny_checkpoint(), &[]);
    let (address, _) = line(&server.address, usize::MAX, 60_000);
    let ran = infer(&address, "0", &images);
    assert_eq!(ran.code, 4, "{}", ran.stdout);
    assert!(ran.stderr.contains("stay connected"), "{}", ran.stderr);
}

#[test]
fn a_client_that_was_silent_for_longer_than_the_server_waits_is_answered_all_the_same() {
    let (_folder, images) = images();
    let server = Server::start(&tiny_checkpoint(), &["--timeout", "1"]);
    let mut command = eqo(["infer", "--json", "--insecure-plaintext", "--ot", "softspoken4", "--stock", "2"]);
    command.args(["--server", &server.address, "-"]);
    let mut client =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = client.stdin.take().unwrap();
    for image in &images {
        writeln!(lines, "{}", image.display()).unwrap();
        thread::sleep(Duration::from_secs(2));
    }
    drop(lines);
    let output = client.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(logits(&said), logits(&infer(&server.address, "0", &images).stdout));
}
