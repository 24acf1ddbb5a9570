//! One layer as integers: wired to the scales around it and run on the calibrating images.

use super::taps::Taps;
use super::{NEXT, Values};
use crate::Error;
use crate::arch::{self, Arch, ArchNode};
use crate::arith::requantize;
use crate::engine::accumulators;
use crate::graph::{Conv, NodeId, Output, Shortcut};
use crate::layout;
use crate::plan::{BitPlan, LayerPlan};
use crate::scales::{LayerScales, Meeting};
use crate::weights::LayerWeights;
use crate::winograd::FITTING;

/// A convolution, or a linear layer as a 1x1 convolution, with its plan.
pub(super) struct Unit<'a> {
    name: &'a str,
    pub(super) conv: arch::Conv,
    pub(super) plan: &'a LayerPlan,
    pub(super) one_scale: bool,
    shape: [usize; 3],
}

impl<'a> Unit<'a> {
    pub(super) fn new(
        arch: &'a Arch,
        plan: &'a BitPlan,
        shapes: &[[usize; 3]],
        id: NodeId,
    ) -> Result<Self, Error> {
        let node = arch.node(id);
        let plan = plan.layers.get(&node.name);
        let plan = plan.ok_or_else(|| Error::node(&node.name, "plan", "an entry", "none", NEXT))?;
        let conv = node
            .op
            .as_conv()
            .ok_or_else(|| Error::node(&node.name, "operation", "one with weights", "another", NEXT))?;
        let unit =
            Self { name: &node.name, plan, one_scale: id + 1 == arch.nodes.len(), shape: shapes[id], conv };
        unit.check(node)?;
        Ok(unit)
    }

    fn check(&self, node: &ArchNode) -> Result<(), Error> {
        let least = 2 - self.plan.weight_offset();
        let bits =
            [("weight bits", self.plan.weight_bits, least), ("activation bits", self.plan.act_bits, 2)];
        for (what, bits, least) in bits {
            if !(least..=8).contains(&bits) {
                return Err(Error::node(&node.name, what, format!("{least} to 8"), bits, NEXT));
            }
        }
        let lists = self.plan.weight_exponents();
        if lists.len() != 1 && lists.len() != self.plan.algorithm.taps() {
            let (expected, found) = (self.plan.algorithm.taps(), lists.len());
            return Err(Error::node(&node.name, "taps with bits of their own", expected, found, NEXT));
        }
        let sound = |list: &Vec<u8>| {
            list.len() <= 8
                && list.windows(2).all(|pair| pair[0] < pair[1])
                && list.last().is_none_or(|&most| most <= LARGEST_EXPONENT)
        };
        if let Some(list) = lists.iter().find(|list| !sound(list)) {
            let expected = format!("at most 8 ascending ones up to {LARGEST_EXPONENT}");
            return Err(Error::node(&node.name, "bit exponents", expected, format!("{list:?}"), NEXT));
        }
        let algorithm = self.plan.algorithm;
        if !algorithm.fits(self.conv.kernel, self.conv.stride) {
            return Err(Error::node(&node.name, "algorithm", FITTING, algorithm.name(), NEXT));
        }
        Ok(())
    }
}

/// What meets a layer's products.
pub(super) struct Ends<'a> {
    /// Real value for each channel.
    pub(super) bias: &'a [f32],
    /// Whether the residual is added, if there is one.
    pub(super) shortcut: bool,
    /// Exponent of the activation; `None` ends in the accumulators.
    pub(super) output: Option<i32>,
}

impl<'a> Ends<'a> {
    /// The products alone.
    pub(super) fn products(zeros: &'a [f32]) -> Self {
        Self { bias: zeros, shortcut: false, output: None }
    }
}

/// The nodes before a layer.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    pub(super) shapes: &'a [[usize; 3]],
    pub(super) values: &'a [Values],
}

/// A layer's integers and what it puts out. Private: no `Debug`.
pub(super) struct Quantized {
    /// Rings are as wide as can be, for [`crate::range::fit_rings`] to fit.
    pub(super) conv: Conv,
    pub(super) weights: LayerWeights,
    pub(super) values: Values,
}

/// Quantizes a layer and runs it.
pub(super) fn run(
    unit: &Unit<'_>,
    taps: &Taps,
    ends: &Ends<'_>,
    sources: Sources<'_>,
) -> Result<Quantized, Error> {
    let exponents = taps.exponents();
    let residual = unit.conv.shortcut.as_ref().filter(|_| ends.shortcut);
    let met = residual.map(|residual| residual_exponents(residual, &unit.conv, sources));
    let input = sources.values[unit.conv.input].exponents[0];
    let meeting = Meeting { weight: &exponents, input, output: ends.output, shortcut: met.as_deref() };
    let scales = LayerScales::new(unit.name, &meeting)?;
    let bias = ends.bias.iter().zip(&scales.acc);
    let bias =
        bias.map(|(&bias, &exponent)| (f64::from(bias) * 2.0_f64.powi(-exponent) + 0.5).floor() as i64);
    let weights = LayerWeights { codes: taps.codes(&exponents), bias: bias.collect() };
    let conv = graph_conv(unit, residual, &scales, ends.output.is_some());
    let images = images(unit, &conv, &weights, sources);
    let exponents = ends.output.map_or(scales.acc, |output| vec![output; unit.conv.out_channels]);
    Ok(Quantized { conv, weights, values: Values { images, exponents } })
}

/// Of each output channel; zero channels take the first one's, which is never finer than the others'.
fn residual_exponents(shortcut: &arch::Shortcut, conv: &arch::Conv, sources: Sources<'_>) -> Vec<i32> {
    let source = &sources.values[shortcut.input].exponents;
    let channel = |out: usize| out.checked_sub(shortcut.channel_offset).and_then(|from| source.get(from));
    (0..conv.out_channels).map(|out| *channel(out).unwrap_or(&source[0])).collect()
}

fn graph_conv(
    unit: &Unit<'_>,
    residual: Option<&arch::Shortcut>,
    scales: &LayerScales,
    activation: bool,
) -> Conv {
    let conv = &unit.conv;
    let shifts = scales.output_shifts.clone();
    Conv {
        input: conv.input,
        in_channels: conv.in_channels,
        out_channels: conv.out_channels,
        kernel: conv.kernel,
        stride: conv.stride,
        padding: conv.padding,
        algorithm: unit.plan.algorithm,
        weight_exponents: unit.plan.weight_exponents(),
        weight_offset: unit.plan.weight_offset(),
        tap_shifts: scales.tap_shifts.clone(),
        shortcut: residual.map(|residual| Shortcut {
            input: residual.input,
            stride: residual.stride,
            channel_offset: residual.channel_offset,
            shifts: scales.shortcut_shifts.clone(),
        }),
        ring_bits: vec![WIDEST; conv.out_channels],
        output: match activation {
            true => Output::Activation { bits: unit.plan.act_bits, shifts },
            false => Output::Accumulator,
        },
    }
}

/// What the layer puts out for every image.
fn images(unit: &Unit<'_>, conv: &Conv, weights: &LayerWeights, sources: Sources<'_>) -> Vec<Vec<i64>> {
    let residuals = conv.shortcut.as_ref().map(|residual| {
        let from = sources.shapes[residual.input];
        let images = sources.values[residual.input].images.iter();
        images.map(|image| layout::shortcut(residual, from, unit.shape, image)).collect::<Vec<_>>()
    });
    let shapes = [sources.shapes[conv.input], unit.shape];
    let inputs = &sources.values[conv.input].images;
    let mut images = accumulators(conv, weights, shapes, inputs, residuals.as_deref());
    if let Output::Activation { bits, shifts } = &conv.output {
        let plane = unit.shape[1] * unit.shape[2];
        for (plane, &shift) in images.iter_mut().flat_map(|image| image.chunks_mut(plane).zip(shifts)) {
            plane.iter_mut().for_each(|value| *value = requantize(*value, shift, *bits));
        }
    }
    images
}

/// The largest exponent that a codebook takes.
const LARGEST_EXPONENT: u8 = 21;

/// The widest ring of the format: holds any layer's accumulators before their rings are proven.
const WIDEST: u8 = 62;
