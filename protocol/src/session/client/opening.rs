//! How a connection begins: with a new session, or with the one that a broken connection left.

use eqo_checkpoints::cost::Kept;
use eqo_checkpoints::graph::{CheckedGraph, Graph, MAX_GRAPH_JSON};

use super::{Client, ClientConfig};
use crate::error::Unserved;
use crate::ot::Ots;
use crate::session::handshake::{Confirmation, Hello, Verdict, Welcome, other_graph};
use crate::session::parking::{NO_TICKET, Ticket};
use crate::session::stock::Stock;
use crate::session::{Clock, Log, holdings, limits};
use crate::transport::{Channel, Scope};
use crate::{Error, PartyRng, Role};

/// Agrees with the server on version, parameters and graph, and runs the base OTs.
///
/// # Errors
/// [`Error::PeerData`] for a peer that speaks another protocol, [`Error::PeerIncompatible`] for another version, OT kind or
/// graph, [`Error::PeerGraph`] for a graph that can't be run, [`Error::TurnedAway`] by a server that is busy or about to stop; those
/// of the channel.
pub fn connect(mut channel: Channel, config: &ClientConfig) -> Result<Client, Error> {
    let clock = Clock::start();
    let welcome = greet(&mut channel, config, NO_TICKET)?;
    let graph = recv_graph(&mut channel)?;
    agree(&mut channel, &graph, config.expected_graph)?;
    let mut log = Log::new(config.ot, clock);
    let mut rng = PartyRng::from_os()?;
    let ots = set_up(&mut channel, config, &mut rng, &mut log)?;
    let (max_batch, max_prepared) = sizes(&graph, &welcome)?;
    let (config, ticket, stock) = (*config, welcome.ticket, Stock::new());
    Ok(Client { config, graph, ticket, channel, ots, rng, max_batch, max_prepared, stock, log, watch: None })
}

/// What became of a session on a new connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Resumed {
    /// The server had kept it: both parties have this in common.
    Kept(Kept),
    /// The server knew nothing of it, and has begun a new one: nothing is prepared any more.
    Anew,
}

impl Client {
    /// Goes on with the session over another connection to the same server, after one that failed ([`Error::is_connection`]): what
    /// both parties have prepared is kept, a preparation that was interrupted goes on after its last whole window when it is asked
    /// for again, and an inference that was interrupted has to be asked for again, with other masks. Base OTs are run anew, so that no
    /// OT of the broken connection is used again. May be tried again if it fails itself.
    ///
    /// # Errors
    /// As [`connect`]; the graph must be the same.
    ///
    /// # Communication cost
    /// [`eqo_checkpoints::cost::Forecast::resumed`] foretells it exactly.
    pub fn resume(&mut self, mut channel: Channel) -> Result<Resumed, Error> {
        let clock = Clock::start();
        // Whatever becomes of this, the old connection is done with.
        self.log.broken = true;
        let (config, hash) = (self.config, self.graph.graph_hash());
        let welcome = greet(&mut channel, &config, self.ticket)?;
        let sizes = sizes(&self.graph, &welcome)?;
        let mut log = Log::new(config.ot, clock);
        let mut resumed = Resumed::Anew;
        if welcome.verdict == Verdict::Resumed {
            Confirmation { verdict: Verdict::Accepted, graph_hash: hash }.send(&mut channel)?;
            let kept = holdings::offer(&mut channel, &mut self.stock)?;
            log.kept = Some(kept.clone());
            resumed = Resumed::Kept(kept);
        } else {
            let graph = recv_graph(&mut channel)?;
            agree(&mut channel, &graph, Some(hash))?;
            self.stock = Stock::new();
            self.ticket = welcome.ticket;
        }
        self.ots = set_up(&mut channel, &config, &mut self.rng, &mut log)?;
        (self.max_batch, self.max_prepared) = sizes;
        (self.channel, self.log) = (channel, log);
        Ok(resumed)
    }
}

/// Up to the server's answer, which lets this client in.
fn greet(channel: &mut Channel, config: &ClientConfig, ticket: Ticket) -> Result<Welcome, Error> {
    Hello { ot: config.ot.code(), ticket }.send(channel)?;
    let welcome = Welcome::recv(channel)?;
    match welcome.verdict {
        Verdict::Accepted => Ok(welcome),
        Verdict::Resumed if ticket != NO_TICKET => Ok(welcome),
        Verdict::Busy => Err(Error::TurnedAway { reason: Unserved::Busy }),
        Verdict::Draining => Err(Error::TurnedAway { reason: Unserved::Draining }),
        Verdict::Resumed | Verdict::OtherGraph => Err(Error::PeerData {
            scope: Scope::Handshake,
            what: "a verdict",
            expected: "one on this client's greeting",
            found: (welcome.verdict as u8).to_string(),
        }),
        Verdict::OtRefused => Err(Error::PeerIncompatible {
            what: "kind of OT",
            ours: config.ot.name().to_owned(),
            theirs: "a refusal".to_owned(),
            next: "propose a kind of OT that the server allows",
        }),
    }
}

fn recv_graph(channel: &mut Channel) -> Result<CheckedGraph, Error> {
    let json = channel.recv_bounded(MAX_GRAPH_JSON)?;
    let unusable = |source| Error::PeerGraph { source: Box::new(source) };
    let graph = Graph::from_json(&json).and_then(Graph::check).map_err(unusable)?;
    if graph.graph().to_json().as_bytes() == json {
        return Ok(graph);
    }
    Err(Error::PeerData {
        scope: Scope::Handshake,
        what: "the graph",
        expected: "canonical JSON",
        found: "another spelling".to_owned(),
    })
}

/// Tells the server whether its graph is the expected one.
fn agree(channel: &mut Channel, graph: &CheckedGraph, expected: Option<[u8; 32]>) -> Result<(), Error> {
    let hash = graph.graph_hash();
    let expected = expected.unwrap_or(hash);
    let verdict = if expected == hash { Verdict::Accepted } else { Verdict::OtherGraph };
    Confirmation { verdict, graph_hash: expected }.send(channel)?;
    if verdict == Verdict::Accepted { Ok(()) } else { Err(other_graph(&expected, Some(&hash))) }
}

/// Base OTs.
fn set_up(
    channel: &mut Channel,
    config: &ClientConfig,
    rng: &mut PartyRng,
    log: &mut Log,
) -> Result<Ots, Error> {
    log.clock.enter(Scope::BaseOt);
    let mut ots = Ots::setup(channel, Role::Client, config.ot, rng)?;
    ots.set_threads(config.threads);
    log.clock.enter(Scope::Handshake);
    Ok(ots)
}

/// The largest batch and how many images may be prepared: by the server's word, and by what this party is willing to hold.
fn sizes(graph: &CheckedGraph, welcome: &Welcome) -> Result<(usize, usize), Error> {
    let max_batch = limits::largest_batch(graph, (welcome.max_batch as usize).min(limits::MAX_BATCH))?;
    Ok((max_batch, (welcome.max_prepared as usize).min(limits::most_prepared(graph))))
}
