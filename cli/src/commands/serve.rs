//! `eqo serve`: the party with the weights.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use eqo_checkpoints::format::Checkpoint;
use eqo_protocol::session::server::{ServerConfig, serve_connection};
use eqo_protocol::transport::{Channel, Listener, TransportConfig};

use crate::args::ServeArgs;
use crate::exit::{Failure, Kind};
use crate::{interrupt, party, progress};

/// How soon a stop is noticed.
const POLL: Duration = Duration::from_millis(100);

/// How long running sessions may go on after a stop.
const GRACE: Duration = Duration::from_secs(5);

pub(crate) fn run(args: &ServeArgs) -> Result<(), Failure> {
    let stop = interrupt::watch()?;
    let checkpoint = Checkpoint::read(&args.checkpoint)?;
    let runtime = party::runtime()?;
    let transport = TransportConfig { timeout: args.timeout, link: args.network };
    let listener = Listener::bind(&args.listen, runtime.handle(), transport)?;
    progress::line(&format!("listening on {}", listener.local_addr()?));
    if args.until_stdin_ends {
        thread::spawn(interrupt::stop_with_stdin);
    }
    let config = ServerConfig { max_batch: args.max_batch, threads: args.threads, ..ServerConfig::default() };
    let (running, failed) = Default::default();
    let server = Server { state: Arc::new(State { checkpoint, config, running, failed }), args };
    let sessions = server.accept_until(stop, &listener)?;
    server.finish(stop, sessions)
}

/// What all sessions share.
struct State {
    checkpoint: Checkpoint,
    config: ServerConfig,
    running: AtomicUsize,
    failed: AtomicUsize,
}

struct Server<'a> {
    state: Arc<State>,
    args: &'a ServeArgs,
}

impl Server<'_> {
    /// Starts a thread for each client, until `stop` or the last session asked for.
    fn accept_until(&self, stop: &AtomicBool, listener: &Listener) -> Result<Vec<JoinHandle<()>>, Failure> {
        let mut sessions: Vec<JoinHandle<()>> = Vec::new();
        let mut accepted = 0;
        while !stop.load(Ordering::SeqCst) && self.args.sessions.is_none_or(|limit| accepted < limit) {
            if self.state.running.load(Ordering::SeqCst) >= self.args.concurrent {
                thread::sleep(POLL);
                continue;
            }
            let Some((channel, peer)) = listener.accept(POLL)? else { continue };
            accepted += 1;
            sessions.retain(|session| !session.is_finished());
            sessions.push(self.start(channel, peer));
        }
        Ok(sessions)
    }

    fn start(&self, channel: Channel, peer: SocketAddr) -> JoinHandle<()> {
        let state = Arc::clone(&self.state);
        state.running.fetch_add(1, Ordering::SeqCst);
        thread::spawn(move || {
            let _running = Running(&state.running);
            match serve_connection(channel, &state.checkpoint, &state.config) {
                Ok(report) => {
                    tracing::info!(%peer, bytes = report.bytes(), seconds = report.seconds(), "session done")
                }
                Err(error) => {
                    state.failed.fetch_add(1, Ordering::SeqCst);
                    tracing::warn!("session with {peer}: {error}");
                }
            }
        })
    }

    /// Lets the running sessions end; after a stop only for a while, because a client may never speak again.
    fn finish(&self, stop: &AtomicBool, sessions: Vec<JoinHandle<()>>) -> Result<(), Failure> {
        let mut deadline = None;
        while sessions.iter().any(|session| !session.is_finished()) {
            if stop.load(Ordering::SeqCst) && Instant::now() > *deadline.get_or_insert(Instant::now() + GRACE)
            {
                return Ok(());
            }
            thread::sleep(POLL);
        }
        let failed = self.state.failed.load(Ordering::SeqCst);
        match self.args.sessions {
            Some(asked) if failed > 0 => Err(Failure::new(
                Kind::Peer,
                format!("{failed} of {asked} sessions failed; the lines above say why"),
            )),
            _ => Ok(()),
        }
    }
}

/// Counts a session as running while it lives.
struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
