//! The page, in a real browser.

use std::process::Command;

use super::*;

/// Debian's and others' names of the browser.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

#[expect(clippy::print_stdout, reason = "a skipped test says so where the test harness shows it")]
fn browser() -> Option<&'static str> {
    let found = NAMES.into_iter().find(|name| {
        Command::new(name).arg("--version").output().is_ok_and(|version| version.status.success())
    });
    if found.is_none() {
        println!("skipped: none of {NAMES:?} is installed (apt-get install chromium)");
    }
    found
}

/// The page after its script has run for three seconds of the browser's time.
fn dump(browser: &str, url: &str) -> String {
    let profile = tempfile::tempdir().unwrap();
    let quiet = ["background-networking", "component-update", "sync", "gpu", "quic"];
    let dumped = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--no-first-run", "--virtual-time-budget=3000", "--dump-dom"])
        .args(quiet.map(|what| format!("--disable-{what}")))
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(url)
        .output()
        .unwrap();
    assert!(dumped.status.success(), "{}", String::from_utf8_lossy(&dumped.stderr));
    String::from_utf8(dumped.stdout).unwrap()
}

#[test]
fn a_live_session_and_every_layer_are_on_the_page() {
    let Some(browser) = browser() else { return };
    let server = serve(&["--dashboard"]);
    let mut client = client(&server).unwrap();
    infers_right(&mut client, &tiny_checkpoint());
    let page = dump(browser, &format!("http://{}/", server.metrics));
    let graph = client.graph().graph();
    assert!(page.contains(&graph.name) && page.contains("ready"), "{page}");
    let (_, body) = page.split_once("id=\"sessions\"").unwrap();
    let (sessions, layers) = body.split_once("id=\"layers\"").unwrap();
    for cell in ["127.0.0.1", "waits for a request", ">1<"] {
        assert!(sessions.contains(cell), "{cell} isn't in {sessions}");
    }
    for node in &graph.nodes {
        assert!(layers.contains(&format!("<td>{}</td>", node.name)), "{} isn't in {layers}", node.name);
    }
    assert!(
        layers.contains("class=\"offline\" style=\"width: 100%")
            || layers.contains("class=\"offline\" style=\"width: 9")
    );
    drop(client);
    until(&server, "eqo_sessions_ended_total{result=\"failed\"}", 1.0);
    assert!(dump(browser, &format!("http://{}/", server.metrics)).contains("nobody"));
}
