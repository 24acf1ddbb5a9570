//! Many clients at once, a third of them faulty or hostile: every honest one gets the engine's logits, and the server is afterwards
//! what it was before.
//!
//! The default run is short. `EQO_LOAD=1000 cargo test --release -p e2e --test load -- --nocapture` is the long one; it prints
//! the figures.

#![allow(clippy::unwrap_used, reason = "a broken assumption ends the test")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use e2e::{Certificates, Resources, Server, tiny_checkpoint};
use eqo_checkpoints::engine::Engine;
use eqo_checkpoints::format::Checkpoint;
use eqo_protocol::Error;
use eqo_protocol::ot::OtKind;
use eqo_protocol::session::client::{ClientConfig, Patience, PersistentClient, connect};
use eqo_protocol::transport::{Channel, TlsClient, TransportConfig, connect_tls};
use tokio::runtime::{Builder, Runtime};

/// Clients at the same time.
const CLIENTS: usize = 16;

/// Sessions, unless `EQO_LOAD` says another number.
const SESSIONS: usize = 96;

/// How long a client waits for the server.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a client is up to; two of three are honest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Conduct {
    Honest,
    /// Honest, on a connection that breaks once: it comes back.
    Broken,
    /// Leaves in the middle of whatever goes on.
    Leaves,
    /// Its certificate is of another authority.
    Stranger,
    /// Speaks no TLS.
    Noise,
    /// Speaks a byte now and then.
    SlowLoris,
    /// The first message of somebody else's handshake.
    Replay,
    /// Another version of the protocol.
    Version,
    /// Garbage after an honest handshake of TLS.
    Garbage,
    /// Frames of other lengths than agreed.
    Lengths,
}

use Conduct::{Broken, Garbage, Honest, Leaves, Lengths, Noise, Replay, SlowLoris, Stranger, Version};

/// Whose turn it is: honest, honest, and one of the others.
fn conduct(turn: usize) -> Conduct {
    let others = [Broken, Leaves, Stranger, Noise, Replay, Version, Garbage, Lengths, Broken, SlowLoris];
    if turn % 3 < 2 { Honest } else { others[turn / 3 % others.len()] }
}

/// What all clients share.
struct Stage {
    runtime: Runtime,
    address: String,
    ours: TlsClient,
    theirs: TlsClient,
    images: Vec<Vec<u8>>,
    /// The engine's.
    logits: Vec<Vec<i64>>,
    /// The first bytes of a handshake that somebody recorded.
    recorded: Vec<u8>,
}

/// What a client of TLS says first.
fn record(ours: &TlsClient, runtime: &Runtime) -> Vec<u8> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let heard = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = vec![0; 1 << 12];
        let length = stream.read(&mut heard).unwrap();
        heard.truncate(length);
        heard
    });
    let config = TransportConfig { timeout: Duration::from_secs(5), ..TransportConfig::default() };
    assert!(connect_tls(&address, ours, runtime.handle(), config).is_err());
    heard.join().unwrap()
}

impl Stage {
    fn dial(&self, tls: &TlsClient) -> Result<Channel, Error> {
        let config = TransportConfig { timeout: PATIENCE, ..TransportConfig::default() };
        connect_tls(&self.address, tls, self.runtime.handle(), config)
    }

    /// A session of this kind; the reconnections of an honest one.
    fn play(&self, turn: usize) -> Result<u32, Error> {
        match conduct(turn) {
            Honest => self.ask(turn, None),
            Broken => self.ask(turn, Some(Duration::from_millis(turn as u64 * 37 % 61))),
            Leaves => {
                let channel = self.dial(&self.ours)?;
                closes_after(&channel, Duration::from_millis(turn as u64 * 37 % 41));
                let mut client = connect(channel, &config())?;
                client.infer(&[&self.images[0]]).map(|_| 0)
            }
            Stranger => connect(self.dial(&self.theirs)?, &config()).map(|_| 0),
            Noise => self.raw(b"GET / HTTP/1.1\r\nHost: eqo\r\n\r\n", 1),
            Replay => self.raw(&self.recorded, 1),
            SlowLoris => self.raw(&self.recorded[..12], 12),
            Version => self.say(&[[b"EQO2PC".as_slice(), &[9; 35]].concat()]),
            Garbage => self.say(&[vec![turn as u8; 41], vec![7; 1000]]),
            Lengths => self.say(&[hello(), vec![0; 34], vec![1]]),
        }
    }

    /// An honest session of two images, whose connection may break after a while.
    fn ask(&self, turn: usize, mut breaks: Option<Duration>) -> Result<u32, Error> {
        let mut dial = || {
            let channel = self.dial(&self.ours)?;
            if let Some(after) = breaks.take() {
                closes_after(&channel, after);
            }
            Ok(channel)
        };
        let patience = Patience { attempts: 10, pause: Duration::from_millis(100) };
        let mut client = loop {
            match PersistentClient::connect(&mut dial, &config(), patience) {
                // There was nothing to come back to yet.
                Err(error) if error.is_connection() => {}
                client => break client?,
            }
        };
        client.prepare(1)?;
        for at in [turn, turn + 1].map(|at| at % self.images.len()) {
            assert_eq!(client.infer(&[&self.images[at]])?, [self.logits[at].clone()], "turn {turn}");
        }
        let reconnections = client.reconnections();
        client.close()?;
        Ok(reconnections)
    }

    /// Bytes on a bare connection, `pieces` of them with pauses, then whatever the server says.
    fn raw(&self, bytes: &[u8], pieces: usize) -> Result<u32, Error> {
        let unheard = |source| Error::Io { action: "talk".to_owned(), source, next: "" };
        let mut stream = TcpStream::connect(&self.address).map_err(unheard)?;
        for piece in bytes.chunks(bytes.len().div_ceil(pieces)) {
            // A server that has hung up is what this is about.
            let _ = stream.write_all(piece);
            thread::sleep(Duration::from_millis(if pieces > 1 { 200 } else { 0 }));
        }
        stream.set_read_timeout(Some(PATIENCE)).map_err(unheard)?;
        let mut said = Vec::new();
        let _ = stream.take(1 << 16).read_to_end(&mut said);
        Err(Error::PeerClosed {
            scope: eqo_protocol::transport::Scope::Handshake,
            found: "the end".to_owned(),
        })
    }

    /// Messages over TLS, and then one from the server after the other.
    fn say(&self, messages: &[Vec<u8>]) -> Result<u32, Error> {
        let mut channel = self.dial(&self.ours)?;
        messages.iter().try_for_each(|message| channel.send(message.clone()))?;
        loop {
            channel.recv_bounded(1 << 20)?;
        }
    }
}

fn hello() -> Vec<u8> {
    [b"EQO2PC".as_slice(), &3_u16.to_le_bytes(), &[OtKind::SoftSpoken4.code()], &[0; 32]].concat()
}

fn config() -> ClientConfig {
    ClientConfig { ot: OtKind::SoftSpoken4, ..ClientConfig::default() }
}

/// Breaks a connection later, whatever it's doing.
fn closes_after(channel: &Channel, after: Duration) {
    let closer = channel.closer();
    thread::spawn(move || {
        thread::sleep(after);
        closer.close("this test breaks it");
    });
}

/// Sessions that ended well and not, by conduct; how long the honest ones took; reconnections.
#[derive(Default)]
struct Tally {
    ends: Mutex<BTreeMap<Conduct, [usize; 2]>>,
    seconds: Mutex<Vec<f64>>,
    reconnections: AtomicUsize,
    errors: Mutex<BTreeMap<String, usize>>,
}

impl Tally {
    fn note(&self, turn: usize, seconds: f64, end: Result<u32, Error>) {
        let conduct = conduct(turn);
        self.ends.lock().unwrap().entry(conduct).or_default()[usize::from(end.is_err())] += 1;
        match (conduct, end) {
            (Honest | Broken, Err(error)) => panic!("turn {turn}, {conduct:?}: {error}"),
            (_, Ok(reconnections)) => {
                self.reconnections.fetch_add(reconnections as usize, Ordering::SeqCst);
                if conduct == Honest {
                    self.seconds.lock().unwrap().push(seconds);
                }
            }
            (_, Err(error)) => {
                let said: String = error.to_string().chars().take(60).collect();
                *self.errors.lock().unwrap().entry(format!("{conduct:?}: {said}")).or_default() += 1;
            }
        }
    }
}

fn play_all(stage: &Arc<Stage>, sessions: usize) -> Tally {
    let (tally, next) = (Tally::default(), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    let turn = next.fetch_add(1, Ordering::SeqCst);
                    if turn >= sessions {
                        return;
                    }
                    let begun = Instant::now();
                    let end = stage.play(turn);
                    tally.note(turn, begun.elapsed().as_secs_f64(), end);
                }
            });
        }
    });
    tally
}

fn stage(address: &str, authorities: [&Certificates; 2]) -> Stage {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let checkpoint = Checkpoint::read(&tiny_checkpoint()).unwrap();
    let engine = Engine::new(checkpoint.graph().clone(), checkpoint.weights()).unwrap();
    let pixels = checkpoint.graph().shape(0).iter().product::<usize>();
    let image = |seed: usize| (0..pixels).map(|at| (at * (2 * seed + 31) % 251) as u8).collect::<Vec<u8>>();
    let images: Vec<_> = (0..7).map(image).collect();
    let logits = images.iter().map(|image| engine.run(image).unwrap()).collect();
    let [ours, theirs] =
        authorities.map(|authority| TlsClient::new(&authority.of("client"), "localhost").unwrap());
    let recorded = record(&ours, &runtime);
    Stage { runtime, address: address.to_owned(), ours, theirs, images, logits, recorded }
}

/// What the server holds once that has been the same for a while.
fn at_rest(server: &Server) -> Resources {
    let (mut last, mut since) = (Resources::of(server.id()), Instant::now());
    let until = since + Duration::from_secs(60);
    while since.elapsed() < Duration::from_secs(3) && Instant::now() < until {
        thread::sleep(Duration::from_millis(100));
        let now = Resources::of(server.id());
        if (now.descriptors, now.threads) != (last.descriptors, last.threads) {
            since = Instant::now();
        }
        last = now;
    }
    last
}

fn quantile(seconds: &mut [f64], part: f64) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[((seconds.len() - 1) as f64 * part).round() as usize]
}

#[test]
fn every_honest_client_among_hostile_ones_is_answered_and_nothing_is_left_behind() {
    let asked = std::env::var("EQO_LOAD").ok();
    let sessions = asked.map_or(SESSIONS, |sessions| sessions.parse().unwrap());
    let (ours, theirs) = (Certificates::new(&["client"]), Certificates::new(&["client"]));
    let server = ours.serve("server", &["--concurrent", "8", "--queue", "32", "--timeout", "5"]);
    let stage = Arc::new(stage(&server.address, [&ours, &theirs]));
    // What a server holds after its first sessions it may keep: allocators and thread pools grow once.
    play_all(&stage, 32);
    let before = at_rest(&server);
    let begun = Instant::now();
    let tally = play_all(&stage, sessions);
    let took = begun.elapsed().as_secs_f64();
    let after = at_rest(&server);
    let mut seconds = tally.seconds.into_inner().unwrap();
    let [p50, p99] = [0.5, 0.99].map(|part| quantile(&mut seconds, part));
    println!(
        "{sessions} sessions of {CLIENTS} clients in {took:.1} s; honest ones: p50 {p50:.3} s, p99 {p99:.3} s"
    );
    println!("before: {before:?}\nafter:  {after:?}");
    println!("reconnections: {}", tally.reconnections.into_inner());
    for (conduct, [well, failed]) in tally.ends.into_inner().unwrap() {
        println!("{conduct:?}: {well} answered, {failed} not");
    }
    for (error, count) in tally.errors.into_inner().unwrap() {
        println!("{count:5} {error}");
    }
    assert!(
        after.descriptors <= before.descriptors && after.threads <= before.threads,
        "{before:?}, {after:?}"
    );
    // 32 MB are far below what a thousand sessions would leave behind, each of which holds a megabyte or more.
    assert!(after.resident_kib < before.resident_kib + (32 << 10), "{before:?}, {after:?}");
}
