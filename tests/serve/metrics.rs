//! What is counted is what happened.

use e2e::{eqo, run};
use eqo_checkpoints::cost::{REQUEST_BYTES, wire_bytes};
use serde_json::Value;

use super::*;

#[test]
fn the_metrics_agree_with_the_client_on_every_byte() {
    let server = serve(&[]);
    let folder = tempfile::tempdir().unwrap();
    let mut command =
        eqo(["infer", "--insecure-plaintext", "--ot", "softspoken4", "--json", "--server", &server.address]);
    let ran = run(command.args(images(&folder, 3)));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let rows: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_rows = |key: &str| rows.iter().map(|row| row[key].as_u64().unwrap()).sum::<u64>() as f64;
    until(&server, "eqo_sessions_ended_total{result=\"ok\"}", 1.0);
    let samples = scrape(&server);
    // The client's rows end before it says goodbye.
    let goodbye = wire_bytes(REQUEST_BYTES as u64) as f64;
    // Each row's preparation is asked for by a request, which counts as offline there and as online by its scope.
    let asked = 3.0 * goodbye;
    let traffic = |labels: &[&str]| sum(&samples, "eqo_traffic_bytes_total", labels);
    assert_eq!(traffic(&[]), of_rows("bytes_total") + goodbye);
    assert_eq!(traffic(&["phase=\"online\""]), of_rows("bytes_online") + asked + goodbye);
    assert!(traffic(&["direction=\"sent\""]) > 0.0 && traffic(&["direction=\"received\""]) > 0.0);
    for (name, expected) in [
        ("eqo_images_total", 3.0),
        ("eqo_requests_total{kind=\"prepare\"}", 3.0),
        ("eqo_requests_total{kind=\"logits\"}", 3.0),
        ("eqo_request_seconds_count{phase=\"offline\"}", 3.0),
        ("eqo_request_seconds_count{phase=\"online\"}", 3.0),
        ("eqo_session_seconds_count", 1.0),
        ("eqo_handshake_seconds_count", 1.0),
        ("eqo_sessions_begun_total", 1.0),
        ("eqo_sessions_live", 0.0),
        ("eqo_stock_images", 0.0),
    ] {
        assert_eq!(samples[name], expected, "{name}");
    }
    assert!(sum(&samples, "eqo_rounds_total", &["phase=\"online\""]) > 0.0);
    assert!(cfg!(not(target_os = "linux")) || samples["process_resident_memory_bytes"] > 1e6);
}

#[test]
fn bytes_are_told_by_layer_and_phase() {
    let server = serve(&[]);
    let mut client = client(&server).unwrap();
    infers_right(&mut client, &tiny_checkpoint());
    let report = client.close().unwrap();
    until(&server, "eqo_sessions_ended_total{result=\"ok\"}", 1.0);
    let samples = scrape(&server);
    for row in &report.rows {
        let layer = format!("layer=\"{}\"", row.name);
        for (phase, measured) in [("offline", &row.offline), ("online", &row.online)] {
            let phase = format!("phase=\"{phase}\"");
            let counted = sum(&samples, "eqo_traffic_bytes_total", &[&layer, &phase]);
            assert_eq!(counted, measured.bytes() as f64, "{layer} {phase}");
            let rounds = sum(&samples, "eqo_rounds_total", &[&layer, &phase]);
            assert_eq!(rounds, measured.rounds as f64, "{layer} {phase}");
        }
    }
}

/// Lines as `session{…}:layer{…}:gate{…}: …: close time.busy=…`, and nothing that is computed on.
#[test]
fn the_log_has_a_span_with_its_time_for_every_session_layer_and_gate() {
    let server =
        Server::start_logging(&tiny_checkpoint(), &["--sessions", "1"], "eqo=debug,eqo_protocol=trace");
    let mut client = client(&server).unwrap();
    infers_right(&mut client, &tiny_checkpoint());
    let report = client.close().unwrap();
    let (_, log) = server.wait();
    let closed: Vec<&str> = log.lines().filter(|line| line.contains(": close time.busy=")).collect();
    let session = "session{id=0 client=127.0.0.1}:";
    assert_eq!(closed.iter().filter(|line| line.contains(&format!("{session} "))).count(), 1, "{log}");
    for row in &report.rows {
        for (phase, measured) in [("offline", &row.offline), ("online", &row.online)] {
            let layer = format!("{session}layer{{name={} phase=\"{phase}\"}}:", row.name);
            let found = closed.iter().any(|line| line.contains(&format!("{layer} ")));
            // What isn't part of an answer is in the session's own span.
            let before = ["handshake", "base-ot", "request"].contains(&row.name.as_str());
            assert!(found || before || measured.bytes() == 0, "{layer}\n{log}");
        }
    }
    let gates = closed.iter().filter(|line| line.contains("gate{gate="));
    assert!(gates.clone().count() > 0 && gates.clone().all(|line| line.contains("}:layer{name=")), "{log}");
}

#[test]
fn the_page_is_served_only_if_it_is_asked_for() {
    let plain = serve(&[]);
    assert_eq!((get(&plain, "/").0, get(&plain, "/sessions.json").0), (404, 404));
    let server = serve(&["--dashboard"]);
    assert_eq!(get(&server, "/").0, 200);
    let state: Value = serde_json::from_str(&get(&server, "/sessions.json").1).unwrap();
    assert_eq!(state["sessions"], Value::from(Vec::<Value>::new()));
}
