//! The client's walk over the graph. It knows nothing but the public graph.

use eqo_checkpoints::cost::windows;
use eqo_checkpoints::graph::{CheckedGraph, NodeId, Op};
use eqo_checkpoints::layout::sum_pool;
use rand::Rng;

use super::linear::Convolution;
use super::{Enter, Shares, enter, extend_stock, last_uses, ots_of};
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
    activations: Vec<(NodeId, Activation)>,
    /// The client's shares of the logits.
    logits: Shares,
    batch: usize,
}

struct Activation {
    prepared: ClientPrepared,
    mask: Shares,
}

/// A node's state between the messages of its window.
struct Drawn {
    node: NodeId,
    products: OfferedOts,
    activation: Option<ClientDrawn>,
}

/// The client's shares of all tensors while it prepares: masks, and what follows from them.
struct Masks {
    shares: Vec<Shares>,
    last_use: Vec<NodeId>,
}

impl Client<'_> {
    /// Prepares an inference of `batch` images together with the server.
    ///
    /// # Errors
    /// Those of the channel and the OTs.
    pub fn prepare(
        &self,
        party: &mut Party,
        batch: usize,
        entered: &mut Enter,
    ) -> Result<ClientMaterial, Error> {
        let mut masks = Masks { shares: Vec::new(), last_use: last_uses(self.graph) };
        let mut activations = Vec::new();
        let mut image = Shares::default();
        for window in windows(self.graph, batch) {
            enter(party, entered, Scope::OtExtension);
            extend_stock(party, ots_of(self.graph, window.clone(), batch))?;
            let mut drawn = Vec::new();
            for node in window.clone() {
                enter(party, entered, Scope::Offline(node));
                drawn.extend(self.draw(party, node, batch)?);
            }
            let (mut drawn, mut chosen) = (drawn.into_iter(), Vec::new());
            for node in window {
                enter(party, entered, Scope::Offline(node));
                let share = match &self.graph.nodes()[node].op {
                    Op::Input(_) => {
                        image = self.random(party, node, batch);
                        image.clone()
                    }
                    Op::SumPool { input } => {
                        let [_, height, width] = self.graph.shape(*input);
                        Shares::new(sum_pool(height * width, &masks.shares[*input]))
                    }
                    Op::Conv(_) => {
                        let Some(drawn) = drawn.next() else { unreachable!("every convolution is drawn") };
                        let (accumulators, state) = self.choose(party, drawn, batch, &masks.shares)?;
                        match state {
                            Some(state) => {
                                let mask = self.random(party, node, batch);
                                chosen.push((node, state, mask.clone()));
                                mask
                            }
                            None => accumulators,
                        }
                    }
                };
                masks.push(share);
            }
            for (node, state, mask) in chosen {
                enter(party, entered, Scope::Offline(node));
                let prepared = self.correct(party, node, batch, state)?;
                activations.push((node, Activation { prepared, mask }));
            }
        }
        let logits = masks.shares.pop().unwrap_or_default();
        Ok(ClientMaterial { image, activations, logits, batch })
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
        for (node, Activation { prepared, mask }) in material.activations {
            enter(party, entered, Scope::Node(node));
            let Some(step) = self.convolution(node, material.batch).and_then(|step| step.activation()) else {
                unreachable!("only activations are prepared")
            };
            let activations = Shares::new(step.gate.client_run(party, prepared)?);
            send_masked(party, self.graph.extension_bits(node), &step.restore(&activations), &mask)?;
        }
        Ok(material.logits)
    }

    fn convolution(&self, id: NodeId, batch: usize) -> Option<Convolution<'_>> {
        match &self.graph.nodes()[id].op {
            Op::Conv(conv) => Some(Convolution::new(self.graph, id, conv, batch)),
            Op::Input(_) | Op::SumPool { .. } => None,
        }
    }

    fn draw(&self, party: &mut Party, node: NodeId, batch: usize) -> Result<Option<Drawn>, Error> {
        let Some(convolution) = self.convolution(node, batch) else { return Ok(None) };
        let products = convolution.products().client_draw(party)?;
        let activation = convolution.activation().map(|step| step.gate.client_draw(party)).transpose()?;
        Ok(Some(Drawn { node, products, activation }))
    }

    /// The client's accumulators, and its activation's state.
    fn choose(
        &self,
        party: &mut Party,
        drawn: Drawn,
        batch: usize,
        shares: &[Shares],
    ) -> Result<(Shares, Option<ClientChosen>), Error> {
        let Some(convolution) = self.convolution(drawn.node, batch) else {
            unreachable!("only convolutions are drawn")
        };
        let rows = convolution.rows(&shares[convolution.conv.input]);
        let products = convolution.products().client(party, drawn.products, &rows)?;
        let mut accumulators = convolution.accumulate(products);
        convolution.add_shortcut(shares, &mut accumulators);
        let state = match (convolution.activation(), drawn.activation) {
            (Some(step), Some(drawn)) => {
                let sorted = step.sort(&accumulators);
                Some(step.gate.client_choose(party, drawn, &sorted)?)
            }
            _ => None,
        };
        Ok((accumulators, state))
    }

    fn correct(
        &self,
        party: &mut Party,
        node: NodeId,
        batch: usize,
        state: ClientChosen,
    ) -> Result<ClientPrepared, Error> {
        let Some(step) = self.convolution(node, batch).and_then(|step| step.activation()) else {
            unreachable!("only activations are chosen")
        };
        step.gate.client_correct(party, state)
    }

    /// A uniform tensor of a node's shape.
    fn random(&self, party: &mut Party, node: NodeId, batch: usize) -> Shares {
        let elements = self.graph.shape(node).iter().product::<usize>() * batch;
        Shares::new((0..elements).map(|_| party.rng.next_u64()).collect())
    }
}

impl Masks {
    fn push(&mut self, share: Shares) {
        let id = self.shares.len();
        self.shares.push(share);
        for (earlier, _) in self.last_use.iter().enumerate().filter(|(_, last)| **last == id) {
            self.shares[earlier] = Shares::default();
        }
    }
}
