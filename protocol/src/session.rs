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

use crate::ot::OtKind;
use crate::report::Report;
use crate::transport::Channel;
use clock::Clock;

/// What a session has done so far.
struct Log {
    kind: OtKind,
    batches: Vec<usize>,
    clock: Clock,
}

impl Log {
    fn report(&self, channel: &Channel, graph: &CheckedGraph, closed: bool) -> Report {
        let mut forecast = Forecast::new(graph, &Profile { ot: self.kind });
        self.batches.iter().for_each(|&batch| forecast.infer(batch));
        if closed {
            forecast.close();
        }
        Report::new(graph, &forecast.costs(), channel.meter(), |scope| self.clock.seconds(scope))
    }
}
