//! A client that asks now and then has inferences prepared in the meantime.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};

use e2e::{eqo, run_eqo};
use eqo_protocol::session::client::Resumed;
use serde_json::Value;

use super::*;

/// `eqo infer` of the lines that it is given.
fn by_line(server: &Server, stock: &str) -> (Child, BufReader<ChildStdout>) {
    let mut command =
        eqo(["infer", "--insecure-plaintext", "--json", "--stock", stock, "--server", &server.address]);
    let mut child = command.arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let answers = BufReader::new(child.stdout.take().unwrap());
    (child, answers)
}

#[test]
fn lines_are_answered_from_what_was_prepared_between_them() {
    let server = serve(&[]);
    let folder = tempfile::tempdir().unwrap();
    let (mut child, mut answers) = by_line(&server, "2");
    let mut stdin = child.stdin.take().unwrap();
    for (answered, file) in images(&folder, 2).iter().enumerate() {
        until(&server, "eqo_stock_images", 2.0);
        assert_eq!(sample(&server, "eqo_requests_total{kind=\"prepare\"}"), 2.0 + answered as f64);
        writeln!(stdin, "{}", file.display()).unwrap();
        let mut line = String::new();
        answers.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        let checkpoint = Checkpoint::read(&tiny_checkpoint()).unwrap();
        let image = eqo_datasets::load_image(file, None).unwrap();
        assert_eq!(answer["logits"], Value::from(checkpoint.engine().run(image.pixels()).unwrap()));
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
    until(&server, "eqo_sessions_ended_total{result=\"ok\"}", 1.0);
    assert_eq!(sample(&server, "eqo_stock_images"), 0.0);
}

#[test]
fn a_client_that_wants_more_than_the_servers_budget_keeps_what_it_may() {
    let server = serve(&["--concurrent", "1", "--stock", "1"]);
    let (mut child, _answers) = by_line(&server, "1000");
    // Half of it is for what broken sessions leave. Another image would be too much.
    let full = |samples: BTreeMap<String, f64>| {
        let [images, bytes] = ["eqo_stock_images", "eqo_stock_bytes"].map(|name| samples[name]);
        assert!(bytes <= 5e5);
        images > 0.0 && bytes + bytes / images > 5e5
    };
    wait_for(|| full(scrape(&server)), "a full stock");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_client_that_comes_back_gets_the_only_place_from_its_own_hung_connection() {
    let server = serve(&["--concurrent", "1"]);
    let mut returning = client(&server).unwrap();
    returning.prepare(1).unwrap();
    // The old connection stays open, and the server would wait for its next request for as long as for anybody's.
    let resumed = returning.resume(line_to(&server).unwrap()).unwrap();
    assert!(matches!(resumed, Resumed::Kept(kept) if kept.prepared == [1]));
    infers_right(&mut returning, &tiny_checkpoint());
    returning.close().unwrap();
    assert_eq!(sample(&server, "eqo_sessions_begun_total"), 2.0);
}

#[test]
fn a_return_to_a_network_that_was_replaced_closes_its_hung_connection_too() {
    let folder = tempfile::tempdir().unwrap();
    let served = folder.path().join("model.safetensors");
    std::fs::copy(tiny_checkpoint(), &served).unwrap();
    let server = Server::start(&served, &["--metrics", "0", "--concurrent", "1"]);
    let mut returning = client(&server).unwrap();
    returning.prepare(1).unwrap();
    server.signal("HUP");
    until(&server, "eqo_reloads_total{result=\"ok\"}", 1.0);
    // The same network, but of a newer file: what was prepared with the older one is gone.
    assert!(matches!(returning.resume(line_to(&server).unwrap()), Ok(Resumed::Anew)));
    infers_right(&mut returning, &tiny_checkpoint());
}

#[test]
fn standard_input_stands_alone_and_one_line_is_one_image() {
    let infer = |more: &[&str]| {
        run_eqo([&["infer", "--server", "127.0.0.1:1", "--insecure-plaintext"], more].concat())
    };
    infer(&["-", "a.png"]).refused(2, &["standard input"]);
    infer(&["--batch", "2", "-"]).refused(2, &["--batch"]);
    infer(&["--stock", "2", "a.png"]).refused(2, &["--stock"]);
}
