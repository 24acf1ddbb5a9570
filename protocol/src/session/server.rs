//! The server's sessions.

mod opening;

use eqo_checkpoints::cost::Answer;
use eqo_checkpoints::format::Checkpoint;

use super::handshake::Request;
use super::holdings::ServerStock;
use super::parking::Stay;
pub use super::watch::{Asked, Event};
use super::{Log, reveal};
use crate::gates::Party;
use crate::layers::{Entered, Server, ServerMaterial};
use crate::ot::{OtKind, Ots};
use crate::report::Report;
use crate::transport::{Channel, Meter, Scope};
use crate::{Error, PartyRng, Role};

pub use opening::{Greeting, Return};

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
    /// Where the stock is left if the connection breaks.
    stay: Option<Stay<'m>>,
    checkpoint: &'m Checkpoint,
    side: Server<'m>,
    channel: Channel,
    ots: Ots,
    rng: PartyRng,
    max_batch: usize,
    max_prepared: usize,
    stock: ServerStock,
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
    Ok(session.report())
}

impl<'m> Session<'m> {
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
    /// [`Error::PeerData`] for a batch or stock beyond the agreed one, what is prepared on the spot included; those of the channel and the OTs. The session can only be
    /// dropped then; if it was the connection that failed ([`Error::is_connection`]), the client may come back to what is prepared,
    /// in a session that was accepted so.
    pub fn serve(&mut self) -> Result<bool, Error> {
        let served = self.serve_request();
        self.log.broken |= served.is_err();
        if served.as_ref().is_err_and(Error::is_connection)
            && let Some(stay) = self.stay.take()
        {
            stay.leave(std::mem::replace(&mut self.stock, ServerStock::new()));
        }
        served
    }

    fn serve_request(&mut self) -> Result<bool, Error> {
        self.log.check_sound()?;
        let request = Request::recv(&mut self.channel, self.max_batch)?;
        self.log.begin(request);
        let before = self.channel.meter().total();
        self.tell(Event::of(request, before));
        match request {
            Request::Close => return Ok(false),
            Request::Prepare(batch) => {
                self.check_room(batch)?;
                let (serial, material) = self.prepare(batch)?;
                self.stock.put((serial, batch), material);
            }
            Request::Infer(batch, answer) => {
                let material = match self.stock.take(batch) {
                    Some(material) => material,
                    None => {
                        self.check_room(batch)?;
                        self.prepare(batch)?.1
                    }
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

    /// Traffic and time of this connection so far, by scope.
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
            what: "images to prepare",
            expected: "no more than the handshake allows, with those that are prepared",
            found: format!("{} and {batch} more", self.stock.images()),
        })
    }

    /// A prepared inference and its serial number. What a broken connection leaves of it is kept.
    fn prepare(&mut self, batch: usize) -> Result<(u64, ServerMaterial), Error> {
        let Self { side, channel, ots, rng, stock, log, watch, .. } = self;
        let mut begun = stock.begin(batch, || side.begin(batch));
        let mut party = Party { role: Role::Server, channel, ots, rng };
        let mut entered = |entered| note(log, watch, entered);
        match side.prepare(&mut party, &mut begun.preparation, &mut entered) {
            Ok(()) => Ok((begun.serial, begun.preparation.finish()?)),
            Err(error) => {
                if begun.preparation.windows() > 0 {
                    stock.interrupt(begun);
                }
                Err(error)
            }
        }
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
