//! Rings of a width that a plan asks for (accumulator-aware quantization).
//!
//! Colbert et al. 2023 (A2Q) bound the L1 norm of every channel's weights for this. Here the proof itself decides: a network is
//! lowered, the range of every accumulator found ([`eqo_checkpoints::range`]), and channels that need more than they may have
//! are moved towards the nearest network that doesn't: by up to a half their weights become smaller; beyond that, or where
//! requantization alone needs more (`bits + shift + 2`), their finest weight step becomes coarser, which halves every number
//! in the accumulator and loses a bit of the finest taps only.

use burn::tensor::Device;
use eqo_checkpoints::arch::Arch;
use eqo_checkpoints::graph::{CheckedGraph, Conv, Op, Output};
use eqo_checkpoints::plan::BitPlan;
use eqo_checkpoints::range::{self, NodeRange};
use eqo_datasets::Normalization;
use eqo_train::fit::Refusal;
use eqo_train::qat::Narrowing;
use eqo_train::tensors::NamedTensors;
use eqo_train::{Classifier, QatNet};

use crate::{Error, lower};

/// Passes after which factors alone are given up: weights of the smallest codes don't shrink.
const BY_FACTORS: usize = 16;
/// Passes after which a ring can't be had.
const PASSES: usize = 64;
/// Rounding may enlarge a code that its factor made smaller.
const MARGIN: f64 = 0.995;

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

impl Rings<'_> {
    /// [`Self::within`] for the tensors of a network like `net`; `None` if they stay as they are.
    ///
    /// # Errors
    /// Those of [`Self::within`].
    pub fn projected(&self, net: &QatNet, tensors: &NamedTensors) -> Result<Option<NamedTensors>, Refusal> {
        let given = net.with_tensors(tensors, "the network in training", &Device::flex())?;
        let kept = self.within(&given)?.to_tensors();
        Ok((kept != *tensors).then_some(kept))
    }

    /// Whether any are asked for.
    pub fn asked(&self) -> bool {
        self.plan.layers.values().any(|layer| layer.ring_bits.is_some())
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
        for pass in 0..PASSES {
            let layers = net.export()?;
            let (graph, weights) =
                lower::lower(self.arch, self.plan, layers, &self.normalization, self.classes)?;
            let ranges = range::prove(&graph, &weights)?;
            let channels = self.narrowings(&graph, &ranges, pass)?;
            if channels.iter().flatten().all(|narrowing| *narrowing == Narrowing::NONE) {
                return Ok(net);
            }
            net = net.narrowed(&channels)?;
        }
        Ok(net)
    }

    /// One for every output channel of every weighted layer.
    fn narrowings(
        &self,
        graph: &CheckedGraph,
        ranges: &[NodeRange],
        pass: usize,
    ) -> Result<Vec<Vec<Narrowing>>, Error> {
        let layers = graph.nodes().iter().zip(ranges).filter_map(|(node, range)| match &node.op {
            Op::Conv(conv) => Some((&node.name, conv, range)),
            Op::Input(_) | Op::SumPool { .. } => None,
        });
        let layer = |(name, conv, range): (&String, &Conv, &NodeRange)| {
            let limit = self.limit(name);
            let wide = |channel: usize| conv.ring_bits[channel] > limit;
            let channel = |channel: usize| match wide(channel) {
                true => narrowing(&conv.output, channel, range.bounds[channel], (limit, pass))
                    .ok_or_else(|| unreachable(name, channel, [limit, conv.ring_bits[channel]])),
                false => Ok(Narrowing::NONE),
            };
            (0..conv.out_channels).map(channel).collect()
        };
        layers.map(layer).collect()
    }

    fn limit(&self, layer: &str) -> u8 {
        self.plan.layers.get(layer).and_then(|layer| layer.ring_bits).unwrap_or(u8::MAX)
    }
}

fn unreachable(node: &str, channel: usize, [limit, found]: [u8; 2]) -> Error {
    Error::Lowering {
        node: node.to_owned(),
        what: "ring",
        expected: format!("at most {limit} bits in channel {channel}"),
        found: format!("{found}, whatever its weights"),
        next: "Raise its ring_bits, or lower its weight or activation bits.",
    }
}

/// What brings accumulators within `bounds` nearer to a ring of `limit` bits, which they don't fit; `None` if nothing does.
fn narrowing(
    output: &Output,
    channel: usize,
    bounds: (i64, i64),
    (limit, pass): (u8, usize),
) -> Option<Narrowing> {
    let half = 2.0_f64.powi(i32::from(limit) - 1);
    let (below, above, excess, coarsest) = match output {
        Output::Accumulator => (0.0, 1.0, 0, false),
        Output::Activation { bits, shifts } => {
            let (bits, shift) = (i32::from(*bits), i32::from(shifts[channel]));
            let excess = bits + shift + 2 - i32::from(limit);
            (2.0_f64.powi(bits + shift), 2.0_f64.powi(shift - 1) + 1.0, excess, shift <= 1)
        }
    };
    // No accumulator is coarser than half a step of its activation.
    if pass + 1 == PASSES || coarsest && excess > 0 {
        return None;
    }
    if excess > 0 {
        return Some(Narrowing { factor: 1.0, coarser: excess });
    }
    let room = |half: f64, extreme: f64| if extreme > 0.0 { half / extreme } else { f64::INFINITY };
    let factor = room(half - below, -(bounds.0 as f64)).min(room(half - above, bounds.1 as f64));
    // Wide because of a layer that reads it, far too wide, or of the smallest codes already.
    if !(0.5..1.0).contains(&factor) || pass >= BY_FACTORS && !coarsest {
        return Some(Narrowing { factor: 1.0, coarser: 1 });
    }
    Some(Narrowing { factor: (factor * MARGIN) as f32, coarser: 0 })
}
