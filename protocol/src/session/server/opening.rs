//! How a connection begins: with a new session, or with the one that a broken connection left.

use eqo_checkpoints::format::Checkpoint;
use eqo_checkpoints::graph::CheckedGraph;
use rand::Rng;

use super::{ServerConfig, Session};
use crate::error::Unserved;
use crate::layers::Server;
use crate::ot::{OtKind, Ots};
use crate::session::handshake::{Confirmation, Hello, Verdict, Welcome, other_graph};
use crate::session::holdings::{self, ServerStock};
use crate::session::parking::{Claim, NO_TICKET, Parking, Stay, Ticket, in_use};
use crate::session::{Clock, Log, limits};
use crate::transport::{Channel, Closer, Scope};
use crate::{Error, PartyRng, Role};

/// How clients come back to sessions whose connection broke.
#[derive(Clone, Copy)]
pub struct Return<'m> {
    /// What such sessions left, all of the same checkpoint.
    pub parking: &'m Parking,
    /// Who the client is: nobody else can claim its sessions. Its certificate's fingerprint, say; nothing if nobody is known, when the
    /// ticket alone decides.
    pub client: &'m [u8],
}

/// A client that has said who it is and what it wants, and waits for its answer.
pub struct Greeting {
    channel: Channel,
    hello: Hello,
    /// When it came, if its session was called off already.
    turn: Option<u64>,
}

impl Greeting {
    /// Waits for the first message of a client.
    ///
    /// # Errors
    /// [`Error::PeerData`] for a peer that speaks another protocol, [`Error::PeerIncompatible`] for another version; those of the
    /// channel.
    pub fn recv(mut channel: Channel) -> Result<Self, Error> {
        let hello = Hello::recv(&mut channel)?;
        Ok(Self { channel, hello, turn: None })
    }

    /// Ends the connection from elsewhere.
    pub fn closer(&self) -> Closer {
        self.channel.closer()
    }

    /// If the client comes back to a session of this parking that another connection still uses, closes that one. A server with few
    /// places does this before the client waits for one: the old connection may be what keeps it from getting it. Of several that come
    /// back and wait, the last one gets the session.
    pub fn call_off(&mut self, back: Return) {
        if self.hello.ticket != NO_TICKET {
            self.turn = back.parking.call_off(&self.hello.ticket, back.client).or(self.turn);
        }
    }

    /// Tells the client that there is no session for it now, and hangs up.
    ///
    /// # Errors
    /// Those of the channel.
    pub fn turn_away(mut self, reason: Unserved) -> Result<(), Error> {
        // What it sent ahead isn't kept while it takes its time to listen.
        self.channel.end_receiving();
        welcome(&mut self.channel, reason.into(), [0, 0], NO_TICKET)
    }
}

/// A session's stock, whether it is another connection's, its ticket and where it is left.
struct Origin<'m> {
    stock: ServerStock,
    resumed: bool,
    ticket: Ticket,
    stay: Option<Stay<'m>>,
}

impl<'m> Session<'m> {
    /// Agrees with the client on version, parameters and graph, and runs the base OTs.
    ///
    /// # Errors
    /// [`Error::PeerData`] for a peer that speaks another protocol, [`Error::PeerIncompatible`] for another version, OT kind or
    /// graph, [`Error::Config`] for a batch or network that is too large; those of the channel.
    pub fn accept(
        channel: Channel,
        checkpoint: &'m Checkpoint,
        config: &ServerConfig,
    ) -> Result<Self, Error> {
        Self::open(Greeting::recv(channel)?, checkpoint, config, None)
    }

    /// [`accept`](Self::accept) for a client that has greeted, may come back after its connection broke, and perhaps does so now.
    ///
    /// # Errors
    /// As [`accept`](Self::accept).
    pub fn accept_or_resume(
        greeting: Greeting,
        checkpoint: &'m Checkpoint,
        config: &ServerConfig,
        back: Return<'m>,
    ) -> Result<Self, Error> {
        Self::open(greeting, checkpoint, config, Some(back))
    }

    fn open(
        greeting: Greeting,
        checkpoint: &'m Checkpoint,
        config: &ServerConfig,
        back: Option<Return<'m>>,
    ) -> Result<Self, Error> {
        // Without the client's wait for a place.
        let clock = Clock::start();
        let Greeting { mut channel, hello, turn } = greeting;
        let graph = checkpoint.graph();
        let max_batch = limits::largest_batch(graph, config.max_batch)?;
        let max_prepared = config.max_prepared.min(limits::most_prepared(graph)).max(max_batch);
        let (kind, ticket) = (agreed_kind(&mut channel, config, &hello)?, hello.ticket);
        let mut rng = PartyRng::from_os()?;
        let Some(mut origin) = Origin::of(&channel, (ticket, turn), back, &mut rng) else {
            welcome(&mut channel, Verdict::Busy, [0, 0], NO_TICKET)?;
            return Err(in_use());
        };
        let mut log = Log::new(kind, clock);
        let agreed = origin.agree(&mut channel, graph, [max_batch, max_prepared], &mut log);
        let ots = match agreed.and_then(|()| set_up(&mut channel, config, &mut rng, &mut log)) {
            Ok(ots) => ots,
            Err(error) => {
                origin.leave();
                return Err(error);
            }
        };
        let Origin { stock, mut stay, .. } = origin;
        stay.iter_mut().for_each(Stay::begin);
        let (side, watch) = (Server::new(graph, checkpoint.weights()), None);
        Ok(Self { checkpoint, side, channel, ots, rng, max_batch, max_prepared, stock, log, stay, watch })
    }
}

/// The kind of OT that the client proposes, if this server runs it.
fn agreed_kind(channel: &mut Channel, config: &ServerConfig, hello: &Hello) -> Result<OtKind, Error> {
    if let Some(kind) = config.ot_kinds.iter().copied().find(|kind| kind.code() == hello.ot) {
        return Ok(kind);
    }
    welcome(channel, Verdict::OtRefused, [0, 0], NO_TICKET)?;
    Err(refused(config, hello.ot))
}

impl<'m> Origin<'m> {
    /// None if another connection still uses the session.
    fn of(
        channel: &Channel,
        (ticket, turn): (Ticket, Option<u64>),
        back: Option<Return<'m>>,
        rng: &mut PartyRng,
    ) -> Option<Self> {
        let Some(Return { parking, client }) = back else {
            return Some(Self { stock: ServerStock::new(), resumed: false, ticket: NO_TICKET, stay: None });
        };
        if ticket != NO_TICKET {
            match parking.claim((&ticket, client), turn, channel.closer()) {
                Claim::Found(found) => {
                    let (stock, stay) = *found;
                    return Some(Self { stock, resumed: true, ticket, stay: Some(stay) });
                }
                Claim::InUse => return None,
                Claim::Unknown => {}
            }
        }
        let mut ticket = NO_TICKET;
        rng.fill_bytes(&mut ticket);
        let stay = Some(parking.stay(&ticket, client, channel.closer()));
        Some(Self { stock: ServerStock::new(), resumed: false, ticket, stay })
    }

    /// The client may come back once more to what it had.
    fn leave(self) {
        if let Some(stay) = self.stay {
            stay.leave(self.stock);
        }
    }

    /// Up to the base OTs.
    fn agree(
        &mut self,
        channel: &mut Channel,
        graph: &CheckedGraph,
        [max_batch, max_prepared]: [usize; 2],
        log: &mut Log,
    ) -> Result<(), Error> {
        let verdict = if self.resumed { Verdict::Resumed } else { Verdict::Accepted };
        welcome(channel, verdict, [max_batch, max_prepared], self.ticket)?;
        if !self.resumed {
            channel.send_message(graph.graph().to_json().as_bytes())?;
        }
        let confirmation = Confirmation::recv(channel)?;
        if confirmation.verdict != Verdict::Accepted || confirmation.graph_hash != graph.graph_hash() {
            return Err(other_graph(&graph.graph_hash(), Some(&confirmation.graph_hash)));
        }
        if self.resumed {
            log.kept = Some(holdings::accept(channel, &mut self.stock, max_prepared)?);
        }
        Ok(())
    }
}

fn welcome(channel: &mut Channel, verdict: Verdict, sizes: [usize; 2], ticket: Ticket) -> Result<(), Error> {
    let [max_batch, max_prepared] = sizes.map(|count| count as u32);
    Welcome { verdict, max_batch, max_prepared, ticket }.send(channel)
}

/// Base OTs.
fn set_up(
    channel: &mut Channel,
    config: &ServerConfig,
    rng: &mut PartyRng,
    log: &mut Log,
) -> Result<Ots, Error> {
    log.clock.enter(Scope::BaseOt);
    let mut ots = Ots::setup(channel, Role::Server, log.kind, rng)?;
    ots.set_threads(config.threads);
    log.clock.enter(Scope::Handshake);
    Ok(ots)
}

fn refused(config: &ServerConfig, proposed: u8) -> Error {
    Error::PeerIncompatible {
        what: "kind of OT",
        ours: format!("one of {:?}", config.ot_kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>()),
        theirs: OtKind::from_code(proposed)
            .map_or_else(|| format!("code {proposed}"), |kind| kind.name().to_owned()),
        next: "start the client with a kind of OT that this server allows",
    }
}
