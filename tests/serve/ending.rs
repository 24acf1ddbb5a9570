//! Signals: the end, and a new checkpoint.

use std::fs;
use std::thread;

use e2e::root;

use super::*;

#[test]
fn sigterm_lets_a_running_session_finish_and_turns_everybody_else_away() {
    let server = serve(&["--concurrent", "1"]);
    let mut running = client(&server).unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| client(&server));
        until(&server, "eqo_sessions_waiting", 1.0);
        server.signal("TERM");
        assert_eq!(turned_away(waiting.join().unwrap()), Unserved::Draining);
    });
    assert_eq!(get(&server, "/readyz"), (503, "draining\n".to_owned()));
    assert_eq!(get(&server, "/healthz").0, 200);
    assert_eq!(sample(&server, "eqo_refused_total{reason=\"draining\"}"), 1.0);
    wait_for(|| TcpStream::connect(&server.address).is_err(), "no longer listening");
    infers_right(&mut running, &tiny_checkpoint());
    running.close().unwrap();
    assert_eq!(server.wait().0, 0);
}

#[test]
fn a_session_that_goes_on_after_the_drain_time_is_cut_off_and_the_server_still_ends_well() {
    let server = serve(&["--drain", "0.2"]);
    let mut idle = client(&server).unwrap();
    server.signal("INT");
    let (code, said) = server.wait();
    assert!(code == 0 && said.contains("--drain time is over"), "{said}");
    assert!(idle.prepare(1).is_err());
}

#[test]
fn a_second_signal_ends_the_server_at_once() {
    let server = serve(&[]);
    let _running = client(&server).unwrap();
    server.signal("TERM");
    wait_for(|| get(&server, "/readyz").1 == "draining\n", "draining");
    server.signal("TERM");
    assert_eq!(server.wait().0, 130);
}

#[test]
fn a_session_ends_with_its_deadline() {
    let server = serve(&["--deadline", "0.5"]);
    let mut idle = client(&server).unwrap();
    until(&server, "eqo_errors_total{kind=\"deadline\"}", 1.0);
    assert!(idle.prepare(1).is_err());
    assert_eq!(sample(&server, "eqo_sessions_ended_total{result=\"failed\"}"), 1.0);
}

#[test]
fn sighup_swaps_the_checkpoint_for_new_sessions_and_a_corrupt_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let served = folder.path().join("model.safetensors");
    let other = root().join("checkpoints/fixtures/tiny-pools.safetensors");
    fs::copy(tiny_checkpoint(), &served).unwrap();
    let replace = |bytes: &[u8]| {
        fs::write(folder.path().join("next"), bytes).unwrap();
        fs::rename(folder.path().join("next"), &served).unwrap();
    };
    let hash = |file: &Path| Checkpoint::read(file).unwrap().graph().graph_hash();
    let server = Server::start(&served, &["--metrics", "0", "--concurrent", "4"]);
    let mut early = client(&server).unwrap();
    let mut broken = client(&server).unwrap();
    broken.prepare(1).unwrap();
    drop(broken);
    until(&server, "eqo_sessions_parked", 1.0);
    replace(&fs::read(&other).unwrap());
    server.signal("HUP");
    until(&server, "eqo_reloads_total{result=\"ok\"}", 1.0);
    // What the old network left, which a session still runs, is of use to nobody.
    assert_eq!(sample(&server, "eqo_sessions_parked"), 0.0);
    let mut late = client(&server).unwrap();
    assert_eq!(
        (early.graph().graph_hash(), late.graph().graph_hash()),
        (hash(&tiny_checkpoint()), hash(&other))
    );
    infers_right(&mut early, &tiny_checkpoint());
    infers_right(&mut late, &other);
    let mut corrupt = fs::read(tiny_checkpoint()).unwrap();
    corrupt.truncate(corrupt.len() / 2);
    replace(&corrupt);
    server.signal("HUP");
    until(&server, "eqo_reloads_total{result=\"failed\"}", 1.0);
    assert_eq!(client(&server).unwrap().graph().graph_hash(), hash(&other));
    infers_right(&mut early, &tiny_checkpoint());
    drop((early, late));
    server.signal("TERM");
    let (code, said) = server.wait();
    assert!(code == 0 && said.contains("not reloaded") && said.contains("model.safetensors"), "{said}");
}
