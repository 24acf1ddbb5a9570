//! Rings of a width that a plan asks for (accumulator-aware quantization).
//!
//! Colbert et al. 2023 (A2Q) bound the L1 norm of every channel's weights for this. Here the proof itself decides: a network is
//! lowered, the range of every accumulator found ([`eqo_checkpoints::range`]), and channels that need more than they may have
//! are moved towards the nearest network that doesn't: smaller weights, or a coarser finest step (`rings/step.rs`).

mod step;

use burn::tensor::Device;
use eqo_checkpoints::arch::Arch;
use eqo_checkpoints::graph::{CheckedGraph, Conv, Node, NodeId, Op, Output};
use eqo_checkpoints::plan::BitPlan;
use eqo_checkpoints::range::{self, NodeRange};
use eqo_datasets::Normalization;
use eqo_train::fit::Refusal;
use eqo_train::qat::Narrowing;
use eqo_train::tensors::NamedTensors;
use eqo_train::{Classifier, QatNet};

use crate::{Error, lower};
use step::{Channel, Step};

/// Counts up when the same network is narrowed otherwise.
pub const RULE: u32 = 1;
/// Passes after which a ring can't be had.
const PASSES: usize = 64;
/// What to do about a ring that can't be had.
const NEXT: &str = "Raise ring_bits (bits.ring), or lower weight or activation bits.";

/// What lowering needs beside the network.
#[derive(Clone, Copy)]
pub struct Rings<'a> {
    /// Its architecture.
    pub arch: &'a Arch,
    /// Which rings are asked for, [`eqo_checkpoints::plan::LayerPlan::ring_bits`].
    pub plan: &'a BitPlan,
    /// Of its images.
    pub normalization: Normalization,
    /// Names in the graph.
    pub classes: &'a [String],
}

/// A lowered network and the ranges of its accumulators.
struct Proven {
    graph: CheckedGraph,
    ranges: Vec<NodeRange>,
}

impl Rings<'_> {
    /// Whether any are asked for.
    pub fn asked(&self) -> bool {
        self.plan.layers.values().any(|layer| layer.ring_bits.is_some())
    }

    /// [`Self::within`] for the tensors of a network like `net`; `None` if they stay as they are.
    ///
    /// # Errors
    /// Those of [`Self::within`].
    pub fn projected(&self, net: &QatNet, tensors: &NamedTensors) -> Result<Option<NamedTensors>, Refusal> {
        let given = net.with_tensors(tensors, "the network in training", &Device::flex())?;
        let kept = self.within(&given)?.to_tensors();
        Ok((kept != *tensors).then_some(kept))
    }

    /// The network itself if all its rings are as asked, otherwise one near it.
    ///
    /// # Errors
    /// [`Error::Lowering`] naming a layer whose ring can't be had; those of lowering.
    pub fn within(&self, net: &QatNet) -> Result<QatNet, Error> {
        let mut net = net.clone();
        if !self.asked() {
            return Ok(net);
        }
        let mut done = Vec::new();
        for pass in 0..PASSES {
            let proven = self.proven(&net).map_err(|error| if pass == 0 { error } else { lost(&error) })?;
            done.resize_with(proven.graph.nodes().len(), Vec::new);
            let channels = self.narrowings(&proven, &mut done)?;
            if channels.iter().flatten().all(|narrowing| *narrowing == Narrowing::NONE) {
                return self.check(&proven.graph).map(|()| net);
            }
            net = net.narrowed(&channels)?;
        }
        self.check(&self.proven(&net)?.graph).map(|()| net)
    }

    /// That a lowered network's rings are as asked.
    ///
    /// # Errors
    /// [`Error::Lowering`] naming the first layer whose aren't.
    pub fn check(&self, graph: &CheckedGraph) -> Result<(), Error> {
        let convs = graph.nodes().iter().filter_map(|node| conv_of(&node.op).map(|conv| (&node.name, conv)));
        for (name, conv) in convs {
            let limit = self.limit(name);
            if let Some(channel) = conv.ring_bits.iter().position(|&bits| bits > limit) {
                return Err(unreachable(name, channel, [limit, conv.ring_bits[channel]]));
            }
        }
        Ok(())
    }

    fn proven(&self, net: &QatNet) -> Result<Proven, Error> {
        let (graph, weights) =
            lower::lower(self.arch, self.plan, net.export()?, &self.normalization, self.classes)?;
        let ranges = range::prove(&graph, &weights)?;
        Ok(Proven { graph, ranges })
    }

    /// One for every output channel of every weighted layer; `done`, by node and channel, is what was done before.
    fn narrowings(&self, proven: &Proven, done: &mut [Vec<Channel>]) -> Result<Vec<Vec<Narrowing>>, Error> {
        let nodes = proven.graph.nodes();
        let channels = |op: &Op| conv_of(op).map_or(0, |conv| conv.out_channels);
        let mut moves: Vec<Vec<Narrowing>> =
            nodes.iter().map(|node| vec![Narrowing::NONE; channels(&node.op)]).collect();
        for (id, node) in nodes.iter().enumerate() {
            let Some(conv) = conv_of(&node.op) else { continue };
            done[id].resize(conv.out_channels, Channel::default());
            let limit = self.limit(&node.name);
            for out in (0..conv.out_channels).filter(|&out| conv.ring_bits[out] > limit) {
                let fault = || unreachable(&node.name, out, [limit, conv.ring_bits[out]]);
                let step = self.step(proven, (id, out), &mut done[id][out]).ok_or_else(fault)?;
                moves[id][out].factor *= step.own.factor;
                moves[id][out].coarser += step.own.coarser;
                if step.source {
                    let (input, from) = source_of(&proven.graph, conv, out).ok_or_else(fault)?;
                    moves[input][from].coarser += done[input][from].coarser(1).ok_or_else(fault)?.coarser;
                }
            }
        }
        let weighted = nodes.iter().zip(moves).filter(|(node, _)| conv_of(&node.op).is_some());
        Ok(weighted.map(|(_, moves)| moves).collect())
    }

    /// For a channel whose ring is too wide; `None` if nothing makes it narrower.
    fn step(&self, proven: &Proven, (id, out): (usize, usize), done: &mut Channel) -> Option<Step> {
        let node = &proven.graph.nodes()[id];
        let (conv, limit) = (conv_of(&node.op)?, self.limit(&node.name));
        if conv.output != Output::Accumulator || proven.ranges[id].needed_bits[out] > limit {
            return done.step(proven, (id, out), limit);
        }
        // Wide for whoever adds it. Once those are as narrow as they must be, it follows by a coarser scale.
        let waits = |node: &Node| {
            let reader =
                conv_of(&node.op).filter(|conv| conv.shortcut.as_ref().is_some_and(|s| s.input == id));
            reader.is_some_and(|conv| conv.ring_bits.iter().any(|&bits| bits > self.limit(&node.name)))
        };
        let own = if proven.graph.nodes().iter().any(waits) { Narrowing::NONE } else { done.coarser(1)? };
        Some(Step { own, source: false })
    }

    fn limit(&self, layer: &str) -> u8 {
        self.plan.layers.get(layer).and_then(|layer| layer.ring_bits).unwrap_or(u8::MAX)
    }
}

fn conv_of(op: &Op) -> Option<&Conv> {
    if let Op::Conv(conv) = op { Some(conv) } else { None }
}

/// The channel of an accumulator that a convolution adds to its own `out`; activations have one scale for all channels, which
/// is trained.
fn source_of(graph: &CheckedGraph, conv: &Conv, out: usize) -> Option<(NodeId, usize)> {
    let shortcut = conv.shortcut.as_ref()?;
    let source = conv_of(&graph.nodes()[shortcut.input].op)?;
    let from = out.checked_sub(shortcut.channel_offset).filter(|&from| from < source.out_channels);
    (source.output == Output::Accumulator).then_some((shortcut.input, from.unwrap_or(0)))
}

fn unreachable(node: &str, channel: usize, [limit, found]: [u8; 2]) -> Error {
    Error::Lowering {
        node: node.to_owned(),
        what: "ring",
        expected: format!("at most {limit} bits in channel {channel}"),
        found: format!("{found}, and no smaller or coarser weights nearby that need less"),
        next: NEXT,
    }
}

/// A network that was narrowed until it can't be lowered any more.
fn lost(error: &Error) -> Error {
    Error::Lowering {
        node: "all with a ring".to_owned(),
        what: "ring",
        expected: "weights that fit".to_owned(),
        found: format!("none ({error})"),
        next: NEXT,
    }
}
