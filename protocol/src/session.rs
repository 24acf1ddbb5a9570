//! Sessions: from a connection to logits.
//!
//! ```text
//! client                               server
//!   magic, version, OT parameter,
//!   ticket of a broken session    ->
//!                                 <-   magic, version, verdict, limits, ticket; the graph as JSON
//!   verdict, hash of the graph    ->
//!   or, in a session it comes
//!   back to: what it still has    ->   (no graph before)
//!                                 <-   what of it the server has, too
//!              base OTs in both directions
//!   request: prepare, infer, end  ->         (any number of them)
//!              the offline part of the graph, if nothing is prepared
//!              the graph, node by node
//!                                 <-   the server's shares of the logits, or of the class
//! ```
//!
//! The server holds the weights, the client the images; only the client learns logits. Each party checks every length
//! before it allocates and waits no longer than the channel's timeout.

pub mod footprint;
mod handshake;
mod holdings;
mod limits;
mod parking;
mod stock;
mod watch;

pub mod client;
pub mod server;

pub use parking::{Parking, ParkingConfig};

use eqo_checkpoints::cost::{self, Answer, Forecast, Kept, Profile};
use eqo_checkpoints::graph::{CheckedGraph, Op};

use crate::Error;
use crate::clock::Clock;
use crate::gates::Party;
use crate::gates::maximum::argmax;
use crate::gates::open::open;
use crate::gates::resize::extend_signed;
use crate::layers::{self, Enter, Shares, logit_ring};
use crate::ot::OtKind;
use crate::report::Report;
use crate::transport::{Channel, Scope};
use handshake::Request;

/// What a session has done so far, and whether it may go on.
struct Log {
    kind: OtKind,
    /// Of another connection, if this one went on with its session.
    kept: Option<Kept>,
    requests: Vec<Request>,
    clock: Clock,
    /// Set while a request is being served, so that it stays set if that fails.
    broken: bool,
}

impl Log {
    fn new(kind: OtKind, clock: Clock) -> Self {
        Self { kind, kept: None, requests: Vec::new(), clock, broken: false }
    }

    /// Refuses to go on after a failure: the parties no longer agree on what comes next, and logits could be garbage.
    fn check_sound(&self) -> Result<(), Error> {
        if !self.broken {
            return Ok(());
        }
        Err(Error::Config {
            what: "session",
            expected: "one whose requests were all answered".to_owned(),
            found: "one in which an inference has failed".to_owned(),
            next: "resume it if its connection failed, otherwise connect anew",
        })
    }

    fn begin(&mut self, request: Request) {
        self.requests.push(request);
        self.broken = true;
        // Waiting for a request isn't work.
        self.clock.skip(Scope::Request);
    }

    fn finish(&mut self) {
        self.clock.enter(Scope::Request);
        self.broken = false;
    }

    fn report(&self, channel: &Channel, graph: &CheckedGraph) -> Report {
        let profile = Profile { ot: self.kind };
        let mut forecast = match &self.kept {
            None => Forecast::new(graph, &profile),
            Some(kept) => Forecast::resumed(graph, &profile, kept),
        };
        for request in &self.requests {
            match *request {
                Request::Close => forecast.close(),
                Request::Prepare(batch) => forecast.prepare(batch),
                Request::Infer(batch, answer) => forecast.infer(batch, answer),
            }
        }
        Report::new(graph, &forecast.costs(), channel.meter(), |scope| self.clock.seconds(scope))
    }
}

/// From shares of the logits to what the client may learn; nothing at the server.
fn reveal(
    party: &mut Party,
    graph: &CheckedGraph,
    (shares, batch): (&Shares, usize),
    answer: Answer,
    entered: &mut Enter,
) -> Result<Vec<i64>, Error> {
    let opened = match (answer, graph.nodes().last().map(|node| &node.op)) {
        (Answer::Top1, Some(Op::Conv(conv))) => {
            let rows = shares.len() / conv.out_channels;
            let gate = cost::top1(conv, rows);
            layers::enter(party, entered, Scope::OtExtension);
            layers::extend_stock(party, gate.ots())?;
            layers::enter(party, entered, Scope::Result);
            let rings: Vec<(u32, usize)> =
                conv.ring_bits.iter().map(|&ring| (u32::from(ring), rows)).collect();
            let wide = u32::from(conv.widest_ring()) + 1;
            let by_class = transpose(shares, batch, conv.out_channels);
            let wider = extend_signed(party, (&rings, wide), &by_class)?;
            let by_image = transpose(&wider, conv.out_channels, batch);
            let place_bits = cost::place_bits(conv);
            let places = argmax(party, (wide, conv.out_channels), u32::from(place_bits), &by_image)?;
            // Opening reads a signed integer, a place is unsigned.
            let opened = open(party, |_| place_bits, &places)?;
            opened.map(|places| places.iter().map(|place| place & ((1 << place_bits) - 1)).collect())
        }
        _ => {
            layers::enter(party, entered, Scope::Result);
            open(party, |element| logit_ring(graph, element), shares)?
        }
    };
    Ok(opened.unwrap_or_default())
}

/// `[rows][columns]` to `[columns][rows]`.
fn transpose(values: &[u64], rows: usize, columns: usize) -> Vec<u64> {
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}
