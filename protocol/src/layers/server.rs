//! The server's walk over the graph: its weights choose, and meet masked activations in the clear.

use std::ops::Range;

use eqo_checkpoints::cost::{needs_end, windows};
use eqo_checkpoints::graph::{CheckedGraph, NodeId, Op};
use eqo_checkpoints::layout::sum_pool;
use eqo_checkpoints::weights::{LayerWeights, Weights};

use super::linear::{Activation, Convolution, add};
use super::pooling::{self, Pooling, ServerOffered, ServerReady};
use super::{Enter, NODES, Shares, end_window, enter, extend_stock, last_uses, ots_of};
use crate::Error;
use crate::gates::Party;
use crate::gates::mask::add_masked;
use crate::gates::requantize::{ServerCorrecting, ServerDrawn, ServerPrepared};
use crate::ot::ChosenOts;
use crate::transport::Scope;

/// The graph and its weights.
pub struct Server<'w> {
    graph: &'w CheckedGraph,
    layers: Vec<Option<&'w LayerWeights>>,
}

/// The server's part of a prepared inference. It serves once: [`Server::infer`] takes it by value.
pub struct ServerMaterial(ServerPreparation);

/// The server's part of an inference that is being prepared, window by window; what a broken connection interrupts is the window at
/// hand and no other.
pub struct ServerPreparation {
    batch: usize,
    /// Windows that are whole, of `all`.
    windows: usize,
    all: Vec<Range<NodeId>>,
    /// For each convolution and max pooling.
    nodes: Vec<Option<Node>>,
}

enum Node {
    Conv(ConvNode),
    MaxPool(ServerReady),
}

struct ConvNode {
    /// Share of the accumulators of the client's masks.
    masked: Shares,
    activation: Option<(Activation, ServerPrepared)>,
}

/// A node's state after the first message of its window.
enum Drawn<'g> {
    Conv(Box<DrawnConv<'g>>),
    MaxPool(Box<Pooling>, pooling::ServerDrawn),
}

struct DrawnConv<'g> {
    convolution: Convolution<'g>,
    products: ChosenOts,
    activation: Option<(Activation, ServerDrawn)>,
}

/// A node's state after the second message.
enum Offered {
    /// The share of its accumulators, and its activation's state.
    Conv(Shares, Option<(Activation, ServerCorrecting)>),
    MaxPool(ServerOffered),
}

impl<'w> Server<'w> {
    /// Looks up every node's weights, which must match the graph ([`eqo_checkpoints::range::prove`] checks that).
    pub fn new(graph: &'w CheckedGraph, weights: &'w Weights) -> Self {
        Self { graph, layers: graph.nodes().iter().map(|node| weights.layers.get(&node.name)).collect() }
    }

    /// An inference of `batch` images of which nothing is prepared.
    pub fn begin(&self, batch: usize) -> ServerPreparation {
        let nodes = self.graph.nodes().iter().map(|_| None).collect();
        ServerPreparation { batch, windows: 0, all: windows(self.graph, batch), nodes }
    }

    /// Prepares, together with the client, the windows that aren't yet.
    ///
    /// # Errors
    /// [`Error::Config`] for a convolution without weights; those of the channel and the OTs. The windows before are kept.
    pub fn prepare(
        &self,
        party: &mut Party,
        preparation: &mut ServerPreparation,
        entered: &mut Enter,
    ) -> Result<(), Error> {
        while let Some(window) = preparation.all.get(preparation.windows) {
            let ready = self.window(party, window.clone(), preparation.batch, entered)?;
            preparation.windows += 1;
            ready.into_iter().for_each(|(node, ready)| preparation.nodes[node] = Some(ready));
        }
        Ok(())
    }

    fn window(
        &self,
        party: &mut Party,
        window: Range<NodeId>,
        batch: usize,
        entered: &mut Enter,
    ) -> Result<Vec<(NodeId, Node)>, Error> {
        enter(party, entered, Scope::OtExtension);
        extend_stock(party, ots_of(self.graph, window.clone(), batch))?;
        let needs_end = needs_end(self.graph, window.clone(), batch);
        let mut drawn = Vec::new();
        for node in window {
            enter(party, entered, Scope::Offline(node));
            drawn.extend(self.draw(party, node, batch)?.map(|drawn| (node, drawn)));
        }
        let mut offered = Vec::new();
        for (node, drawn) in drawn {
            enter(party, entered, Scope::Offline(node));
            offered.push((node, drawn.offer(party)?));
        }
        let mut ready = Vec::new();
        for (node, offered) in offered {
            enter(party, entered, Scope::Offline(node));
            ready.push((node, offered.correct(party)?));
        }
        end_window(party, needs_end)?;
        Ok(ready)
    }

    /// The server's shares of the logits, `[batch][classes]` and one pixel.
    ///
    /// # Errors
    /// Those of the channel.
    pub fn infer(
        &self,
        party: &mut Party,
        material: ServerMaterial,
        entered: &mut Enter,
    ) -> Result<Shares, Error> {
        let ServerMaterial(ServerPreparation { batch, nodes, .. }) = material;
        let last_use = last_uses(self.graph);
        let mut shares: Vec<Shares> = Vec::with_capacity(last_use.len());
        for (id, prepared) in nodes.into_iter().enumerate() {
            enter(party, entered, Scope::Node(id));
            let output = match (&self.graph.nodes()[id].op, prepared) {
                (Op::Input(_), _) => {
                    // The client knows the pixels: the server's share is zero before it is masked.
                    let pixels = self.graph.shape(0).iter().product::<usize>() * batch;
                    let mut masked = Shares::new(vec![0; pixels]);
                    add_masked(party, self.graph.extension_bits(0), &mut masked)?;
                    masked
                }
                (Op::Conv(_), Some(Node::Conv(node))) => self.conv(party, (id, batch), node, &shares)?,
                (Op::MaxPool(pool), Some(Node::MaxPool(ready))) => {
                    let mut masked = ready.run(party, &shares[pool.input])?;
                    add_masked(party, self.graph.extension_bits(id), &mut masked)?;
                    masked
                }
                (Op::SumPool { input }, _) => {
                    let [_, height, width] = self.graph.shape(*input);
                    Shares::new(sum_pool(height * width, &shares[*input]))
                }
                (Op::Conv(_) | Op::MaxPool(_), _) => {
                    unreachable!("every such node is prepared as what it is")
                }
            };
            shares.push(output);
            for (earlier, _) in last_use.iter().enumerate().filter(|(_, last)| **last == id) {
                shares[earlier] = Shares::default();
            }
        }
        Ok(shares.pop().unwrap_or_default())
    }

    fn convolution(&self, id: NodeId, batch: usize) -> Option<Convolution<'w>> {
        match &self.graph.nodes()[id].op {
            Op::Conv(conv) => Some(Convolution::new(self.graph, id, conv, batch)),
            Op::Input(_) | Op::MaxPool(_) | Op::SumPool { .. } => None,
        }
    }

    fn draw(&self, party: &mut Party, node: NodeId, batch: usize) -> Result<Option<Drawn<'w>>, Error> {
        if let Op::MaxPool(pool) = &self.graph.nodes()[node].op {
            let pooling = Pooling::new(self.graph, node, pool, batch);
            let drawn = pooling.server_draw(party)?;
            return Ok(Some(Drawn::MaxPool(Box::new(pooling), drawn)));
        }
        let Some(convolution) = self.convolution(node, batch) else { return Ok(None) };
        let products = convolution.products().server_draw(party, &self.layer(node)?.codes)?;
        let draw = |step: Activation| {
            let drawn = step.gate.server_draw(party)?;
            Ok::<_, Error>((step, drawn))
        };
        let activation = convolution.activation().map(draw).transpose()?;
        Ok(Some(Drawn::Conv(Box::new(DrawnConv { convolution, products, activation }))))
    }

    /// The server's share of the node's output `[batch][out][height][width]`: masked activations, or accumulators.
    fn conv(
        &self,
        party: &mut Party,
        (id, batch): (NodeId, usize),
        node: ConvNode,
        shares: &[Shares],
    ) -> Result<Shares, Error> {
        let Some(convolution) = self.convolution(id, batch) else {
            unreachable!("only convolutions are prepared")
        };
        let layer = self.layer(id)?;
        let rows = convolution.rows(&shares[convolution.conv.input]);
        let products = convolution.products().plain(&layer.codes, &rows);
        let mut accumulators = convolution.accumulate(products);
        add(&mut accumulators, &node.masked);
        let [_, height, width] = self.graph.shape(id);
        for (plane, &bias) in accumulators.chunks_exact_mut(height * width).zip(layer.bias.iter().cycle()) {
            plane.iter_mut().for_each(|sum| *sum = sum.wrapping_add(bias as u64));
        }
        convolution.add_shortcut(shares, &mut accumulators);
        let Some((step, prepared)) = node.activation else { return Ok(accumulators) };
        let sorted = step.sort(&accumulators);
        let activations = Shares::new(step.gate.server_run(party, prepared, &sorted)?);
        let mut masked = step.restore(&activations);
        add_masked(party, self.graph.extension_bits(id), &mut masked)?;
        Ok(masked)
    }

    fn layer(&self, node: NodeId) -> Result<&'w LayerWeights, Error> {
        self.layers[node].ok_or_else(|| Error::Config {
            what: "weights",
            expected: format!("those of every convolution, {} among them", self.graph.nodes()[node].name),
            found: "none".to_owned(),
            next: "take graph and weights from one checkpoint",
        })
    }
}

impl ServerPreparation {
    /// Images of the inference.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Windows that are prepared.
    pub fn windows(&self) -> usize {
        self.windows
    }

    /// Forgets all windows but the first `windows`.
    pub fn keep(&mut self, windows: usize) {
        self.windows = self.windows.min(windows);
        for forgotten in &self.all[self.windows..] {
            self.nodes[forgotten.clone()].fill_with(|| None);
        }
    }

    /// The prepared inference.
    ///
    /// # Errors
    /// [`Error::Exhausted`] while nodes are missing.
    pub fn finish(self) -> Result<ServerMaterial, Error> {
        match self.all.get(self.windows) {
            None => Ok(ServerMaterial(self)),
            Some(window) => {
                Err(Error::Exhausted { what: NODES, needed: self.nodes.len(), available: window.start })
            }
        }
    }
}

impl ServerMaterial {
    /// Back to a preparation, for a client that missed its end.
    pub fn reopen(self) -> ServerPreparation {
        self.0
    }
}

impl Drawn<'_> {
    fn offer(self, party: &mut Party) -> Result<Offered, Error> {
        let DrawnConv { convolution, products, activation } = match self {
            Self::Conv(drawn) => *drawn,
            Self::MaxPool(pooling, drawn) => {
                return Ok(Offered::MaxPool(pooling.server_offer(party, drawn)?));
            }
        };
        let masked = convolution.accumulate(convolution.products().server(party, products)?);
        let offer = |(step, drawn): (Activation, ServerDrawn)| {
            let state = step.gate.server_offer(party, drawn)?;
            Ok::<_, Error>((step, state))
        };
        Ok(Offered::Conv(masked, activation.map(offer).transpose()?))
    }
}

impl Offered {
    fn correct(self, party: &mut Party) -> Result<Node, Error> {
        let (masked, state) = match self {
            Self::Conv(masked, state) => (masked, state),
            Self::MaxPool(offered) => return Ok(Node::MaxPool(offered.correct(party)?)),
        };
        let correct = |(step, state): (Activation, _)| {
            let prepared = step.gate.server_correct(party, state)?;
            Ok::<_, Error>((step, prepared))
        };
        Ok(Node::Conv(ConvNode { masked, activation: state.map(correct).transpose()? }))
    }
}

#[cfg(test)]
mod tests {
    use eqo_checkpoints::testing::{Spec, random_checkpoint};

    use super::*;

    #[test]
    fn a_layer_without_weights_is_an_error_that_names_it() {
        let checkpoint = random_checkpoint(1, &Spec::new([1, 4, 4], 2, vec![]));
        let mut weights = checkpoint.weights().clone();
        let (name, _) = weights.layers.pop_first().unwrap();
        let server = Server::new(checkpoint.graph(), &weights);
        let node = checkpoint.graph().nodes().iter().position(|node| node.name == name).unwrap();
        let error = server.layer(node).err().unwrap().to_string();
        assert!(error.contains(&name), "{error}");
    }
}
