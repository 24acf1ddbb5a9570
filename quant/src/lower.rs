//! From the trained quantized network to the public graph and the private weights (DESIGN §2, §3).

use eqo_checkpoints::arch::{self, Arch, ArchNode, ArchOp};
use eqo_checkpoints::graph::{CheckedGraph, Conv, Graph, Input, MaxPool, Node, Op, Output, Shortcut};
use eqo_checkpoints::plan::BitPlan;
use eqo_checkpoints::range;
use eqo_checkpoints::weights::{LayerWeights, Weights};
use eqo_datasets::Normalization;
use eqo_train::ExportedLayer;

use crate::Error;

/// Lowers a network: node `i` of the architecture becomes node `i` of the graph, with the trainer's own codes and
/// shifts, and with the smallest rings that [`range`] proves.
///
/// # Errors
/// [`Error::Lowering`] for a layer that `layers` or `plan` lack, [`Error::Checkpoint`] if no ring of 62 bits holds an
/// accumulator.
pub fn lower(
    arch: &Arch,
    plan: &BitPlan,
    layers: Vec<ExportedLayer>,
    normalization: &Normalization,
    classes: &[String],
) -> Result<(CheckedGraph, Weights), Error> {
    let mut lowering = Lowering { arch, plan, layers, weights: Weights::default(), logit_exponent: 0 };
    let mut nodes = Vec::with_capacity(arch.nodes.len());
    for node in &arch.nodes {
        let op = lowering.node(node, normalization)?;
        nodes.push(Node { name: node.name.clone(), op });
    }
    let Lowering { weights, logit_exponent, .. } = lowering;
    let graph = Graph { name: arch.name.clone(), classes: classes.to_vec(), logit_exponent, nodes };
    Ok((range::fit_rings(graph, &weights)?, weights))
}

struct Lowering<'a> {
    arch: &'a Arch,
    plan: &'a BitPlan,
    layers: Vec<ExportedLayer>,
    weights: Weights,
    logit_exponent: i32,
}

impl Lowering<'_> {
    fn node(&mut self, node: &ArchNode, normalization: &Normalization) -> Result<Op, Error> {
        match &node.op {
            ArchOp::Input { shape: [_, height, width] } => Ok(Op::Input(Input {
                height: *height,
                width: *width,
                offsets: normalization.offsets().to_vec(),
            })),
            ArchOp::GlobalAvgPool { input } => Ok(Op::SumPool { input: *input }),
            ArchOp::MaxPool { input, kernel, stride, padding } => {
                let (input, kernel, stride, padding) = (*input, *kernel, *stride, *padding);
                Ok(Op::MaxPool(MaxPool { input, kernel, stride, padding }))
            }
            ArchOp::Conv(_) | ArchOp::Linear { .. } => {
                let conv = node.op.as_conv().ok_or_else(|| missing(node, "weights"))?;
                self.conv(node, &conv)
            }
        }
    }

    fn conv(&mut self, node: &ArchNode, conv: &arch::Conv) -> Result<Op, Error> {
        let layer = self.take(node)?;
        let plan = self.plan.layers.get(&node.name).ok_or_else(|| missing(node, "bit plan"))?;
        if self.arch.nodes.last().is_some_and(|last| last.name == node.name) {
            self.logit_exponent = single_exponent(node, &layer.acc_exponents)?;
        }
        let output = match conv.relu {
            true => Output::Activation { bits: plan.act_bits, shifts: layer.output_shifts },
            false => Output::Accumulator,
        };
        let shifts = layer.shortcut_shifts;
        self.weights.layers.insert(node.name.clone(), LayerWeights { codes: layer.codes, bias: layer.bias });
        Ok(Op::Conv(Conv {
            input: conv.input,
            in_channels: conv.in_channels,
            out_channels: conv.out_channels,
            kernel: conv.kernel,
            stride: conv.stride,
            padding: conv.padding,
            algorithm: plan.algorithm,
            weight_exponents: plan.weight_exponents(),
            weight_offset: plan.weight_offset(),
            tap_shifts: layer.tap_shifts,
            shortcut: conv.shortcut.as_ref().map(|shortcut| Shortcut {
                input: shortcut.input,
                stride: shortcut.stride,
                channel_offset: shortcut.channel_offset,
                shifts,
            }),
            ring_bits: Vec::new(),
            output,
        }))
    }

    fn take(&mut self, node: &ArchNode) -> Result<ExportedLayer, Error> {
        let index = self.layers.iter().position(|layer| layer.name == node.name);
        index.map(|index| self.layers.swap_remove(index)).ok_or_else(|| missing(node, "exported layer"))
    }
}

/// Logits compare only if they share one scale.
fn single_exponent(node: &ArchNode, exponents: &[i32]) -> Result<i32, Error> {
    match exponents {
        [first, rest @ ..] if rest.iter().all(|exponent| exponent == first) => Ok(*first),
        _ => Err(Error::Lowering {
            node: node.name.clone(),
            what: "logit scales",
            expected: "one exponent for all classes".to_owned(),
            found: format!("{exponents:?}"),
            next: "Quantize the last layer with a single scale.",
        }),
    }
}

fn missing(node: &ArchNode, what: &'static str) -> Error {
    Error::Lowering {
        node: node.name.clone(),
        what,
        expected: "one for each weighted node".to_owned(),
        found: "none".to_owned(),
        next: "Plan and network must come from the same architecture.",
    }
}
