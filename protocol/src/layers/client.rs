//! The client's walk over the graph. It knows nothing but the public graph.

use std::ops::Range;

use eqo_checkpoints::cost::{needs_end, windows};
use eqo_checkpoints::graph::{CheckedGraph, NodeId, Op};
use eqo_checkpoints::layout::sum_pool;
use rand::Rng;

use super::linear::{Activation, Convolution};
use super::pooling::{self, Pooling};
use super::{Enter, NODES, Shares, end_window, enter, extend_stock, last_uses, ots_of};
use crate::Error;
use crate::gates::Party;
use crate::gates::mask::send_masked;
use crate::gates::requantize::{ClientChosen, ClientDrawn, ClientPrepared};
use crate::ot::OfferedOts;
use crate::transport::Scope;

/// The public graph.
pub struct Client<'g> {
    /// The network.
    pub graph: &'g CheckedGraph,
}

/// The client's part of a prepared inference. It serves once: [`Client::infer`] takes it by value.
pub struct ClientMaterial {
    /// The image's mask.
    image: Shares,
    /// For each activation.
    activations: Vec<Masked>,
    /// The client's shares of the logits.
    logits: Shares,
}

/// One activation of a prepared inference.
struct Masked {
    node: NodeId,
    ready: Ready,
    mask: Shares,
}

/// A node's state after the first message of its window.
enum Drawn<'g> {
    Conv(Box<DrawnConv<'g>>),
    MaxPool(Box<Pooling>, pooling::ClientDrawn),
}

struct DrawnConv<'g> {
    convolution: Convolution<'g>,
    products: OfferedOts,
    activation: Option<(Activation, ClientDrawn)>,
}

/// What puts out an activation, after the second message.
enum Chosen {
    Requantization(Activation, ClientChosen),
    Pooling(pooling::ClientChosen),
}

/// What puts out an activation, prepared.
enum Ready {
    Requantization(Activation, ClientPrepared),
    Pooling(pooling::ClientReady),
}

/// The client's part of an inference that is being prepared, window by window. What a broken connection interrupts is the window
/// at hand and no other: a window is added once it is whole, and what was drawn for one that isn't is gone.
pub struct ClientPreparation {
    batch: usize,
    /// Windows that are whole.
    windows: usize,
    image: Shares,
    activations: Vec<Masked>,
    masks: Masks,
}

/// The client's shares of the tensors so far: masks, and what follows from them.
struct Masks {
    shares: Vec<Shares>,
    last_use: Vec<NodeId>,
}

impl Client<'_> {
    /// An inference of `batch` images of which nothing is prepared.
    pub fn begin(&self, batch: usize) -> ClientPreparation {
        let masks = Masks { shares: Vec::new(), last_use: last_uses(self.graph) };
        ClientPreparation { batch, windows: 0, image: Shares::default(), activations: Vec::new(), masks }
    }

    /// Prepares, together with the server, the windows that aren't yet.
    ///
    /// # Errors
    /// Those of the channel and the OTs; the windows before are kept.
    pub fn prepare(
        &self,
        party: &mut Party,
        preparation: &mut ClientPreparation,
        entered: &mut Enter,
    ) -> Result<(), Error> {
        for window in windows(self.graph, preparation.batch).into_iter().skip(preparation.windows) {
            let done = preparation.masks.shares.len();
            let ready = self.window(party, window, preparation, entered);
            let ready = ready.inspect_err(|_| preparation.masks.shares.truncate(done))?;
            preparation.add(ready);
        }
        Ok(())
    }

    /// One window. The masks of its nodes are added at once, for the nodes after them.
    fn window(
        &self,
        party: &mut Party,
        window: Range<NodeId>,
        preparation: &mut ClientPreparation,
        entered: &mut Enter,
    ) -> Result<Vec<Masked>, Error> {
        let (batch, masks) = (preparation.batch, &mut preparation.masks.shares);
        enter(party, entered, Scope::OtExtension);
        extend_stock(party, ots_of(self.graph, window.clone(), batch))?;
        let mut drawn = Vec::new();
        for node in window.clone() {
            enter(party, entered, Scope::Offline(node));
            drawn.extend(self.draw(party, node, batch)?);
        }
        let (mut drawn, mut chosen) = (drawn.into_iter(), Vec::new());
        let needs_end = needs_end(self.graph, window.clone(), batch);
        for node in window {
            enter(party, entered, Scope::Offline(node));
            let (share, state) = self.share(party, node, batch, (&mut drawn, masks))?;
            chosen.extend(state.map(|state| (node, state, share.clone())));
            masks.push(share);
        }
        let mut ready = Vec::new();
        for (node, state, mask) in chosen {
            enter(party, entered, Scope::Offline(node));
            ready.push(Masked { node, ready: state.correct(party)?, mask });
        }
        end_window(party, needs_end)?;
        Ok(ready)
    }

    /// The client's shares of the logits, `[batch][classes]` and one pixel, from `pixel − offset` of every image
    /// `[batch][channels][height][width]`.
    ///
    /// # Errors
    /// Those of the channel.
    pub fn infer(
        &self,
        party: &mut Party,
        material: ClientMaterial,
        pixels: &[u64],
        entered: &mut Enter,
    ) -> Result<Shares, Error> {
        enter(party, entered, Scope::Node(0));
        send_masked(party, self.graph.extension_bits(0), pixels, &material.image)?;
        for Masked { node, ready, mask } in material.activations {
            enter(party, entered, Scope::Node(node));
            let activations = ready.run(party)?;
            send_masked(party, self.graph.extension_bits(node), &activations, &mask)?;
        }
        Ok(material.logits)
    }

    fn draw(&self, party: &mut Party, node: NodeId, batch: usize) -> Result<Option<Drawn<'_>>, Error> {
        match &self.graph.nodes()[node].op {
            Op::Conv(conv) => {
                let convolution = Convolution::new(self.graph, node, conv, batch);
                let products = convolution.products().client_draw(party)?;
                let draw = |step: Activation| {
                    let drawn = step.gate.client_draw(party)?;
                    Ok::<_, Error>((step, drawn))
                };
                let activation = convolution.activation().map(draw).transpose()?;
                Ok(Some(Drawn::Conv(Box::new(DrawnConv { convolution, products, activation }))))
            }
            Op::MaxPool(pool) => {
                let pooling = Pooling::new(self.graph, node, pool, batch);
                let drawn = pooling.client_draw(party)?;
                Ok(Some(Drawn::MaxPool(Box::new(pooling), drawn)))
            }
            Op::Input(_) | Op::SumPool { .. } => Ok(None),
        }
    }

    /// The client's share of a node's output, and what is to be corrected; `drawn` and the shares of earlier nodes are given.
    fn share<'g>(
        &self,
        party: &mut Party,
        node: NodeId,
        batch: usize,
        (drawn, shares): (&mut impl Iterator<Item = Drawn<'g>>, &[Shares]),
    ) -> Result<(Shares, Option<Chosen>), Error> {
        if let Op::SumPool { input } = &self.graph.nodes()[node].op {
            let [_, height, width] = self.graph.shape(*input);
            return Ok((Shares::new(sum_pool(height * width, &shares[*input])), None));
        }
        if node == 0 {
            return Ok((self.random(party, node, batch), None));
        }
        let state = match (drawn.next(), &self.graph.nodes()[node].op) {
            (Some(Drawn::MaxPool(pooling, drawn)), Op::MaxPool(pool)) => {
                Chosen::Pooling(pooling.client_choose(party, drawn, &shares[pool.input])?)
            }
            (Some(Drawn::Conv(drawn)), _) => match choose(party, *drawn, shares)? {
                (_, Some((step, state))) => Chosen::Requantization(step, state),
                (accumulators, None) => return Ok((accumulators, None)),
            },
            _ => unreachable!("every convolution and max pooling is drawn"),
        };
        Ok((self.random(party, node, batch), Some(state)))
    }

    /// A uniform tensor of a node's shape.
    fn random(&self, party: &mut Party, node: NodeId, batch: usize) -> Shares {
        let elements = self.graph.shape(node).iter().product::<usize>() * batch;
        Shares::new((0..elements).map(|_| party.rng.next_u64()).collect())
    }
}

/// The client's accumulators, and its activation's state.
fn choose(
    party: &mut Party,
    drawn: DrawnConv,
    shares: &[Shares],
) -> Result<(Shares, Option<(Activation, ClientChosen)>), Error> {
    let DrawnConv { convolution, products, activation } = drawn;
    let rows = convolution.rows(&shares[convolution.conv.input]);
    let mut accumulators = convolution.accumulate(convolution.products().client(party, products, &rows)?);
    convolution.add_shortcut(shares, &mut accumulators);
    let choose = |(step, drawn): (Activation, ClientDrawn)| {
        let state = step.gate.client_choose(party, drawn, &step.sort(&accumulators))?;
        Ok::<_, Error>((step, state))
    };
    let state = activation.map(choose).transpose()?;
    Ok((accumulators, state))
}

impl Chosen {
    fn correct(self, party: &mut Party) -> Result<Ready, Error> {
        Ok(match self {
            Self::Requantization(step, state) => {
                let prepared = step.gate.client_correct(party, state)?;
                Ready::Requantization(step, prepared)
            }
            Self::Pooling(state) => Ready::Pooling(state.correct(party)?),
        })
    }
}

impl Ready {
    /// The client's shares of the activations, in the ring of their readers.
    fn run(self, party: &mut Party) -> Result<Shares, Error> {
        match self {
            Self::Requantization(step, prepared) => {
                let activations = Shares::new(step.gate.client_run(party, prepared)?);
                Ok(step.restore(&activations))
            }
            Self::Pooling(ready) => ready.run(party),
        }
    }
}

impl ClientPreparation {
    /// Images of the inference.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Windows that are prepared.
    pub fn windows(&self) -> usize {
        self.windows
    }

    /// A window is whole: what no later node reads is forgotten.
    fn add(&mut self, ready: Vec<Masked>) {
        if self.windows == 0 {
            self.image.clone_from(&self.masks.shares[0]);
        }
        self.windows += 1;
        self.activations.extend(ready);
        let Masks { shares, last_use } = &mut self.masks;
        let done = shares.len();
        for (share, _) in shares.iter_mut().zip(last_use).filter(|(_, last)| **last < done) {
            *share = Shares::default();
        }
    }

    /// The prepared inference.
    ///
    /// # Errors
    /// [`Error::Exhausted`] while nodes are missing.
    pub fn finish(mut self) -> Result<ClientMaterial, Error> {
        let (needed, available) = (self.masks.last_use.len(), self.masks.shares.len());
        let logits = self.masks.shares.pop().filter(|_| available == needed);
        let logits = logits.ok_or(Error::Exhausted { what: NODES, needed, available })?;
        Ok(ClientMaterial { image: self.image, activations: self.activations, logits })
    }
}
