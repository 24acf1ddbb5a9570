//! `eqo serve`: the party with the weights.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use eqo_checkpoints::format::Checkpoint;
use eqo_protocol::session::server::{ServerConfig, serve_connection};
use eqo_protocol::transport::{Channel, Knock, Listener, Security, TransportConfig};

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
    let (security, address) = security::server(&args.credentials, &args.clients.allow, &args.listen)?;
    let runtime = party::runtime()?;
    let transport = TransportConfig { timeout: args.timeout, link: args.network };
    let listener = Listener::bind(&address, runtime.handle(), transport)?;
    progress::line(&format!("listening on {}", listener.local_addr()?));
    if args.until_stdin_ends {
        thread::spawn(interrupt::stop_with_stdin);
    }
    let config = ServerConfig { max_batch: args.max_batch, threads: args.threads, ..ServerConfig::default() };
    let sessions = args.sessions.unwrap_or(usize::MAX);
    let counts = Counts { sessions, concurrent: args.concurrent, ..Counts::default() };
    let server = Server { state: Arc::new(State { checkpoint, config, security, stop, counts }), args };
    server.accept_until_done(&listener)?;
    server.finish()
}

/// What all sessions share.
struct State {
    checkpoint: Checkpoint,
    config: ServerConfig,
    security: Security,
    stop: &'static AtomicBool,
    counts: Counts,
}

/// Who is there. A client counts as a session once it is let in: strangers cost a handshake and no session's place.
#[derive(Default)]
struct Counts {
    /// Clients that haven't finished their handshake.
    knocking: AtomicUsize,
    /// Sessions that were begun, of so many that are asked for.
    begun: AtomicUsize,
    sessions: usize,
    ended: AtomicUsize,
    /// Sessions that are being served, of so many at the same time.
    running: AtomicUsize,
    concurrent: usize,
    failed: AtomicUsize,
}

/// Handshakes at the same time, at most.
const KNOCKING: usize = 64;

struct Server<'a> {
    state: Arc<State>,
    args: &'a ServeArgs,
}

impl Server<'_> {
    /// Starts a thread for each client, until a stop or the last session asked for.
    fn accept_until_done(&self, listener: &Listener) -> Result<(), Failure> {
        let (stop, counts) = (self.state.stop, &self.state.counts);
        while !stop.load(Ordering::SeqCst) && counts.begun.load(Ordering::SeqCst) < counts.sessions {
            if counts.running.load(Ordering::SeqCst) >= counts.concurrent
                || counts.knocking.load(Ordering::SeqCst) >= KNOCKING
            {
                thread::sleep(POLL);
                continue;
            }
            let Some(knock) = listener.knock(POLL)? else { continue };
            self.start(knock)?;
        }
        Ok(())
    }

    fn start(&self, knock: Knock) -> Result<(), Failure> {
        let state = Arc::clone(&self.state);
        state.counts.knocking.fetch_add(1, Ordering::SeqCst);
        let session = move || {
            let peer = knock.peer();
            let opened = {
                let _knocking = Counted(&state.counts.knocking);
                knock.open(&state.security)
            };
            match opened {
                Ok(channel) => state.serve(channel, peer),
                Err(error) => tracing::warn!("not let in: {peer}: {error}"),
            }
        };
        thread::Builder::new().spawn(session).map(drop).map_err(|error| {
            Failure::new(
                Kind::Peer,
                format!("session: start of a thread failed: {error}; raise the limit of threads"),
            )
        })
    }

    /// Lets the sessions that are begun end; after a stop only for a while, because a client may never speak again. Whoever is still
    /// knocking isn't let in any more.
    fn finish(&self) -> Result<(), Failure> {
        let (stop, counts, mut deadline) = (self.state.stop, &self.state.counts, None);
        while counts.ended.load(Ordering::SeqCst) < counts.begun.load(Ordering::SeqCst) {
            if stop.load(Ordering::SeqCst) && Instant::now() > *deadline.get_or_insert(Instant::now() + GRACE)
            {
                return Ok(());
            }
            thread::sleep(POLL);
        }
        let failed = counts.failed.load(Ordering::SeqCst);
        match self.args.sessions {
            Some(asked) if failed > 0 => Err(Failure::new(
                Kind::Peer,
                format!("{failed} of {asked} sessions failed; the lines above say why"),
            )),
            _ => Ok(()),
        }
    }
}

impl State {
    /// One session, once it is its turn; none if all that were asked for are begun.
    fn serve(&self, channel: Channel, peer: SocketAddr) {
        let counts = &self.counts;
        let below = |limit: usize| move |count: usize| (count < limit).then_some(count + 1);
        let order = Ordering::SeqCst;
        if counts.begun.fetch_update(order, order, below(counts.sessions)).is_err() {
            return;
        }
        let _begun = Begun(counts);
        while counts.running.fetch_update(order, order, below(counts.concurrent)).is_err() {
            if self.stop.load(order) {
                return;
            }
            thread::sleep(POLL);
        }
        let _running = Counted(&counts.running);
        match serve_connection(channel, &self.checkpoint, &self.config) {
            Ok(report) => {
                tracing::info!(%peer, bytes = report.bytes(), seconds = report.seconds(), "session done")
            }
            Err(error) => {
                counts.failed.fetch_add(1, order);
                tracing::warn!("session with {peer}: {error}");
            }
        }
    }
}

/// A session that is begun; it has ended when this is dropped, and failed if that is by a panic.
struct Begun<'a>(&'a Counts);

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.failed.fetch_add(1, Ordering::SeqCst);
        }
        self.0.ended.fetch_add(1, Ordering::SeqCst);
    }
}

/// Is counted while it lives.
struct Counted<'a>(&'a AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
