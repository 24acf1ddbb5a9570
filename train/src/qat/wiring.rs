//! Exponents through the network: every node's scale, and what meets in every layer.

use eqo_checkpoints::arch::{Arch, ArchNode, ArchOp, Shortcut};
use eqo_checkpoints::scales::{LayerScales, Meeting, accumulator_exponents, round_half_up};

use super::spec::LayerSpec;
use super::{QatLayer, QatNet};
use crate::Result;
use crate::interpret::{has_weights, weighted_nodes};
use crate::tensors::to_host;

/// Exponents of one forward pass.
pub(super) struct Wiring {
    /// Of every node's output, `[node][channel]`.
    pub(super) nodes: Vec<Vec<i32>>,
    /// Of every layer's accumulator, `[layer][out]`.
    pub(super) acc: Vec<Vec<i32>>,
    /// Of every layer's weight codes, `[layer][rows][groups]`, see [`LayerSpec::step_shape`].
    pub(super) steps: Vec<Vec<Vec<i32>>>,
    /// The same, `[layer][taps][out]`.
    pub(super) weights: Vec<Vec<Vec<i32>>>,
    /// What meets in every layer.
    meetings: Vec<OwnedMeeting>,
}

/// A [`Meeting`] without the weights, which [`Wiring`] holds.
struct OwnedMeeting {
    input: i32,
    output: Option<i32>,
    shortcut: Option<Vec<i32>>,
}

impl QatNet {
    /// Exponents of every layer's weight codes in force, `[layer][rows][groups]`.
    pub(super) fn step_exponents(&self) -> Vec<Vec<Vec<i32>>> {
        let layer = |(layer, spec): (&QatLayer, &LayerSpec)| {
            let rounded = to_host(&layer.log2_step.val()).mapv(|step| round_half_up(step) as i32);
            let rows: Vec<Vec<i32>> = rounded.outer_iter().map(|row| row.iter().copied().collect()).collect();
            spec.in_force(&rows)
        };
        self.layers.iter().zip(&self.specs).map(layer).collect()
    }

    /// Follows the exponents from the image to the logits, with the activation scales in force.
    pub(super) fn wiring(&self) -> Wiring {
        let outputs = self.activation_exponents();
        let steps = self.step_exponents();
        let weights = self.specs.iter().zip(&steps).map(|(spec, steps)| spec.by_channel(steps)).collect();
        let mut wiring = Wiring { nodes: Vec::new(), acc: Vec::new(), steps, weights, meetings: Vec::new() };
        for node in &self.arch.nodes {
            let exponents = match &node.op {
                ArchOp::Input { shape } => vec![0; shape[0]],
                ArchOp::GlobalAvgPool { input } | ArchOp::MaxPool { input, .. } => {
                    wiring.nodes[*input].clone()
                }
                ArchOp::Linear { input, .. } => self.follow(&mut wiring, *input, None, &outputs),
                ArchOp::Conv(conv) => self.follow(&mut wiring, conv.input, conv.shortcut.as_ref(), &outputs),
            };
            wiring.nodes.push(exponents);
        }
        wiring
    }

    /// Adds the next layer; returns the exponents of its output.
    fn follow(
        &self,
        wiring: &mut Wiring,
        input: usize,
        shortcut: Option<&Shortcut>,
        outputs: &[Option<i32>],
    ) -> Vec<i32> {
        let index = wiring.acc.len();
        let channels = self.specs[index].shape[0];
        let shortcut = shortcut.map(|shortcut| {
            let source = &wiring.nodes[shortcut.input];
            // Channels of zeros have no scale; the first channel's is as good as any and never the finest.
            let channel =
                |out: usize| out.checked_sub(shortcut.channel_offset).and_then(|from| source.get(from));
            (0..channels).map(|out| *channel(out).unwrap_or(&source[0])).collect()
        });
        let meeting = OwnedMeeting { input: wiring.nodes[input][0], output: outputs[index], shortcut };
        let acc = accumulator_exponents(&meeting.borrow(&wiring.weights[index]));
        let exponents = meeting.output.map_or_else(|| acc.clone(), |output| vec![output; channels]);
        wiring.meetings.push(meeting);
        wiring.acc.push(acc);
        exponents
    }

    /// Scales and shifts of every layer.
    pub(super) fn layer_scales(&self, wiring: &Wiring) -> Result<Vec<LayerScales>> {
        let layers = self.specs.iter().zip(&wiring.meetings).zip(&wiring.weights);
        let scales = |((spec, meeting), weights): ((&LayerSpec, &OwnedMeeting), &Vec<Vec<i32>>)| {
            Ok(LayerScales::new(&spec.name, &meeting.borrow(weights))?)
        };
        layers.map(scales).collect()
    }
}

impl Wiring {
    /// Exponent of a layer's input.
    pub(super) fn input(&self, layer: usize) -> i32 {
        self.meetings[layer].input
    }

    /// Exponent of the activation that a layer's accumulator ends in: its own, or that of the layer which adds it as
    /// its residual; `None` for logits.
    pub(super) fn requantized_at(&self, arch: &Arch, layer: usize) -> Option<i32> {
        let own = |layer: usize| self.meetings[layer].output;
        let id = arch.nodes.iter().enumerate().filter(|(_, node)| has_weights(node)).nth(layer)?.0;
        let adds = |node: &ArchNode| match &node.op {
            ArchOp::Conv(conv) => conv.shortcut.as_ref().is_some_and(|shortcut| shortcut.input == id),
            _ => false,
        };
        own(layer).or_else(|| weighted_nodes(arch).position(adds).and_then(own))
    }
}

impl OwnedMeeting {
    fn borrow<'a>(&'a self, weight: &'a [Vec<i32>]) -> Meeting<'a> {
        Meeting { weight, input: self.input, output: self.output, shortcut: self.shortcut.as_deref() }
    }
}
