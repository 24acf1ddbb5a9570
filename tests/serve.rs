//! A server one can leave running: who is let in, how it ends, what it tells its operators.

#![allow(clippy::unwrap_used, reason = "a broken assumption ends the test")]

#[path = "serve/admission.rs"]
mod admission;
#[path = "serve/dashboard.rs"]
mod dashboard;
#[path = "serve/ending.rs"]
mod ending;
#[path = "serve/metrics.rs"]
mod metrics;
#[path = "serve/stock.rs"]
mod stock;
#[path = "serve/strangers.rs"]
mod strangers;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use e2e::{Certificates, Server, image_folder, tiny_checkpoint};
use eqo_checkpoints::format::Checkpoint;
use eqo_protocol::session::client::{Client, ClientConfig, connect};
use eqo_protocol::transport::{self, Channel, Credentials, TlsClient, TransportConfig};
use eqo_protocol::{Error, Unserved};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

/// Longer than anything takes that is waited for: it only ends a test that hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Serves the tiny checkpoint with metrics on.
fn serve(options: &[&str]) -> Server {
    Server::start(&tiny_checkpoint(), &[&["--metrics", "0"], options].concat())
}

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap())
}

/// A client in this process: its session lasts as long as the test wants.
fn client(server: &Server) -> Result<Client, Error> {
    connect(line_to(server)?, &ClientConfig::default())
}

/// A connection to the server.
fn line_to(server: &Server) -> Result<Channel, Error> {
    let config = TransportConfig { timeout: PATIENCE, ..TransportConfig::default() };
    transport::connect(&server.address, runtime().handle(), config)
}

/// The same over TLS.
fn client_with(server: &Server, credentials: &Credentials) -> Result<Client, Error> {
    let config = TransportConfig { timeout: PATIENCE, ..TransportConfig::default() };
    let tls = TlsClient::new(credentials, "localhost")?;
    let channel = transport::connect_tls(&server.address, &tls, runtime().handle(), config)?;
    connect(channel, &ClientConfig::default())
}

/// Why the server did not serve a client, as that was told.
fn turned_away(outcome: Result<Client, Error>) -> Unserved {
    match outcome.err() {
        Some(Error::TurnedAway { reason }) => reason,
        Some(error) => panic!("another error: {error}"),
        None => panic!("let in"),
    }
}

/// One image, privately: its logits must be those of the checkpoint.
fn infers_right(client: &mut Client, checkpoint: &Path) {
    let checkpoint = Checkpoint::read(checkpoint).unwrap();
    let image: Vec<u8> =
        (0..checkpoint.graph().shape(0).iter().product::<usize>()).map(|i| (i * 7 % 251) as u8).collect();
    let logits = client.infer(std::slice::from_ref(&image)).unwrap();
    assert_eq!(logits, [checkpoint.engine().run(&image).unwrap()]);
}

/// Status and body of a page of the operators' port.
fn get(server: &Server, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(&server.metrics).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split_whitespace().nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

/// Every sample, by its name and labels as they are written.
fn scrape(server: &Server) -> BTreeMap<String, f64> {
    let (status, text) = get(server, "/metrics");
    assert_eq!(status, 200);
    parse(&text)
}

fn parse(text: &str) -> BTreeMap<String, f64> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// The sample of this name; zero if there is none yet.
fn sample(server: &Server, name: &str) -> f64 {
    scrape(server).get(name).copied().unwrap_or_default()
}

/// The sum of all samples whose name begins so and holds all of `labels`.
fn sum(samples: &BTreeMap<String, f64>, name: &str, labels: &[&str]) -> f64 {
    let found = samples.iter().filter(|(sample, _)| sample.split('{').next() == Some(name));
    found
        .filter(|(sample, _)| labels.iter().all(|label| sample.contains(label)))
        .map(|(_, value)| value)
        .sum()
}

/// Waits until this sample has at least this value.
fn until(server: &Server, name: &str, value: f64) {
    wait_for(|| sample(server, name) >= value, name);
}

fn wait_for(mut condition: impl FnMut() -> bool, what: &str) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "still not: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn serve_tls(certificates: &Certificates, more: &[&str]) -> Server {
    certificates.serve("server", &[&["--metrics", "0"], more].concat())
}

/// Image files that fit the tiny checkpoint.
fn images(folder: &TempDir, count: usize) -> Vec<PathBuf> {
    image_folder(folder.path(), &tiny_checkpoint(), count)
}
