//! What is fixed of a quantized layer: bits, geometry, codebook and constant factors.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use eqo_checkpoints::arch::{Arch, ArchNode, ArchOp, NodeId};
use eqo_checkpoints::codebook::Codebook;
use eqo_checkpoints::plan::{BitPlan, LayerPlan};
use eqo_checkpoints::winograd::{Algorithm, FITTING};
use eqo_datasets::Normalization;

use super::Domain;
use crate::interpret::{geometry, weight_shape, weighted_nodes};
use crate::kernels::{TapMap, TapQuantizer};
use crate::winograd::{self, Geometry};
use crate::{Error, Result};

/// The fixed part of one quantized layer.
#[derive(Clone, Debug)]
pub(super) struct LayerSpec {
    pub(super) name: String,
    /// `[out, in, kernel, kernel]`.
    pub(super) shape: [usize; 4],
    /// Height and width of what is trained for each pair of channels: the kernel's, or the tile's.
    pub(super) side: usize,
    pub(super) geometry: Geometry,
    /// Bits of the activation; `None` where the layer ends in its accumulator.
    pub(super) act_bits: Option<u8>,
    /// Whether all output channels share one weight exponent, so that logits compare.
    pub(super) one_scale: bool,
    /// What one integer step of each input channel is worth beyond its exponent: `1/(255·std)` for the image, one
    /// over the area for a sum, 1 otherwise. Multiplied into the weights before they are quantized.
    pub(super) factors: Vec<f32>,
    /// What a weight's code stands for, at all positions or at each.
    pub(super) codebooks: Vec<Codebook>,
    /// From what is trained to the tap weights.
    pub(super) tap_map: Arc<TapMap>,
}

impl LayerSpec {
    /// Shape of the steps: a row for each tap (direct convolution has one), a group for each output channel or one for
    /// all.
    pub(super) fn step_shape(&self) -> [usize; 2] {
        [self.geometry.algorithm.taps(), if self.one_scale { 1 } else { self.shape[0] }]
    }

    /// What rounds the tap weights at steps of these exponents `[rows][groups]`.
    pub(super) fn quantizer(&self, exponents: &[Vec<i32>]) -> TapQuantizer {
        TapQuantizer { codebooks: self.codebooks.clone(), exponents: exponents.to_vec() }
    }

    /// What a position's codes stand for.
    pub(super) fn codebook(&self, position: usize) -> &Codebook {
        &self.codebooks[position.min(self.codebooks.len() - 1)]
    }

    /// Exponents of steps `[rows][groups]`, those of rows without bits replaced by the coarsest of their group, so that they
    /// never decide an accumulator's scale.
    pub(super) fn in_force(&self, rows: &[Vec<i32>]) -> Vec<Vec<i32>> {
        let has_bits = |row: usize| self.codebook(row).bits() > 0;
        let kept = || (0..rows.len()).filter(|&row| has_bits(row)).map(|row| &rows[row]);
        let coarsest = |group: usize| kept().map(|row| row[group]).max();
        let of_group = |row: usize, group: usize| match has_bits(row) {
            true => rows[row][group],
            false => coarsest(group).unwrap_or(rows[row][group]),
        };
        (0..rows.len()).map(|row| (0..rows[row].len()).map(|group| of_group(row, group)).collect()).collect()
    }

    /// Exponents `[taps][out]` of steps `[rows][groups]`.
    pub(super) fn by_channel(&self, exponents: &[Vec<i32>]) -> Vec<Vec<i32>> {
        let out = self.shape[0];
        let spread = |row: &Vec<i32>| if self.one_scale { vec![row[0]; out] } else { row.clone() };
        exponents.iter().map(spread).collect()
    }

    /// Shape of the trained weight.
    pub(super) fn trained_shape(&self) -> [usize; 4] {
        [self.shape[0], self.shape[1], self.side, self.side]
    }

    /// Tap weights `[positions, out, in]` of the trained weight, with the input's factors, by tensor operations that any
    /// device has.
    pub(super) fn generic_taps(&self, weight: Tensor<4>) -> Tensor<3> {
        let trains_taps = self.side != self.geometry.kernel;
        let algorithm = if trains_taps { Algorithm::Direct } else { self.geometry.algorithm };
        let factors = self.factor_tensor(&weight.device());
        winograd::tap_weights(weight * factors, algorithm)
    }

    /// The factors, broadcast against `[out, in, kernel, kernel]`.
    fn factor_tensor(&self, device: &Device) -> Tensor<4> {
        Tensor::from_data(TensorData::new(self.factors.clone(), [1, self.factors.len(), 1, 1]), device)
    }
}

/// One spec for each weighted node.
pub(super) fn layer_specs(
    arch: &Arch,
    plan: &BitPlan,
    normalization: &Normalization,
    domain: Domain,
) -> Result<Vec<LayerSpec>> {
    weighted_nodes(arch).map(|node| layer_spec((arch, node), plan, normalization, domain)).collect()
}

fn layer_spec(
    (arch, node): (&Arch, &ArchNode),
    plan: &BitPlan,
    normalization: &Normalization,
    domain: Domain,
) -> Result<LayerSpec> {
    let layer = plan.layers.get(&node.name);
    let layer =
        layer.ok_or_else(|| refuse(node, "entry", "one for each layer", "none", "add it to the plan"))?;
    check(node, layer)?;
    let shape = weight_shape(node);
    let (stride, padding) = geometry(node);
    let (input, relu) = node.op.as_conv().map_or((0, false), |conv| (conv.input, conv.relu));
    // Logits compare only at one scale.
    let one_scale = arch.nodes.last().is_some_and(|last| last.name == node.name);
    let factors = factors(arch, input, shape[1], normalization);
    let transform = layer.algorithm.transform();
    let trained_taps = transform.as_ref().filter(|_| domain == Domain::Winograd);
    let side = trained_taps.map_or(shape[2], |transform| transform.tile);
    let mapped = if trained_taps.is_some() { None } else { transform.as_ref() };
    let lists = layer.weight_exponents();
    let tap_map = TapMap::new([shape[0], shape[1], side, side], mapped, &factors);
    Ok(LayerSpec {
        name: node.name.clone(),
        shape,
        side,
        geometry: Geometry { algorithm: layer.algorithm, kernel: shape[2], stride, padding },
        act_bits: relu.then_some(layer.act_bits),
        one_scale,
        factors,
        codebooks: lists.iter().map(|list| Codebook::new(list, layer.weight_offset())).collect(),
        tap_map: Arc::new(tap_map),
    })
}

fn factors(arch: &Arch, input: NodeId, channels: usize, normalization: &Normalization) -> Vec<f32> {
    match &arch.node(input).op {
        ArchOp::Input { .. } => normalization.scales().to_vec(),
        ArchOp::GlobalAvgPool { input } => {
            let [_, height, width] = arch.shapes()[*input];
            vec![1.0 / (height * width) as f32; channels]
        }
        ArchOp::Conv(_) | ArchOp::MaxPool { .. } | ArchOp::Linear { .. } => vec![1.0; channels],
    }
}

fn check(node: &ArchNode, layer: &LayerPlan) -> Result<()> {
    let fewest = 2 - layer.weight_offset();
    if !(fewest..=8).contains(&layer.weight_bits) {
        let expected = format!("{fewest} to 8");
        return Err(refuse(node, "weight bits", expected, layer.weight_bits, "correct the plan"));
    }
    if !(2..=8).contains(&layer.act_bits) {
        return Err(refuse(node, "activation bits", "2 to 8", layer.act_bits, "correct the plan"));
    }
    if layer.ring_bits.is_some_and(|bits| !(8..=40).contains(&bits)) {
        let found = format!("{:?}", layer.ring_bits);
        return Err(refuse(node, "ring bits", "8 to 40", found, "correct the plan"));
    }
    check_codes(node, layer)?;
    let fits = match &node.op {
        ArchOp::Conv(conv) => layer.algorithm.fits(conv.kernel, conv.stride),
        _ => layer.algorithm == Algorithm::Direct,
    };
    if !fits {
        let next = "use `direct` for this layer";
        return Err(refuse(node, "algorithm", FITTING, layer.algorithm.name(), next));
    }
    Ok(())
}

/// Exponents of the bits, or bits of the taps.
fn check_codes(node: &ArchNode, layer: &LayerPlan) -> Result<()> {
    let most = layer.weight_bits;
    if let Some(bits) = &layer.tap_bits {
        let taps = layer.algorithm.transform().map_or(0, |transform| transform.tile * transform.tile);
        let fits = bits.len() == taps && bits.iter().max() == Some(&most) && layer.exponents.is_none();
        if !fits || bits.iter().any(|&bits| bits == 1 && !layer.mid_rise) {
            let expected =
                format!("{taps} numbers, the largest {most}, 1 with mid_rise only, and no exponents");
            return Err(refuse(node, "bits of the taps", expected, format!("{bits:?}"), "correct the plan"));
        }
    } else if let Some(exponents) = &layer.exponents {
        let increasing = exponents.is_sorted_by(|a, b| a < b) && exponents.iter().all(|&k| k < 20);
        if exponents.len() != usize::from(most) || !increasing {
            let expected = format!("{most} increasing ones, below 20");
            return Err(refuse(
                node,
                "bit exponents",
                expected,
                format!("{exponents:?}"),
                "correct the plan",
            ));
        }
    }
    Ok(())
}

fn refuse(
    node: &ArchNode,
    what: &'static str,
    expected: impl ToString,
    found: impl ToString,
    next: &'static str,
) -> Error {
    let (expected, found) = (expected.to_string(), found.to_string());
    Error::Plan { layer: node.name.clone(), what, expected, found, next }
}

/// Name and shape of every tensor of the quantized network.
pub(super) fn tensor_shapes(specs: &[LayerSpec]) -> BTreeMap<String, Vec<usize>> {
    let mut shapes = BTreeMap::new();
    for spec in specs {
        let mut put = |part: &str, shape: Vec<usize>| shapes.insert(format!("{}.{part}", spec.name), shape);
        put("weight", spec.trained_shape().to_vec());
        put("bias", vec![spec.shape[0]]);
        put("log2_step", spec.step_shape().to_vec());
        if spec.act_bits.is_some() {
            put("log2_scale", vec![1]);
        }
    }
    shapes
}
