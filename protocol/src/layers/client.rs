//! The client's walk over the graph. It knows nothing but the public graph.

use eqo_checkpoints::cost::windows;
use eqo_checkpoints::graph::{CheckedGraph, NodeId, Op};
use eqo_checkpoints::layout::sum_pool;
use rand::Rng;

use super::linear::{Activation, Convolution};
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
    activations: Vec<Masked>,
    /// The client's shares of the logits.
    logits: Shares,
}

/// One activation of a prepared inference.
struct Masked {
    node: NodeId,
    step: Activation,
    prepared: ClientPrepared,
    mask: Shares,
}

/// A node's state between the messages of its window.
struct Drawn<'g> {
    convolution: Convolution<'g>,
    products: OfferedOts,
    activation: Option<(Activation, ClientDrawn)>,
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
                    Op::MaxPool(_) => unreachable!("a session refuses graphs with max pooling"),
                    Op::SumPool { input } => {
                        let [_, height, width] = self.graph.shape(*input);
                        Shares::new(sum_pool(height * width, &masks.shares[*input]))
                    }
                    Op::Conv(_) => {
                        let Some(drawn) = drawn.next() else { unreachable!("every convolution is drawn") };
                        let (accumulators, state) = choose(party, drawn, &masks.shares)?;
                        match state {
                            Some((step, state)) => {
                                let mask = self.random(party, node, batch);
                                chosen.push((node, step, state, mask.clone()));
                                mask
                            }
                            None => accumulators,
                        }
                    }
                };
                masks.push(share);
            }
            for (node, step, state, mask) in chosen {
                enter(party, entered, Scope::Offline(node));
                let prepared = step.gate.client_correct(party, state)?;
                activations.push(Masked { node, step, prepared, mask });
            }
        }
        let logits = masks.shares.pop().unwrap_or_default();
        Ok(ClientMaterial { image, activations, logits })
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
        for Masked { node, step, prepared, mask } in material.activations {
            enter(party, entered, Scope::Node(node));
            let activations = Shares::new(step.gate.client_run(party, prepared)?);
            send_masked(party, self.graph.extension_bits(node), &step.restore(&activations), &mask)?;
        }
        Ok(material.logits)
    }

    fn draw(&self, party: &mut Party, node: NodeId, batch: usize) -> Result<Option<Drawn<'_>>, Error> {
        let Op::Conv(conv) = &self.graph.nodes()[node].op else { return Ok(None) };
        let convolution = Convolution::new(self.graph, node, conv, batch);
        let products = convolution.products().client_draw(party)?;
        let draw = |step: Activation| {
            let drawn = step.gate.client_draw(party)?;
            Ok::<_, Error>((step, drawn))
        };
        let activation = convolution.activation().map(draw).transpose()?;
        Ok(Some(Drawn { convolution, products, activation }))
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
    drawn: Drawn,
    shares: &[Shares],
) -> Result<(Shares, Option<(Activation, ClientChosen)>), Error> {
    let Drawn { convolution, products, activation } = drawn;
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

impl Masks {
    fn push(&mut self, share: Shares) {
        let id = self.shares.len();
        self.shares.push(share);
        for (earlier, _) in self.last_use.iter().enumerate().filter(|(_, last)| **last == id) {
            self.shares[earlier] = Shares::default();
        }
    }
}
