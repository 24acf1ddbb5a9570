//! One client, from its knock to its end, on a thread of its own.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use eqo_protocol::report::Report;
use eqo_protocol::session::server::{Greeting, Return, ServerConfig, Session};
use eqo_protocol::transport::Knock;
use eqo_protocol::{Error, Unserved};

use super::admission::Refused;
use super::client::ClientId;
use super::deadline::Deadline;
use super::door::Place;
use super::live::SessionId;
use super::metrics::{DAWDLED, DEADLINE, HANDSHAKE, Metrics, label};
use super::watch::Watch;
use super::{Counted, Shared};

/// How long a client may take to say what it wants, once its connection is secure.
const GREETING: Duration = Duration::from_secs(10);

/// How long a client that is turned away may take to listen.
const FAREWELL: Duration = Duration::from_secs(3);

/// Lets a client in, waits for its turn and serves it. `knocking` counts it until it is let in.
pub(super) fn welcome(shared: &Arc<Shared>, knock: Knock, knocking: Counted) {
    let (peer, came) = (knock.peer(), Instant::now());
    let greeted = greet(shared, knock);
    let _inside = shared.is_inside();
    drop(knocking);
    let (mut greeting, client) = match greeted {
        Ok(greeted) => greeted,
        Err(error) => {
            shared.metrics.error(&label(&error));
            tracing::warn!("not let in: {peer}: {error}");
            return;
        }
    };
    let let_in = came.elapsed();
    shared.models.call_off(&mut greeting, &client);
    let waits = Instant::now();
    let entered = shared.door.enter(&client, shared.settings.queue_wait);
    match entered {
        Ok(place) => {
            shared.metrics.wait.observe(waits.elapsed().as_secs_f64());
            let visit = Visit { shared, place: &place, peer, begun: Instant::now() - let_in };
            visit.run(greeting);
        }
        Err(refused) => {
            shared.metrics.refused(refused);
            tracing::warn!("turned away: {peer}: {}", refused.name());
            let _knocks = shared.knocks();
            let _deadline = Deadline::set(&shared.runtime, greeting.closer(), FAREWELL, DAWDLED);
            // Whether it listens or not, it is gone.
            let _ = greeting.turn_away(unserved(refused));
        }
    }
}

/// Makes the connection secure and hears what the client wants.
fn greet(shared: &Shared, knock: Knock) -> Result<(Greeting, ClientId), Error> {
    let peer = knock.peer();
    let (channel, certificate) = knock.open(&shared.security)?;
    let patience = GREETING.min(shared.settings.timeout);
    let _deadline = Deadline::set(&shared.runtime, channel.closer(), patience, DAWDLED);
    Ok((Greeting::recv(channel)?, ClientId::new(certificate, peer)))
}

/// What a client that can't be served now is told.
fn unserved(refused: Refused) -> Unserved {
    match refused {
        Refused::Draining => Unserved::Draining,
        Refused::QueueFull | Refused::WaitedTooLong | Refused::NoMemory => Unserved::Busy,
    }
}

/// A client that has a place.
struct Visit<'s> {
    shared: &'s Shared,
    place: &'s Place,
    peer: SocketAddr,
    /// Without the time in the queue.
    begun: Instant,
}

impl Visit<'_> {
    fn run(&self, greeting: Greeting) {
        let (shared, client, peer) = (self.shared, &self.place.grant.client, self.peer);
        let closer = greeting.closer();
        let listed = shared.live.begin(client, closer.clone(), self.place.model.image_bytes);
        let _span = tracing::info_span!("session", id = listed.id, client = %client).entered();
        shared.metrics.begun.inc();
        let mut ending = Ending { metrics: &shared.metrics, begun: Instant::now(), well: false };
        let limit = shared.settings.deadline;
        let _deadline = limit.map(|limit| Deadline::set(&shared.runtime, closer, limit, DEADLINE));
        match self.serve(greeting, listed.id) {
            Ok(report) => {
                ending.well = true;
                tracing::info!(%peer, bytes = report.bytes(), seconds = report.seconds(), "session done");
            }
            Err(error) => {
                shared.metrics.error(&label(&error));
                tracing::warn!("session with {peer}: {error}");
            }
        }
    }

    fn serve(&self, greeting: Greeting, id: SessionId) -> Result<Report, Error> {
        let (shared, model, grant) = (self.shared, &self.place.model, &self.place.grant);
        let config = ServerConfig {
            max_batch: grant.offer.batch,
            max_prepared: grant.offer.prepared,
            threads: grant.threads,
            ..ServerConfig::default()
        };
        let patience = shared.settings.timeout;
        let in_time = Deadline::set(&shared.runtime, greeting.closer(), patience, HANDSHAKE);
        let watch;
        let back = Return { parking: &model.parking, client: grant.client.proof() };
        let mut session = Session::accept_or_resume(greeting, &model.checkpoint, &config, back)?;
        drop(in_time);
        shared.metrics.handshake.observe(self.begun.elapsed().as_secs_f64());
        watch = RefCell::new(Watch::new(shared, model, id, session.meter()));
        session.watch(|event| watch.borrow_mut().told(event));
        let served = serve_all(&mut session);
        watch.borrow_mut().book(&session.meter().total());
        served.map(|()| session.report())
    }
}

fn serve_all(session: &mut Session) -> Result<(), Error> {
    while session.serve()? {}
    Ok(())
}

/// Counts a session's end, however it ends.
struct Ending<'m> {
    metrics: &'m Metrics,
    begun: Instant,
    well: bool,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.metrics.error("panic");
        }
        self.metrics.session.observe(self.begun.elapsed().as_secs_f64());
        self.metrics.ended(self.well);
    }
}
