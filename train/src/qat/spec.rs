//! What is fixed of a quantized layer: bits, geometry, constant factors and weight exponents.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use eqo_checkpoints::arch::{Arch, ArchNode, ArchOp, NodeId};
use eqo_checkpoints::plan::{BitPlan, LayerPlan};
use eqo_checkpoints::winograd::Algorithm;
use eqo_datasets::Normalization;
use ndarray::ArrayD;

use crate::interpret::{geometry, weight_shape, weighted_nodes};
use crate::winograd::{self, Geometry};
use crate::{Error, Result};

/// The fixed part of one quantized layer.
#[derive(Clone, Debug)]
pub(super) struct LayerSpec {
    pub(super) name: String,
    /// `[out, in, kernel, kernel]`.
    pub(super) shape: [usize; 4],
    pub(super) geometry: Geometry,
    pub(super) weight_bits: u8,
    /// Bits of the activation; `None` where the layer ends in its accumulator.
    pub(super) act_bits: Option<u8>,
    /// Whether all output channels share one weight exponent, so that logits compare.
    pub(super) one_scale: bool,
    /// What one integer step of each input channel is worth beyond its exponent: `1/(255·std)` for the image, one
    /// over the area for a sum, 1 otherwise. Multiplied into the weights before they are quantized.
    pub(super) factors: Vec<f32>,
    /// Exponents of the weight codes, `[taps][out]`; zero until calibrated or loaded.
    pub(super) exponents: Vec<Vec<i32>>,
}

impl LayerSpec {
    /// Steps `2^ew` as `[taps, out, 1]`, which broadcasts against tap weights.
    pub(super) fn steps(&self, device: &Device) -> Tensor<3> {
        let values: Vec<f32> =
            self.exponents.iter().flatten().map(|&exponent| 2.0_f32.powi(exponent)).collect();
        Tensor::from_data(TensorData::new(values, [self.exponents.len(), self.shape[0], 1]), device)
    }

    /// Tap weights `[positions, out, in]` of `weight` `[out, in, kernel, kernel]`, with the input's factors.
    pub(super) fn float_taps(&self, weight: Tensor<4>) -> Tensor<3> {
        let factors = self.factor_tensor(&weight.device());
        winograd::tap_weights(weight * factors, self.geometry.algorithm)
    }

    /// The factors, broadcast against `[out, in, kernel, kernel]`.
    fn factor_tensor(&self, device: &Device) -> Tensor<4> {
        Tensor::from_data(TensorData::new(self.factors.clone(), [1, self.factors.len(), 1, 1]), device)
    }

    pub(super) fn exponents_array(&self) -> ArrayD<f32> {
        let values: Vec<f32> = self.exponents.iter().flatten().map(|&exponent| exponent as f32).collect();
        let shape = vec![self.exponents.len(), self.shape[0]];
        ArrayD::from_shape_vec(shape, values).expect("one exponent for each tap and channel")
    }
}

/// One spec for each weighted node.
pub(super) fn layer_specs(
    arch: &Arch,
    plan: &BitPlan,
    normalization: &Normalization,
) -> Result<Vec<LayerSpec>> {
    weighted_nodes(arch).map(|node| layer_spec(arch, node, plan, normalization)).collect()
}

fn layer_spec(
    arch: &Arch,
    node: &ArchNode,
    plan: &BitPlan,
    normalization: &Normalization,
) -> Result<LayerSpec> {
    let layer = plan.layers.get(&node.name);
    let layer =
        layer.ok_or_else(|| refuse(node, "entry", "one for each layer", "none", "add it to the plan"))?;
    check(node, layer)?;
    let shape = weight_shape(node);
    let (stride, padding) = geometry(node);
    let (input, relu, one_scale) = match &node.op {
        ArchOp::Conv(conv) => (conv.input, conv.relu, false),
        ArchOp::Linear { input, .. } => (*input, false, true),
        ArchOp::Input { .. } | ArchOp::GlobalAvgPool { .. } => (0, false, false),
    };
    Ok(LayerSpec {
        name: node.name.clone(),
        shape,
        geometry: Geometry { algorithm: layer.algorithm, kernel: shape[2], stride, padding },
        weight_bits: layer.weight_bits,
        act_bits: relu.then_some(layer.act_bits),
        one_scale,
        factors: factors(arch, input, shape[1], normalization),
        exponents: vec![vec![0; shape[0]]; layer.algorithm.taps()],
    })
}

fn factors(arch: &Arch, input: NodeId, channels: usize, normalization: &Normalization) -> Vec<f32> {
    match &arch.node(input).op {
        ArchOp::Input { .. } => normalization.scales().to_vec(),
        ArchOp::GlobalAvgPool { input } => {
            let [_, height, width] = arch.shapes()[*input];
            vec![1.0 / (height * width) as f32; channels]
        }
        ArchOp::Conv(_) | ArchOp::Linear { .. } => vec![1.0; channels],
    }
}

fn check(node: &ArchNode, layer: &LayerPlan) -> Result<()> {
    let two_complement: Vec<u8> = (0..layer.weight_bits).collect();
    if !(2..=8).contains(&layer.weight_bits) {
        return Err(refuse(node, "weight bits", "2 to 8", layer.weight_bits, "correct the plan"));
    }
    if !(2..=8).contains(&layer.act_bits) {
        return Err(refuse(node, "activation bits", "2 to 8", layer.act_bits, "correct the plan"));
    }
    if layer.weight_exponents() != two_complement {
        let found = format!("{:?}", layer.weight_exponents());
        let next = "remove `exponents`: bit re-weighting can't be trained yet";
        return Err(refuse(node, "bit exponents", format!("{two_complement:?}"), found, next));
    }
    let tiles = matches!(&node.op, ArchOp::Conv(conv) if conv.kernel == 3 && conv.stride == 1);
    if layer.algorithm != Algorithm::Direct && !tiles {
        let next = "use `direct` for this layer";
        return Err(refuse(node, "algorithm", "direct unless 3x3 of stride 1", layer.algorithm.name(), next));
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
        let out = spec.shape[0];
        let mut put = |part: &str, shape: Vec<usize>| shapes.insert(format!("{}.{part}", spec.name), shape);
        put("weight", spec.shape.to_vec());
        put("bias", vec![out]);
        put("weight_exponent", vec![spec.exponents.len(), out]);
        if spec.act_bits.is_some() {
            put("log2_scale", vec![1]);
        }
    }
    shapes
}
