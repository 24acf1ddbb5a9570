//! `eqo serve`: the party with the weights.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use eqo_protocol::transport::{Knock, Listener, Security, TransportConfig};
use tokio::runtime::Handle;

use crate::args::ServeArgs;
use crate::exit::{Failure, Kind};
use crate::{interrupt, party, progress, security};
use admission::Limits;
use budget::{Budget, Guests};
use door::Door;
use live::Live;
use metrics::Metrics;
use model::{Models, Wishes, check_memory};

mod admission;
mod budget;
mod client;
mod deadline;
mod door;
mod drain;
mod http;
mod layers;
mod live;
mod metrics;
mod model;
mod session;
mod signals;
mod watch;

/// How soon a stop is noticed.
const POLL: Duration = Duration::from_millis(100);

/// Most clients that are neither served nor wait in the queue.
const KNOCKING: usize = 64;

/// How long the server leaves the system alone after it could not accept a client.
const RECOVERY: Duration = Duration::from_millis(200);

pub(crate) fn run(args: &ServeArgs) -> Result<(), Failure> {
    let runtime = party::runtime()?;
    let stop = signals::watch_stop(runtime.handle())?;
    let (security, address) = security::server(&args.credentials, &args.clients.allow, &args.listen)?;
    let shared = Arc::new(Shared::new(args, security, runtime.handle())?);
    signals::watch_reload(runtime.handle(), &shared)?;
    let transport = TransportConfig { timeout: args.timeout, link: args.network };
    let listener = Listener::bind(&address, runtime.handle(), transport)?;
    let watched = args.observation.metrics.as_deref();
    let watched = watched
        .map(|address| http::start(runtime.handle(), address, (&shared, args.observation.dashboard)))
        .transpose()?;
    progress::line(&format!("listening on {}", listener.local_addr()?));
    if let Some(watched) = watched {
        progress::line(&format!("metrics on {watched}"));
    }
    if args.until_stdin_ends {
        thread::spawn(interrupt::stop_with_stdin);
    }
    accept_until_done(&shared, listener, stop)?;
    drain::finish(&shared, stop);
    let [_, failed] = shared.metrics.results();
    match args.sessions {
        Some(asked) if failed > 0 => Err(Failure::new(
            Kind::Peer,
            format!("{failed} of {asked} sessions failed; the lines above say why"),
        )),
        _ => Ok(()),
    }
}

/// What all sessions and the operators' port share.
struct Shared {
    since: Instant,
    runtime: Handle,
    security: Security,
    settings: Settings,
    budget: Budget,
    models: Arc<Models>,
    door: Arc<Door>,
    live: Live,
    metrics: Metrics,
    /// Clients that haven't finished their handshake, or are being turned away.
    knocking: AtomicUsize,
    /// Clients that were let in: they wait, are served or are being turned away.
    inside: AtomicUsize,
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
struct Settings {
    /// A client's next message, and its whole handshake.
    timeout: Duration,
    /// A session.
    deadline: Option<Duration>,
    /// The wait for a session.
    queue_wait: Duration,
    /// The sessions that run when the server stops.
    drain: Duration,
}

impl Shared {
    fn new(args: &ServeArgs, security: Security, runtime: &Handle) -> Result<Self, Failure> {
        let admitted = &args.admission;
        let sessions = args.sessions.unwrap_or(usize::MAX);
        let concurrent = admitted.concurrent.min(sessions);
        let guests =
            Guests { sessions: concurrent, queue: admitted.queue, knocking: KNOCKING, returns: sessions > 1 };
        let budget = Budget::new(admitted.memory, admitted.stock, guests);
        let wishes = Wishes { max_batch: args.max_batch, stock: budget.share, parked: budget.parked };
        let models = Arc::new(Models::read(&args.checkpoint, wishes)?);
        check_memory(&models.current(), budget.memory)?;
        let limits = Limits {
            concurrent,
            per_client: admitted.per_client.unwrap_or(concurrent),
            queue: admitted.queue,
            sessions,
            memory: budget.memory,
            threads: args.threads,
            processors: thread::available_parallelism().map_or(1, usize::from),
        };
        let settings = Settings {
            timeout: args.timeout,
            deadline: admitted.deadline,
            queue_wait: admitted.queue_wait,
            drain: admitted.drain,
        };
        Ok(Self {
            since: Instant::now(),
            runtime: runtime.clone(),
            security,
            settings,
            budget,
            door: Door::new(limits, Arc::clone(&models)),
            models,
            live: Live::default(),
            metrics: Metrics::new(budget.memory, budget.stock),
            knocking: AtomicUsize::new(0),
            inside: AtomicUsize::new(0),
        })
    }

    /// Reads the checkpoint again for new sessions; one that is no good changes nothing.
    fn reload(self: &Arc<Self>) {
        let read = self.models.reload(self.budget.memory);
        self.metrics.reloaded(read.is_ok());
        match read {
            Ok(model) => progress::line(&format!("reloaded: new sessions run graph {}", model.hash)),
            Err(failure) => progress::line(&format!("not reloaded, the old checkpoint stays: {failure}")),
        }
        self.door.look_again();
    }

    fn knocks(self: &Arc<Self>) -> Counted {
        Counted::new(self, |shared| &shared.knocking)
    }

    fn is_inside(self: &Arc<Self>) -> Counted {
        Counted::new(self, |shared| &shared.inside)
    }
}

/// Is counted while it lives.
struct Counted {
    shared: Arc<Shared>,
    count: fn(&Shared) -> &AtomicUsize,
}

impl Counted {
    fn new(shared: &Arc<Shared>, count: fn(&Shared) -> &AtomicUsize) -> Self {
        count(shared).fetch_add(1, Ordering::SeqCst);
        Self { shared: Arc::clone(shared), count }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.count)(&self.shared).fetch_sub(1, Ordering::SeqCst);
    }
}

/// Starts a thread for each client, until a stop or the last session asked for. What the system can't do for the moment ends nothing.
fn accept_until_done(shared: &Arc<Shared>, listener: Listener, stop: &AtomicBool) -> Result<(), Failure> {
    while !stop.load(Ordering::SeqCst) && !shared.door.is_over() {
        // What broken sessions left has its time, also where no client comes.
        shared.models.current().parking.sweep();
        if shared.knocking.load(Ordering::SeqCst) >= KNOCKING {
            thread::sleep(POLL);
            continue;
        }
        match listener.knock(POLL) {
            Ok(None) => {}
            Ok(Some(knock)) => start(shared, knock),
            Err(error) if error.is_transient() => {
                shared.metrics.accept_errors.inc();
                tracing::warn!("{error}");
                thread::sleep(RECOVERY);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn start(shared: &Arc<Shared>, knock: Knock) {
    let (inside, knocking) = (Arc::clone(shared), shared.knocks());
    let visit = move || session::welcome(&inside, knock, knocking);
    if let Err(error) = thread::Builder::new().name("session".to_owned()).spawn(visit) {
        shared.metrics.accept_errors.inc();
        tracing::warn!("session: start of a thread failed: {error}; raise the limit of threads");
        thread::sleep(RECOVERY);
    }
}
