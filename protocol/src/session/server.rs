//! The server's sessions.

use eqo_checkpoints::cost::Answer;
use eqo_checkpoints::format::Checkpoint;

use super::handshake::{Confirmation, Hello, Request, Verdict, Welcome, other_graph};
use super::stock::Stock;
pub use super::watch::{Asked, Event};
use super::{Clock, Log, limits, reveal};
use crate::gates::Party;
use crate::layers::{Entered, Server, ServerMaterial};
use crate::ot::{OtKind, Ots};
use crate::report::Report;
use crate::transport::{Channel, Meter, Scope};
use crate::{Error, PartyRng, Role};

/// What a server agrees to.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Kinds of OT that clients may propose.
    pub ot_kinds: Vec<OtKind>,
    /// Images in one inference, at most; 1 to 1024. A session allows fewer where they would need too much memory.
    pub max_batch: usize,
    /// Images of all prepared inferences of a session, at most. A ResNet-32 for CIFAR takes some 20 MB an image.
    pub max_prepared: usize,
    /// Threads that make random OTs, at least 1; only Ferret uses more than one.
    pub threads: usize,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self { ot_kinds: OtKind::ALL.to_vec(), max_batch: 64, max_prepared: 64, threads: 1 }
    }
}

/// One client's session. Holds the weights; has no `Debug`.
pub struct Session<'m> {
    checkpoint: &'m Checkpoint,
    side: Server<'m>,
    channel: Channel,
    ots: Ots,
    rng: PartyRng,
    max_batch: usize,
    max_prepared: usize,
    stock: Stock<ServerMaterial>,
    log: Log,
    watch: Option<Box<Watch<'m>>>,
}

/// Is told of everything that happens.
type Watch<'m> = dyn FnMut(Event) + 'm;

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
    while session.serve()? {}
    Ok(session.log.report(&session.channel, checkpoint.graph()))
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
        let max_prepared = config.max_prepared.min(limits::most_prepared(graph)).max(max_batch);
        let proposed = Hello::recv(&mut channel)?.ot;
        let accepted = config.ot_kinds.iter().copied().find(|kind| kind.code() == proposed);
        let verdict = accepted.map_or(Verdict::OtRefused, |_| Verdict::Accepted);
        let [batch, prepared] = [max_batch, max_prepared].map(|count| count as u32);
        Welcome { verdict, max_batch: batch, max_prepared: prepared }.send(&mut channel)?;
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
        let mut ots = Ots::setup(&mut channel, Role::Server, kind, &mut rng)?;
        ots.set_threads(config.threads);
        log.clock.enter(Scope::Handshake);
        let side = Server::new(graph, checkpoint.weights());
        let stock = Stock::new();
        Ok(Self { checkpoint, side, channel, ots, rng, max_batch, max_prepared, stock, log, watch: None })
    }

    /// From now on tells `watch` of every request and every part of the protocol that begins.
    pub fn watch(&mut self, watch: impl FnMut(Event) + 'm) {
        self.watch = Some(Box::new(watch));
    }

    /// What was sent and received so far, by scope.
    pub fn meter(&self) -> &Meter {
        self.channel.meter()
    }

    /// Serves one request; false once the client has ended the session. A client that asks for nothing within the channel's
    /// timeout ends it too, with [`Error::Timeout`].
    ///
    /// # Errors
    /// [`Error::PeerData`] for a batch or stock beyond the agreed one; those of the channel and the OTs, after which the session
    /// can only be dropped.
    pub fn serve(&mut self) -> Result<bool, Error> {
        self.log.check_sound()?;
        let request = Request::recv(&mut self.channel, self.max_batch)?;
        self.log.begin(request);
        let before = self.channel.meter().total();
        self.tell(Event::of(request, before));
        match request {
            Request::Close => return Ok(false),
            Request::Prepare(batch) => {
                self.check_room(batch)?;
                let material = self.prepare(batch)?;
                self.stock.put(batch, material);
            }
            Request::Infer(batch, answer) => {
                let material = match self.stock.take(batch) {
                    Some(material) => material,
                    None => self.prepare(batch)?,
                };
                self.infer(material, batch, answer)?;
            }
        }
        self.log.finish();
        let (prepared, total) = (self.stock.images(), self.channel.meter().total());
        self.tell(Some(Event::Answered { prepared, total }));
        Ok(true)
    }

    /// Images of inferences that are prepared and not used up.
    pub fn prepared(&self) -> usize {
        self.stock.images()
    }

    /// Traffic and time so far, by scope.
    pub fn report(&self) -> Report {
        self.log.report(&self.channel, self.checkpoint.graph())
    }

    fn tell(&mut self, event: Option<Event>) {
        if let (Some(watch), Some(event)) = (&mut self.watch, event) {
            watch(event);
        }
    }

    fn check_room(&self, batch: usize) -> Result<(), Error> {
        if self.stock.images() + batch <= self.max_prepared {
            return Ok(());
        }
        Err(Error::PeerData {
            scope: Scope::Request,
            what: "a request to prepare",
            expected: "no more images than the handshake allows",
            found: format!("{} and {batch} more", self.stock.images()),
        })
    }

    fn prepare(&mut self, batch: usize) -> Result<ServerMaterial, Error> {
        let mut party =
            Party { role: Role::Server, channel: &mut self.channel, ots: &mut self.ots, rng: &mut self.rng };
        let (log, watch) = (&mut self.log, &mut self.watch);
        self.side.prepare(&mut party, batch, &mut |entered| note(log, watch, entered))
    }

    fn infer(&mut self, material: ServerMaterial, batch: usize, answer: Answer) -> Result<(), Error> {
        let mut party =
            Party { role: Role::Server, channel: &mut self.channel, ots: &mut self.ots, rng: &mut self.rng };
        let (log, watch) = (&mut self.log, &mut self.watch);
        let mut entered = |entered| note(log, watch, entered);
        let logits = self.side.infer(&mut party, material, &mut entered)?;
        reveal(&mut party, self.checkpoint.graph(), (&logits, batch), answer, &mut entered)?;
        Ok(())
    }
}

fn note(log: &mut Log, watch: &mut Option<Box<Watch>>, entered: Entered) {
    log.clock.enter(entered.scope);
    if let Some(watch) = watch {
        watch(Event::Entered(entered));
    }
}
