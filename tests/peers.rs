//! A peer that misbehaves costs an error and a closed connection, within the timeout.

#![allow(clippy::unwrap_used, reason = "a broken assumption ends the test")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::thread;

use e2e::{Ran, Server, image_folder, run_eqo, tiny_checkpoint};
use tempfile::TempDir;

#[test]
fn a_port_in_use_exits_4() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let tiny = tiny_checkpoint();
    run_eqo(["serve", tiny.to_str().unwrap(), "--listen", &address, "--insecure-plaintext"])
        .refused(4, &[&address]);
}

#[test]
fn no_server_at_all_exits_4() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    infer(&free, &[]).refused(4, &[&free]);
}

#[test]
fn a_server_that_disconnects_exits_4() {
    let ran = infer(&fake_server(drop), &[]);
    ran.refused(4, &[]);
}

#[test]
fn a_server_that_stalls_exits_4_after_the_timeout() {
    let stalls = |mut stream: TcpStream| {
        // Reads until the client gives up.
        let _ = stream.read_to_end(&mut Vec::new());
    };
    infer(&fake_server(stalls), &["--timeout", "0.5"]).refused(4, &["0.5 s"]);
}

#[test]
fn a_server_that_speaks_another_protocol_exits_4() {
    let http = |mut stream: TcpStream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        let _ = stream.read_to_end(&mut Vec::new());
    };
    infer(&fake_server(http), &["--timeout", "5"]).refused(4, &[]);
}

#[test]
fn a_server_that_announces_huge_lengths_exits_4() {
    for header in [[0xFF; 8], [0, 0, 16, 0, 1, 0, 0, 0]] {
        let oversized = move |mut stream: TcpStream| {
            let _ = stream.write_all(&header);
            let _ = stream.write_all(&[0xFF; 64]);
        };
        infer(&fake_server(oversized), &["--timeout", "5"]).refused(4, &[]);
    }
}

#[test]
fn a_server_with_another_graph_than_expected_exits_4() {
    let server = Server::start(&tiny_checkpoint(), &[]);
    let other = "0".repeat(64);
    infer(&server.address, &["--expect-graph", &other]).refused(4, &[&other]);
}

#[test]
fn a_server_survives_clients_that_misbehave() {
    let server = Server::start(&tiny_checkpoint(), &["--timeout", "2"]);
    let connect = || TcpStream::connect(&server.address).unwrap();
    drop(connect());
    connect().write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    connect().write_all(&[0xFF; 4096]).unwrap();
    let stalling = connect();
    let ran = infer(&server.address, &["--json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    drop(stalling);
}

/// `eqo infer` of one image.
fn infer(address: &str, options: &[&str]) -> Ran {
    let (_folder, image) = one_image();
    run_eqo(
        ["infer", "--insecure-plaintext", "--server", address, image.to_str().unwrap()].iter().chain(options),
    )
}

fn one_image() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let image = image_folder(folder.path(), &tiny_checkpoint(), 1).remove(0);
    (folder, image)
}

/// Answers one client with `behave`; its address.
fn fake_server(behave: impl FnOnce(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || behave(listener.accept().unwrap().0));
    address
}
