//! Places, turns, budgets.

use std::thread;

use e2e::{run_eqo, tiny_checkpoint};

use super::*;

#[test]
fn a_client_beyond_the_limit_waits_for_its_turn_while_the_server_says_it_is_full() {
    let server = serve(&["--concurrent", "1"]);
    assert_eq!(get(&server, "/readyz"), (200, "ready\n".to_owned()));
    let first = client(&server).unwrap();
    assert_eq!(get(&server, "/readyz"), (503, "full\n".to_owned()));
    thread::scope(|scope| {
        let second = scope.spawn(|| client(&server));
        until(&server, "eqo_sessions_waiting", 1.0);
        assert_eq!(sample(&server, "eqo_sessions_live"), 1.0);
        first.close().unwrap();
        infers_right(&mut second.join().unwrap().unwrap(), &tiny_checkpoint());
    });
    until(&server, "eqo_sessions_ended_total{result=\"ok\"}", 1.0);
    assert_eq!(sample(&server, "eqo_wait_seconds_count"), 2.0);
}

#[test]
fn whoever_finds_the_queue_full_or_waits_too_long_is_turned_away_and_counted() {
    for (queue, reason) in [("0", "queue-full"), ("1", "waited-too-long")] {
        let server = serve(&["--concurrent", "1", "--queue", queue, "--queue-wait", "0.3"]);
        let mut first = client(&server).unwrap();
        assert_eq!(turned_away(client(&server)), Unserved::Busy);
        assert_eq!(sample(&server, &format!("eqo_refused_total{{reason=\"{reason}\"}}")), 1.0);
        infers_right(&mut first, &tiny_checkpoint());
    }
}

#[test]
fn a_client_with_all_its_sessions_waits_while_another_gets_the_free_place() {
    let certificates = Certificates::new(&["alice", "bob"]);
    let server = serve_tls(&certificates, &["--concurrent", "2", "--per-client", "1"]);
    let [alice, bob] = ["alice", "bob"].map(|name| certificates.of(name));
    let first = client_with(&server, &alice).unwrap();
    thread::scope(|scope| {
        let second = scope.spawn(|| client_with(&server, &alice));
        until(&server, "eqo_sessions_waiting", 1.0);
        infers_right(&mut client_with(&server, &bob).unwrap(), &tiny_checkpoint());
        assert_eq!(sample(&server, "eqo_sessions_waiting"), 1.0, "though a place is free");
        first.close().unwrap();
        second.join().unwrap().unwrap().close().unwrap();
    });
}

#[test]
fn sessions_get_no_more_memory_than_there_is() {
    let tiny = tiny_checkpoint();
    let listen = ["--listen", "127.0.0.1:0", "--insecure-plaintext"];
    let serve_with =
        |memory| run_eqo([&["serve", tiny.to_str().unwrap(), "--memory", memory][..], &listen].concat());
    serve_with("50").refused(2, &["--memory", "room for a session"]);
    // Room for one session, and not for two.
    let server = serve(&["--memory", "300", "--queue", "0"]);
    let budget = sample(&server, "eqo_memory_budget_bytes");
    let mut first = client(&server).unwrap();
    assert_eq!(get(&server, "/readyz"), (503, "no memory\n".to_owned()));
    let reserved = sample(&server, "eqo_memory_reserved_bytes");
    assert!(reserved > budget / 2.0 && reserved <= budget, "{reserved} of {budget}");
    assert_eq!(turned_away(client(&server)), Unserved::Busy);
    infers_right(&mut first, &tiny);
    first.close().unwrap();
    until(&server, "eqo_ready", 1.0);
    assert_eq!(sample(&server, "eqo_memory_reserved_bytes"), 0.0);
}

#[test]
fn the_stock_of_a_session_ends_where_its_budget_does() {
    let server = serve(&["--concurrent", "1", "--stock", "1"]);
    let mut client = client(&server).unwrap();
    let mut prepared = 0.0;
    // Far beyond half a megabyte; the other half is for what broken sessions leave.
    while client.prepare(1).is_ok() {
        prepared += 1.0;
        assert!(prepared < 4096.0, "the budget ends it");
    }
    assert!(prepared > 0.0);
    until(&server, "eqo_stock_images", prepared);
    let bytes = sample(&server, "eqo_stock_bytes");
    assert!(bytes <= 5e5 && bytes + bytes / prepared > 5e5, "{bytes} bytes of {prepared} images");
    infers_right(&mut client, &tiny_checkpoint());
    until(&server, "eqo_images_total", 1.0);
    assert_eq!(sample(&server, "eqo_stock_images"), prepared - 1.0);
}

/// The server is left with descriptors for one more connection, and two come.
#[cfg(target_os = "linux")]
#[test]
fn a_server_without_descriptors_goes_on_when_it_has_some_again() {
    let server = serve(&[]);
    let mut scraper = KeepAlive::new(&server);
    let before = scraper.samples();
    let limit = before["process_open_fds"] as u32 + 1;
    let limited = std::process::Command::new("prlimit")
        .args(["--pid", &server.id().to_string(), &format!("--nofile={limit}:{limit}")])
        .status();
    assert!(limited.unwrap().success());
    let strangers: Vec<_> = (0..3).map(|_| TcpStream::connect(&server.address).unwrap()).collect();
    wait_for_samples(&mut scraper, |samples| samples["eqo_accept_errors_total"] > 0.0);
    drop(strangers);
    infers_right(&mut client(&server).unwrap(), &tiny_checkpoint());
}

fn wait_for_samples(scraper: &mut KeepAlive, condition: impl Fn(&BTreeMap<String, f64>) -> bool) {
    let start = Instant::now();
    while !condition(&scraper.samples()) {
        assert!(start.elapsed() < PATIENCE);
        thread::sleep(Duration::from_millis(20));
    }
}

/// Scrapes over one connection, for a server that can't accept another.
struct KeepAlive(TcpStream);

impl KeepAlive {
    fn new(server: &Server) -> Self {
        let stream = TcpStream::connect(&server.metrics).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    fn samples(&mut self) -> BTreeMap<String, f64> {
        write!(self.0, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"# EOF\n") {
            let mut some = [0; 4096];
            let count = self.0.read(&mut some).unwrap();
            assert!(count > 0, "the scrape ends early");
            answer.extend(&some[..count]);
        }
        parse(String::from_utf8(answer).unwrap().split_once("\r\n\r\n").unwrap().1)
    }
}
