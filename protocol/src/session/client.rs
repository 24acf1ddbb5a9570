//! The client's session. It knows the public graph and never sees a weight.

use eqo_checkpoints::graph::{CheckedGraph, Graph, MAX_GRAPH_JSON};

use super::handshake::{Confirmation, Hello, Verdict, Welcome, other_graph, send_request};
use super::{Clock, Log, limits};
use crate::gates::Party;
use crate::gates::open::open;
use crate::layers::{ClientSide, Walk, logit_ring};
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
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self { ot: OtKind::SoftSpoken4, expected_graph: None }
    }
}

/// A session with a server.
pub struct Client {
    graph: CheckedGraph,
    channel: Channel,
    ots: Ots,
    rng: PartyRng,
    max_batch: usize,
    log: Log,
}

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
    limits::check(&graph, 1)?;
    let mut log = Log::new(config.ot, clock);
    let mut rng = PartyRng::from_os()?;
    log.clock.enter(Scope::BaseOt);
    let ots = Ots::setup(&mut channel, Role::Client, config.ot, &mut rng)?;
    log.clock.enter(Scope::Handshake);
    let max_batch = (welcome.max_batch as usize).min(limits::MAX_BATCH);
    Ok(Client { graph, channel, ots, rng, max_batch, log })
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

    /// The logits of each image, in class order. An image is `[channels][height][width]` of pixels 0 to 255.
    ///
    /// # Errors
    /// [`Error::Config`] for no images, too many, or one of the wrong size; those of the channel and the OTs, after which
    /// the session can only be dropped.
    ///
    /// # Communication cost
    /// [`eqo_checkpoints::cost::inference`] foretells it exactly.
    pub fn infer(&mut self, images: &[impl AsRef<[u8]>]) -> Result<Vec<Vec<i64>>, Error> {
        let batch = images.len();
        self.log.check_sound()?;
        self.check_images(images)?;
        self.log.begin();
        send_request(&mut self.channel, batch as u32)?;
        let image = centred(&self.graph, images);
        let graph = &self.graph;
        let mut party =
            Party { role: Role::Client, channel: &mut self.channel, ots: &mut self.ots, rng: &mut self.rng };
        let clock = &mut self.log.clock;
        let walk = Walk { graph, side: &ClientSide, batch };
        let shares = walk.run(&mut party, image, |scope| clock.enter(scope))?;
        clock.enter(Scope::Result);
        party.channel.set_scope(Scope::Result);
        let logits = open(&mut party, |element| logit_ring(graph, element), &shares)?.unwrap_or_default();
        self.log.finish(batch);
        Ok(logits.chunks_exact(logits.len() / batch).map(<[i64]>::to_vec).collect())
    }

    /// Traffic and time so far, by scope.
    pub fn report(&self) -> Report {
        self.log.report(&self.channel, &self.graph, false)
    }

    /// Ends the session.
    ///
    /// # Errors
    /// Those of the channel.
    pub fn close(mut self) -> Result<Report, Error> {
        self.log.check_sound()?;
        send_request(&mut self.channel, 0)?;
        Ok(self.log.report(&self.channel, &self.graph, true))
    }

    fn check_images(&self, images: &[impl AsRef<[u8]>]) -> Result<(), Error> {
        if images.is_empty() || images.len() > self.max_batch {
            return Err(Error::Config {
                what: "batch",
                expected: format!("1 to {} images", self.max_batch),
                found: images.len().to_string(),
                next: "split the images into several inferences",
            });
        }
        limits::check(&self.graph, images.len())?;
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

/// `pixel − offset` of every image: the client's share of the input.
fn centred(graph: &CheckedGraph, images: &[impl AsRef<[u8]>]) -> Vec<u64> {
    let input = graph.input();
    let plane = input.height * input.width;
    let pixels = images.iter().flat_map(|image| {
        image.as_ref().chunks_exact(plane).zip(&input.offsets).flat_map(|(plane, &offset)| {
            plane.iter().map(move |&pixel| (i64::from(pixel) - i64::from(offset)) as u64)
        })
    });
    pixels.collect()
}
