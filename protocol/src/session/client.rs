//! The client's session. It knows the public graph and never sees a weight.

use eqo_checkpoints::cost::Answer;
use eqo_checkpoints::graph::{CheckedGraph, Graph, MAX_GRAPH_JSON};

use super::handshake::{Confirmation, Hello, Request, Verdict, Welcome, other_graph};
use super::stock::Stock;
use super::{Clock, Log, limits, reveal};
use crate::gates::Party;
use crate::layers::{self, ClientMaterial, Entered, Shares};
use crate::ot::{OtKind, Ots};
use crate::report::Report;
use crate::transport::{Channel, Scope};
use crate::{Error, PartyRng, Role};

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

/// A session with a server.
pub struct Client {
    graph: CheckedGraph,
    channel: Channel,
    ots: Ots,
    rng: PartyRng,
    max_batch: usize,
    max_prepared: usize,
    stock: Stock<ClientMaterial>,
    log: Log,
    watch: Option<Box<Watch>>,
}

/// Is told of every part of the protocol that begins.
type Watch = dyn FnMut(Entered) + Send;

/// Agrees with the server on version, parameters and graph, and runs the base OTs.
///
/// # Errors
/// [`Error::PeerData`] for a peer that speaks another protocol, [`Error::PeerIncompatible`] for another version, OT kind or
/// graph, [`Error::PeerGraph`] for a graph that can't be run; those of the channel.
pub fn connect(mut channel: Channel, config: &ClientConfig) -> Result<Client, Error> {
    let clock = Clock::start();
    Hello { ot: config.ot.code() }.send(&mut channel)?;
    let welcome = Welcome::recv(&mut channel)?;
    if welcome.verdict != Verdict::Accepted {
        return Err(Error::PeerIncompatible {
            what: "kind of OT",
            ours: config.ot.name().to_owned(),
            theirs: "a refusal".to_owned(),
            next: "propose a kind of OT that the server allows",
        });
    }
    let graph = recv_graph(&mut channel)?;
    let hash = graph.graph_hash();
    let expected = config.expected_graph.unwrap_or(hash);
    let verdict = if expected == hash { Verdict::Accepted } else { Verdict::OtherGraph };
    Confirmation { verdict, graph_hash: expected }.send(&mut channel)?;
    if verdict != Verdict::Accepted {
        return Err(other_graph(&expected, Some(&hash)));
    }
    let max_batch = limits::largest_batch(&graph, (welcome.max_batch as usize).min(limits::MAX_BATCH))?;
    let mut log = Log::new(config.ot, clock);
    let mut rng = PartyRng::from_os()?;
    log.clock.enter(Scope::BaseOt);
    let mut ots = Ots::setup(&mut channel, Role::Client, config.ot, &mut rng)?;
    ots.set_threads(config.threads);
    log.clock.enter(Scope::Handshake);
    let max_prepared = (welcome.max_prepared as usize).min(limits::most_prepared(&graph));
    Ok(Client { graph, channel, ots, rng, max_batch, max_prepared, stock: Stock::new(), log, watch: None })
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
    /// channel and the OTs, after which the session can only be dropped.
    ///
    /// # Communication cost
    /// [`eqo_checkpoints::cost::Forecast::prepare`] foretells it exactly.
    pub fn prepare(&mut self, batch: usize) -> Result<(), Error> {
        self.log.check_sound()?;
        self.check_batch(batch)?;
        if self.stock.images() + batch > self.max_prepared {
            return Err(Error::Config {
                what: "prepared images",
                expected: format!("at most {}, which the server allows", self.max_prepared),
                found: format!("{} and {batch} more", self.stock.images()),
                next: "use up what is prepared first",
            });
        }
        let request = Request::Prepare(batch);
        self.log.begin(request);
        request.send(&mut self.channel)?;
        let material = self.make(batch)?;
        self.stock.put(batch, material);
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
    /// [`Error::Config`] for no images, too many, or one of the wrong size; those of the channel and the OTs, after which
    /// the session can only be dropped.
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

    /// Traffic and time so far, by scope.
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
        let request = Request::Infer(batch, answer);
        self.log.begin(request);
        request.send(&mut self.channel)?;
        let material = match self.stock.take(batch) {
            Some(material) => material,
            None => self.make(batch)?,
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

    fn make(&mut self, batch: usize) -> Result<ClientMaterial, Error> {
        let Self { graph, channel, ots, rng, log, watch, .. } = self;
        let mut party = Party { role: Role::Client, channel, ots, rng };
        layers::Client { graph }.prepare(&mut party, batch, &mut |entered| note(log, watch, entered))
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
