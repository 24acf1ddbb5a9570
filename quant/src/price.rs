//! What every choice costs, taken from [`eqo_checkpoints::cost`] itself.
//!
//! The network is lowered with one choice everywhere; a node's share of its price is what that choice costs there. A node's
//! price depends on its own weights, on the bits it reads and on the bits it puts out; what it also depends on, the rings
//! of whoever reads it and how random OTs are made in bulk, is left out. So prices add up to the forecast of a whole plan
//! almost, and a plan is always judged by its own forecast: that of the network before any training, whose rings and shifts
//! training still moves.

use eqo_checkpoints::cost::{self, Costs, Network, OtKind, Profile};
use eqo_checkpoints::graph::{CheckedGraph, Op, Output};
use eqo_checkpoints::plan::BitPlan;
use eqo_datasets::Normalization;
use serde::Serialize;

use crate::sensitivity::{LayerSensitivity, Menu, Sensitivity, Step};
use crate::{Error, lower};

/// What private inference of an image takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Price {
    /// Bytes before the image is known, both directions.
    pub offline: f64,
    /// Bytes afterwards.
    pub online: f64,
    /// Rounds before the image is known. A node's are its share of all: nodes prepare together.
    pub rounds_offline: f64,
    /// Rounds afterwards.
    pub rounds_online: f64,
}

/// Prices of one layer: `[choice][bits read][bits put out]`, the latter two by their place in [`Menu::act_bits`].
pub type LayerPrices = Vec<Vec<Vec<Price>>>;

/// Whose prices are asked for.
pub struct Pricing<'a> {
    /// What quantizes it.
    pub network: &'a Sensitivity<'a>,
    /// Of its images.
    pub normalization: Normalization,
    /// Names in the graph.
    pub classes: &'a [String],
    /// How random OTs are made.
    pub ot: OtKind,
}

impl Price {
    /// All bytes.
    pub fn total(&self) -> f64 {
        self.offline + self.online
    }

    /// Seconds on a network, offline and online, without computing; both directions count as one after the other, a round
    /// as half a round trip.
    pub fn seconds(&self, network: &Network) -> f64 {
        let rounds = self.rounds_offline + self.rounds_online;
        self.total() / network.bytes_per_second as f64 + rounds * network.rtt.as_secs_f64() / 2.0
    }
}

impl Pricing<'_> {
    /// Prices of every layer's choices. `progress` is told (networks lowered, networks in all) and may end it.
    ///
    /// # Errors
    /// Those of quantizing and lowering, and of `progress`.
    pub fn table(
        &self,
        layers: &[LayerSensitivity],
        menu: &Menu,
        progress: Step<'_>,
    ) -> Result<Vec<LayerPrices>, Error> {
        let most = layers.iter().map(|layer| layer.weights.len()).max().unwrap_or(0);
        let mut prices: Vec<LayerPrices> =
            layers.iter().map(|layer| vec![Vec::new(); layer.weights.len()]).collect();
        for choice in 0..most {
            for (at, &bits) in menu.act_bits.iter().enumerate() {
                progress(choice * menu.act_bits.len() + at, most * menu.act_bits.len())?;
                let graph = self.lowered(&plan(layers, choice, bits))?;
                let by_output =
                    menu.act_bits.iter().map(|&out| Ok(self.node_prices(&with_outputs(&graph, bits, out)?)));
                let by_output: Vec<Vec<Price>> = by_output.collect::<Result<_, Error>>()?;
                for (index, layer) in prices.iter_mut().enumerate().filter(|(_, layer)| choice < layer.len())
                {
                    layer[choice].push(by_output.iter().map(|prices| prices[index]).collect());
                }
            }
        }
        Ok(prices)
    }

    /// The forecast of a whole plan.
    ///
    /// # Errors
    /// Those of quantizing and lowering.
    pub fn forecast(&self, plan: &BitPlan) -> Result<Price, Error> {
        let costs = self.costs(&self.lowered(plan)?);
        let (offline, online) = (costs.offline(), costs.online());
        Ok(Price {
            offline: offline.bytes() as f64,
            online: online.bytes() as f64,
            rounds_offline: offline.rounds as f64,
            rounds_online: online.rounds as f64,
        })
    }

    /// The share of every convolution and linear layer in a plan's forecast.
    ///
    /// # Errors
    /// Those of quantizing and lowering.
    pub fn shares(&self, plan: &BitPlan) -> Result<Vec<Price>, Error> {
        Ok(self.node_prices(&self.lowered(plan)?))
    }

    fn lowered(&self, plan: &BitPlan) -> Result<CheckedGraph, Error> {
        let net = self.network.replan(plan)?;
        Ok(lower::lower(net.arch(), plan, net.export()?, &self.normalization, self.classes)?.0)
    }

    fn costs(&self, graph: &CheckedGraph) -> Costs {
        cost::inference(graph, &Profile { ot: self.ot }, 1)
    }

    /// What every convolution and linear layer takes, its share of the random OTs and the max poolings of its activation
    /// included.
    fn node_prices(&self, graph: &CheckedGraph) -> Vec<Price> {
        let costs = self.costs(graph);
        let made: u64 = costs.nodes.iter().map(|node| node.ots.server_sends + node.ots.client_sends).sum();
        let each = costs.ot_extension.bytes() as f64 / made.max(1) as f64;
        let owners = owners(graph);
        let weighted = owners.iter().flatten().max().map_or(0, |&last| last + 1);
        let rounds_offline = costs.offline().rounds as f64 / weighted.max(1) as f64;
        let mut prices = vec![Price { rounds_offline, ..Price::default() }; weighted];
        for (owner, node) in owners.into_iter().zip(&costs.nodes) {
            let Some(price) = owner.and_then(|owner| prices.get_mut(owner)) else { continue };
            let ots = node.ots.server_sends + node.ots.client_sends;
            price.offline += node.offline.bytes() as f64 + each * ots as f64;
            price.online += node.online.bytes() as f64;
            price.rounds_online += node.online.rounds as f64;
        }
        prices
    }
}

/// Of every node, the place among convolutions and linear layers of the one whose choices decide its price: its own, or that of
/// the activation whose largest values it takes.
fn owners(graph: &CheckedGraph) -> Vec<Option<usize>> {
    let (mut owners, mut weighted) = (Vec::new(), 0);
    for node in graph.nodes() {
        owners.push(match &node.op {
            Op::Conv(_) => {
                weighted += 1;
                Some(weighted - 1)
            }
            Op::MaxPool(pool) => owners.get(pool.input).copied().flatten(),
            Op::Input(_) | Op::SumPool { .. } => None,
        });
    }
    owners
}

/// Every layer's `choice`, its last one where there are fewer, and activations of `act_bits`.
fn plan(layers: &[LayerSensitivity], choice: usize, act_bits: u8) -> BitPlan {
    let plans = layers.iter().filter_map(|layer| {
        let choice = layer.weights.get(choice).or_else(|| layer.weights.last())?;
        Some((layer.layer.clone(), choice.plan(act_bits)))
    });
    BitPlan { layers: plans.collect() }
}

/// The same graph with activations of `to` bits instead of `from`, their ranges kept: shifts change by the difference. Only what
/// a node itself costs means anything then.
fn with_outputs(graph: &CheckedGraph, from: u8, to: u8) -> Result<CheckedGraph, Error> {
    let mut graph = graph.graph().clone();
    for node in &mut graph.nodes {
        let Op::Conv(conv) = &mut node.op else { continue };
        let Output::Activation { bits, shifts } = &mut conv.output else { continue };
        *bits = to;
        shifts.iter_mut().for_each(|shift| *shift = (*shift + from).saturating_sub(to).max(1));
        // Room for the rounding, which the range's proof would have given.
        for (ring, shift) in conv.ring_bits.iter_mut().zip(shifts) {
            *ring = (*ring).max(to + *shift + 1);
        }
    }
    Ok(graph.check()?)
}

#[cfg(test)]
mod tests {
    use eqo_checkpoints::arch::Arch;
    use eqo_checkpoints::random;

    use super::*;

    #[test]
    fn max_poolings_are_paid_by_the_layer_whose_activation_they_read() {
        let arch = Arch::by_name("minionn", 10).unwrap();
        let plan = BitPlan::uniform(&arch, 4, 6);
        let made = random::checkpoint(&arch, &plan, 1, &|_, _| ()).unwrap();
        let owner = |name: &str| {
            let at = made.graph().nodes().iter().position(|node| node.name == name).unwrap();
            owners(made.graph())[at]
        };
        let names = ["input", "conv2", "pool1", "conv3", "conv4", "pool2", "fc"];
        let want = [None, Some(1), Some(1), Some(2), Some(3), Some(3), Some(7)];
        assert_eq!(names.map(owner), want);
    }
}
