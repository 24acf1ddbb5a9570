//! Sessions: from a connection to logits.
//!
//! ```text
//! client                               server
//!   magic, version, OT parameter  ->
//!                                 <-   magic, version, verdict, largest batch; the graph as JSON
//!   verdict, hash of the graph    ->
//!              base OTs in both directions
//!   batch size                    ->         (any number of inferences; a batch of zero ends the session)
//!              the graph, node by node
//!                                 <-   the server's shares of the logits
//! ```
//!
//! The server holds the weights, the client the images; only the client learns logits. Each party checks every length
//! before it allocates and waits no longer than the channel's timeout.

mod clock;
mod handshake;
mod limits;

pub mod client;
pub mod server;

use eqo_checkpoints::cost::{Forecast, Profile};
use eqo_checkpoints::graph::CheckedGraph;

use crate::Error;
use crate::ot::OtKind;
use crate::report::Report;
use crate::transport::{Channel, Scope};
use clock::Clock;

/// What a session has done so far, and whether it may go on.
struct Log {
    kind: OtKind,
    batches: Vec<usize>,
    clock: Clock,
    /// Set while an inference runs, so that it stays set if one fails.
    broken: bool,
}

impl Log {
    fn new(kind: OtKind, clock: Clock) -> Self {
        Self { kind, batches: Vec::new(), clock, broken: false }
    }

    /// Refuses to go on after a failure: the parties no longer agree on what comes next, and logits could be garbage.
    fn check_sound(&self) -> Result<(), Error> {
        if !self.broken {
            return Ok(());
        }
        Err(Error::PeerClosed {
            scope: Scope::Handshake,
            found: "a session in which an inference has failed".to_owned(),
        })
    }

    fn begin(&mut self) {
        self.broken = true;
        // Waiting for a request isn't work.
        self.clock.skip(Scope::Handshake);
    }

    fn finish(&mut self, batch: usize) {
        self.clock.enter(Scope::Handshake);
        self.batches.push(batch);
        self.broken = false;
    }

    fn report(&self, channel: &Channel, graph: &CheckedGraph, closed: bool) -> Report {
        let mut forecast = Forecast::new(graph, &Profile { ot: self.kind });
        self.batches.iter().for_each(|&batch| forecast.infer(batch));
        if closed {
            forecast.close();
        }
        Report::new(graph, &forecast.costs(), channel.meter(), |scope| self.clock.seconds(scope))
    }
}
