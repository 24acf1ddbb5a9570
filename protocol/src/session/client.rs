//! The client's session. It knows the public graph and never sees a weight.

mod opening;
mod persistent;

use eqo_checkpoints::cost::Answer;
use eqo_checkpoints::graph::CheckedGraph;

use super::handshake::Request;
use super::holdings::ClientStock;
use super::parking::Ticket;
use super::{Log, reveal};
use crate::gates::Party;
use crate::layers::{self, ClientMaterial, Entered, Shares};
use crate::ot::{OtKind, Ots};
use crate::report::Report;
use crate::transport::{Channel, Scope};
use crate::{Error, PartyRng, Role};

pub use opening::{Resumed, connect};
pub use persistent::{Patience, PersistentClient};

/// What a client asks for.
#[derive(Clone, Copy, Debug)]
pub struct ClientConfig {
    /// The kind of OT it proposes.
    pub ot: OtKind,
    /// The hash of the only graph it will run ([`CheckedGraph::graph_hash`]); any graph if `None`.
    pub expected_graph: Option<[u8; 32]>,
    /// Threads that make random OTs, at least 1; only Ferret uses more than one.
    pub threads: usize,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self { ot: OtKind::Ferret, expected_graph: None, threads: 1 }
    }
}

/// A session with a server. It outlives a broken connection ([`Client::resume`]).
pub struct Client {
    config: ClientConfig,
    graph: CheckedGraph,
    ticket: Ticket,
    channel: Channel,
    ots: Ots,
    rng: PartyRng,
    max_batch: usize,
    max_prepared: usize,
    stock: ClientStock,
    log: Log,
    watch: Option<Box<Watch>>,
}

/// Is told of every part of the protocol that begins.
type Watch = dyn FnMut(Entered) + Send;

impl Client {
    /// The public graph of the server's network.
    pub fn graph(&self) -> &CheckedGraph {
        &self.graph
    }

    /// Images in one call of [`Client::infer`], at most.
    pub fn max_batch(&self) -> usize {
        self.max_batch
    }

    /// From now on tells `watch` of every part of an inference when it begins, for a display of progress: several times of the
    /// same node while it is prepared.
    pub fn watch(&mut self, watch: impl FnMut(Entered) + Send + 'static) {
        self.watch = Some(Box::new(watch));
    }

    /// Prepares an inference of `batch` images before any of them is known. [`Client::infer`] and [`Client::classify`] draw on
    /// what is prepared for their batch size, and prepare on the spot if nothing is.
    ///
    /// # Errors
    /// [`Error::Config`] for a batch that is too large, or more images than the server lets a client prepare; those of the
    /// channel and the OTs, after which the session can only be resumed or dropped.
    ///
    /// # Communication cost
    /// [`eqo_checkpoints::cost::Forecast::prepare`] foretells it exactly.
    pub fn prepare(&mut self, batch: usize) -> Result<(), Error> {
        self.log.check_sound()?;
        self.check_batch(batch)?;
        self.check_room(batch)?;
        let request = Request::Prepare(batch);
        self.log.begin(request);
        request.send(&mut self.channel)?;
        let (serial, material) = self.make(batch)?;
        self.stock.put((serial, batch), material);
        self.log.finish();
        Ok(())
    }

    /// How many inferences of this batch size are prepared.
    pub fn prepared(&self, batch: usize) -> usize {
        self.stock.count(batch)
    }

    /// The logits of each image, in class order. An image is `[channels][height][width]` of pixels 0 to 255.
    ///
    /// # Errors
    /// [`Error::Config`] for no images, too many, one of the wrong size, or a batch to prepare on the spot for which other prepared
    /// ones leave no room; those of the channel and the OTs, after which the session can only be resumed or dropped.
    ///
    /// # Communication cost
    /// [`eqo_checkpoints::cost::Forecast::infer`] foretells it exactly.
    pub fn infer(&mut self, images: &[impl AsRef<[u8]>]) -> Result<Vec<Vec<i64>>, Error> {
        self.answer(images, Answer::Logits)
    }

    /// The class of each image, the first one if several have the largest logit; nothing else of the logits is revealed.
    /// Otherwise as [`Client::infer`].
    ///
    /// # Errors
    /// As [`Client::infer`].
    pub fn classify(&mut self, images: &[impl AsRef<[u8]>]) -> Result<Vec<usize>, Error> {
        let classes = self.answer(images, Answer::Top1)?;
        let known = self.graph.graph().classes.len();
        let class = |&class: &i64| match usize::try_from(class) {
            Ok(class) if class < known => Ok(class),
            _ => Err(Error::PeerData {
                scope: Scope::Result,
                what: "a class",
                expected: "one of the graph's",
                found: format!("number {class} of {known}"),
            }),
        };
        classes.iter().flatten().map(class).collect()
    }

    /// Traffic and time of this connection so far, by scope.
    pub fn report(&self) -> Report {
        self.log.report(&self.channel, &self.graph)
    }

    /// Ends the session.
    ///
    /// # Errors
    /// Those of the channel.
    pub fn close(mut self) -> Result<Report, Error> {
        self.log.check_sound()?;
        self.log.begin(Request::Close);
        Request::Close.send(&mut self.channel)?;
        Ok(self.log.report(&self.channel, &self.graph))
    }

    fn answer(&mut self, images: &[impl AsRef<[u8]>], answer: Answer) -> Result<Vec<Vec<i64>>, Error> {
        let batch = images.len();
        self.log.check_sound()?;
        self.check_batch(batch)?;
        self.check_images(images)?;
        if self.stock.count(batch) == 0 {
            self.check_room(batch)?;
        }
        let request = Request::Infer(batch, answer);
        self.log.begin(request);
        request.send(&mut self.channel)?;
        let material = match self.stock.take(batch) {
            Some(material) => material,
            None => self.make(batch)?.1,
        };
        let pixels = centred(&self.graph, images);
        let Self { graph, channel, ots, rng, log, watch, .. } = self;
        let mut party = Party { role: Role::Client, channel, ots, rng };
        let mut entered = |entered| note(log, watch, entered);
        let shares = layers::Client { graph }.infer(&mut party, material, &pixels, &mut entered)?;
        let values = reveal(&mut party, graph, (&shares, batch), answer, &mut entered)?;
        self.log.finish();
        Ok(values.chunks_exact((values.len() / batch).max(1)).map(<[i64]>::to_vec).collect())
    }

    /// A prepared inference and its serial number. What a broken connection leaves of it is kept.
    fn make(&mut self, batch: usize) -> Result<(u64, ClientMaterial), Error> {
        let Self { graph, channel, ots, rng, log, watch, stock, .. } = self;
        let side = layers::Client { graph };
        let mut begun = stock.begin(batch, || side.begin(batch));
        let mut party = Party { role: Role::Client, channel, ots, rng };
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

    fn check_batch(&self, batch: usize) -> Result<(), Error> {
        if (1..=self.max_batch).contains(&batch) {
            return Ok(());
        }
        Err(Error::Config {
            what: "batch",
            expected: format!("1 to {} images", self.max_batch),
            found: batch.to_string(),
            next: "split the images into several inferences",
        })
    }

    fn check_room(&self, batch: usize) -> Result<(), Error> {
        if self.stock.images() + batch <= self.max_prepared {
            return Ok(());
        }
        Err(Error::Config {
            what: "prepared images",
            expected: format!("at most {}, which the server allows", self.max_prepared),
            found: format!("{} and {batch} more", self.stock.images()),
            next: "use up what is prepared first",
        })
    }

    fn check_images(&self, images: &[impl AsRef<[u8]>]) -> Result<(), Error> {
        let [channels, height, width] = self.graph.shape(0);
        let wrong =
            images.iter().map(|image| image.as_ref().len()).find(|&len| len != channels * height * width);
        wrong.map_or(Ok(()), |found| {
            Err(Error::Config {
                what: "image",
                expected: format!("{channels} channels of {height} x {width} pixels"),
                found: format!("{found} bytes"),
                next: "resize the image to the network's input",
            })
        })
    }
}

fn note(log: &mut Log, watch: &mut Option<Box<Watch>>, entered: Entered) {
    log.clock.enter(entered.scope);
    if let Some(watch) = watch {
        watch(entered);
    }
}

/// `pixel − offset` of every image: the client's share of the input.
fn centred(graph: &CheckedGraph, images: &[impl AsRef<[u8]>]) -> Shares {
    let input = graph.input();
    let plane = input.height * input.width;
    let pixels = images.iter().flat_map(|image| {
        image.as_ref().chunks_exact(plane).zip(&input.offsets).flat_map(|(plane, &offset)| {
            plane.iter().map(move |&pixel| (i64::from(pixel) - i64::from(offset)) as u64)
        })
    });
    Shares::new(pixels.collect())
}
