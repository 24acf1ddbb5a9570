//! The server's sessions.

use eqo_checkpoints::format::Checkpoint;

use super::handshake::{Confirmation, Hello, Verdict, Welcome, other_graph, recv_request};
use super::{Clock, Log, limits};
use crate::gates::Party;
use crate::gates::open::open;
use crate::layers::{ServerSide, Walk, logit_ring};
use crate::ot::{OtKind, Ots};
use crate::report::Report;
use crate::transport::{Channel, Scope};
use crate::{Error, PartyRng, Role};

/// What a server agrees to.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Kinds of OT that clients may propose.
    pub ot_kinds: Vec<OtKind>,
    /// Images in one inference, at most; 1 to 1024. A session allows fewer where they would need too much memory.
    pub max_batch: usize,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self { ot_kinds: OtKind::ALL.to_vec(), max_batch: 64 }
    }
}

/// One client's session. Holds the weights; has no `Debug`.
pub struct Session<'m> {
    checkpoint: &'m Checkpoint,
    side: ServerSide<'m>,
    channel: Channel,
    ots: Ots,
    rng: PartyRng,
    max_batch: usize,
    log: Log,
}

/// Serves a client until it ends the session.
///
/// # Errors
/// Those of [`Session::accept`] and [`Session::serve`].
pub fn serve_connection(
    channel: Channel,
    checkpoint: &Checkpoint,
    config: &ServerConfig,
) -> Result<Report, Error> {
    let mut session = Session::accept(channel, checkpoint, config)?;
    while session.serve()?.is_some() {}
    Ok(session.log.report(&session.channel, checkpoint.graph(), true))
}

impl<'m> Session<'m> {
    /// Agrees with the client on version, parameters and graph, and runs the base OTs.
    ///
    /// # Errors
    /// [`Error::PeerData`] for a peer that speaks another protocol, [`Error::PeerIncompatible`] for another version, OT kind or
    /// graph, [`Error::Config`] for a batch or network that is too large; those of the channel.
    pub fn accept(
        mut channel: Channel,
        checkpoint: &'m Checkpoint,
        config: &ServerConfig,
    ) -> Result<Self, Error> {
        let clock = Clock::start();
        let graph = checkpoint.graph();
        let max_batch = limits::largest_batch(graph, config.max_batch)?;
        let proposed = Hello::recv(&mut channel)?.ot;
        let accepted = config.ot_kinds.iter().copied().find(|kind| kind.code() == proposed);
        let verdict = accepted.map_or(Verdict::OtRefused, |_| Verdict::Accepted);
        Welcome { verdict, max_batch: max_batch as u32 }.send(&mut channel)?;
        let kind = accepted.ok_or_else(|| Error::PeerIncompatible {
            what: "kind of OT",
            ours: format!("one of {:?}", config.ot_kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>()),
            theirs: OtKind::from_code(proposed)
                .map_or_else(|| format!("code {proposed}"), |kind| kind.name().to_owned()),
            next: "start the client with a kind of OT that this server allows",
        })?;
        channel.send_message(graph.graph().to_json().as_bytes())?;
        let confirmation = Confirmation::recv(&mut channel)?;
        if confirmation.verdict != Verdict::Accepted || confirmation.graph_hash != graph.graph_hash() {
            return Err(other_graph(&graph.graph_hash(), Some(&confirmation.graph_hash)));
        }
        let mut log = Log::new(kind, clock);
        let mut rng = PartyRng::from_os()?;
        log.clock.enter(Scope::BaseOt);
        let ots = Ots::setup(&mut channel, Role::Server, kind, &mut rng)?;
        log.clock.enter(Scope::Handshake);
        let side = ServerSide::new(graph, checkpoint.weights());
        Ok(Self { checkpoint, side, channel, ots, rng, max_batch, log })
    }

    /// Serves one inference and returns its batch size; `None` once the client has ended the session. A client that asks for
    /// nothing within the channel's timeout ends it too, with [`Error::Timeout`].
    ///
    /// # Errors
    /// [`Error::PeerData`] for a batch beyond the agreed one; those of the channel and the OTs, after which the session can
    /// only be dropped.
    pub fn serve(&mut self) -> Result<Option<usize>, Error> {
        self.log.check_sound()?;
        let batch = recv_request(&mut self.channel)? as usize;
        if batch == 0 {
            return Ok(None);
        }
        if batch > self.max_batch {
            return Err(Error::PeerData {
                scope: Scope::Handshake,
                what: "a batch size",
                expected: "at most the largest batch of the handshake",
                found: batch.to_string(),
            });
        }
        self.log.begin();
        let graph = self.checkpoint.graph();
        let mut party =
            Party { role: Role::Server, channel: &mut self.channel, ots: &mut self.ots, rng: &mut self.rng };
        let clock = &mut self.log.clock;
        // The client knows the pixels: its share is the image, the server's is zero.
        let image = vec![0; graph.shape(0).iter().product::<usize>() * batch];
        let logits =
            Walk { graph, side: &self.side, batch }.run(&mut party, image, |scope| clock.enter(scope))?;
        clock.enter(Scope::Result);
        party.channel.set_scope(Scope::Result);
        open(&mut party, |element| logit_ring(graph, element), &logits)?;
        self.log.finish(batch);
        Ok(Some(batch))
    }

    /// Traffic and time so far, by scope.
    pub fn report(&self) -> Report {
        self.log.report(&self.channel, self.checkpoint.graph(), false)
    }
}
