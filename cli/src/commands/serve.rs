//! `eqo serve`: the party with the weights.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use eqo_checkpoints::format::Checkpoint;
use eqo_protocol::session::server::{ServerConfig, serve_connection};
use eqo_protocol::transport::{Knock, Listener, Security, TransportConfig};

use crate::args::ServeArgs;
use crate::exit::{Failure, Kind};
use crate::{interrupt, party, progress, security};

/// How soon a stop is noticed.
const POLL: Duration = Duration::from_millis(100);

/// How long running sessions may go on after a stop.
const GRACE: Duration = Duration::from_secs(5);

pub(crate) fn run(args: &ServeArgs) -> Result<(), Failure> {
    let stop = interrupt::watch()?;
    let checkpoint = Checkpoint::read(&args.checkpoint)?;
    let security = security::server(&args.credentials, &args.clients.allow, &args.listen)?;
    let runtime = party::runtime()?;
    let transport = TransportConfig { timeout: args.timeout, link: args.network };
    let listener = Listener::bind(&args.listen, runtime.handle(), transport)?;
    progress::line(&format!("listening on {}", listener.local_addr()?));
    if args.until_stdin_ends {
        thread::spawn(interrupt::stop_with_stdin);
    }
    let config = ServerConfig { max_batch: args.max_batch, threads: args.threads, ..ServerConfig::default() };
    let (running, failed) = Default::default();
    let server = Server { state: Arc::new(State { checkpoint, config, security, running, failed }), args };
    let sessions = server.accept_until(stop, &listener)?;
    server.finish(stop, sessions)
}

/// What all sessions share.
struct State {
    checkpoint: Checkpoint,
    config: ServerConfig,
    security: Security,
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
            let Some(knock) = listener.knock(POLL)? else { continue };
            accepted += 1;
            sessions.retain(|session| !session.is_finished());
            sessions.push(self.start(knock));
        }
        Ok(sessions)
    }

    fn start(&self, knock: Knock) -> JoinHandle<()> {
        let peer = knock.peer();
        let state = Arc::clone(&self.state);
        state.running.fetch_add(1, Ordering::SeqCst);
        thread::spawn(move || {
            let _running = Running(&state.running);
            let served = knock
                .open(&state.security)
                .and_then(|channel| serve_connection(channel, &state.checkpoint, &state.config));
            match served {
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
