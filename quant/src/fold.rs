//! Batch normalization, input normalization and average pooling, folded into weights and biases (DESIGN §2).

use std::collections::BTreeMap;

use eqo_checkpoints::arch::{Arch, ArchOp, Conv, NodeId};
use eqo_datasets::Normalization;
use eqo_train::FoldedLayer;
use eqo_train::batch_norm::EPSILON;
use eqo_train::tensors::NamedTensors;
use ndarray::{ArrayD, Axis};

use crate::Error;

/// Folds a float network so that it computes the same function of `pixel − offset` without normalizations:
///
/// - BN's `γ/√(var + ε)` multiplies the output channel's weights, its shift becomes the bias;
/// - `1/(255·std_c)` multiplies the weights of layers that read the image;
/// - `1/(H·W)` of an average pool multiplies the weights of layers that read the sum.
///
/// The input offset is `round(255·mean_c)`: the remainder, below half a pixel step, is left to the fine-tune.
///
/// # Errors
/// [`Error::MissingTensor`] for a key that the architecture names and `tensors` lacks.
pub fn fold(
    arch: &Arch,
    tensors: &NamedTensors,
    normalization: &Normalization,
) -> Result<BTreeMap<String, FoldedLayer>, Error> {
    let mut folded = BTreeMap::new();
    for node in &arch.nodes {
        let (input, mut layer) = match &node.op {
            ArchOp::Conv(conv) => (conv.input, fold_batch_norm(&node.name, conv, tensors)?),
            ArchOp::Linear { input, kernel, .. } => (*input, flattened(&node.name, *kernel, tensors)?),
            ArchOp::Input { .. } | ArchOp::MaxPool { .. } | ArchOp::GlobalAvgPool { .. } => continue,
        };
        fold_input(arch, input, normalization, &mut layer.weight);
        folded.insert(node.name.clone(), layer);
    }
    Ok(folded)
}

/// What the image's or a sum's steps are worth.
fn fold_input(arch: &Arch, input: NodeId, normalization: &Normalization, weight: &mut ArrayD<f32>) {
    match &arch.node(input).op {
        ArchOp::Input { .. } => {
            for (mut channel, std) in weight.axis_iter_mut(Axis(1)).zip(normalization.std) {
                channel /= 255.0 * std;
            }
        }
        ArchOp::GlobalAvgPool { input } => {
            let [_, height, width] = arch.shapes()[*input];
            *weight /= (height * width) as f32;
        }
        ArchOp::Conv(_) | ArchOp::MaxPool { .. } | ArchOp::Linear { .. } => {}
    }
}

/// A linear layer as the convolution whose kernel covers its input.
fn flattened(name: &str, kernel: usize, tensors: &NamedTensors) -> Result<FoldedLayer, Error> {
    let key = format!("{name}.weight");
    let weight = tensor(tensors, &key)?.clone();
    let bias = tensor(tensors, &format!("{name}.bias"))?.iter().copied().collect();
    let shape = [weight.shape()[0], weight.shape()[1] / (kernel * kernel), kernel, kernel];
    let weight = weight.into_shape_with_order(shape.as_slice()).map_err(|_| missing(&key))?;
    Ok(FoldedLayer { weight, bias })
}

fn fold_batch_norm(name: &str, conv: &Conv, tensors: &NamedTensors) -> Result<FoldedLayer, Error> {
    let mut weight = tensor(tensors, &format!("{name}.weight"))?.clone();
    let Some(batch_norm) = &conv.batch_norm else {
        let bias = tensor(tensors, &format!("{name}.bias"))?.iter().copied().collect();
        return Ok(FoldedLayer { weight, bias });
    };
    let of = |part: &str| tensor(tensors, &format!("{batch_norm}.{part}"));
    let (gamma, beta, mean, variance) = (of("weight")?, of("bias")?, of("running_mean")?, of("running_var")?);
    let mut bias = Vec::with_capacity(conv.out_channels);
    let mut factors = Vec::with_capacity(conv.out_channels);
    let channels = weight.axis_iter_mut(Axis(0)).zip(gamma).zip(beta).zip(mean).zip(variance);
    for ((((mut kernel, gamma), beta), mean), variance) in channels {
        let factor = f64::from(*gamma) / (f64::from(*variance) + f64::from(EPSILON)).sqrt();
        kernel.mapv_inplace(|w| (f64::from(w) * factor) as f32);
        bias.push((f64::from(*beta) - f64::from(*mean) * factor) as f32);
        factors.push(factor);
    }
    if conv.bias {
        let own = tensor(tensors, &format!("{name}.bias"))?;
        for ((bias, own), factor) in bias.iter_mut().zip(own).zip(factors) {
            *bias = (f64::from(*bias) + f64::from(*own) * factor) as f32;
        }
    }
    Ok(FoldedLayer { weight, bias })
}

fn tensor<'a>(tensors: &'a NamedTensors, key: &str) -> Result<&'a ArrayD<f32>, Error> {
    tensors.get(key).ok_or_else(|| missing(key))
}

fn missing(key: &str) -> Error {
    Error::MissingTensor { tensor: key.to_owned() }
}

#[cfg(test)]
mod tests {
    use eqo_checkpoints::arch::{ArchNode, Conv};
    use ndarray::{Array1, Array4};

    use super::*;

    fn conv_arch() -> Arch {
        let conv = Conv {
            input: 0,
            in_channels: 3,
            out_channels: 2,
            kernel: 3,
            stride: 1,
            padding: 1,
            bias: false,
            batch_norm: Some("bn".to_owned()),
            shortcut: None,
            relu: false,
        };
        let nodes = [("input", ArchOp::Input { shape: [3, 3, 3] }), ("conv", ArchOp::Conv(conv))];
        Arch {
            name: "test".to_owned(),
            nodes: nodes.map(|(name, op)| ArchNode { name: name.to_owned(), op }).into(),
        }
    }

    fn wave(index: usize) -> f32 {
        ((index * 37 % 101) as f32 - 50.0) / 25.0
    }

    /// The centre output of a 3x3 image sees no padding, so both sides are one dot product.
    #[test]
    fn folded_weights_on_offset_pixels_equal_convolution_then_batch_norm_on_normalized_ones() {
        // Means that are whole pixels, so that rounding the offset loses nothing.
        let normalization = Normalization { mean: [51.0 / 255.0, 102.0 / 255.0, 0.0], std: [0.25, 0.5, 0.2] };
        let weight = Array4::from_shape_fn((2, 3, 3, 3), |(o, i, y, x)| wave(o * 27 + i * 9 + y * 3 + x));
        let parts = [
            ("weight", [1.5, -0.5]),
            ("bias", [0.1, 0.2]),
            ("running_mean", [0.3, -0.4]),
            ("running_var", [2.0, 0.7]),
        ];
        let mut tensors: NamedTensors = parts
            .iter()
            .map(|(part, values)| (format!("bn.{part}"), Array1::from_iter(*values).into_dyn()))
            .collect();
        tensors.insert("conv.weight".to_owned(), weight.clone().into_dyn());
        let folded = fold(&conv_arch(), &tensors, &normalization).unwrap();
        let pixels: Vec<f32> = (0..27).map(|index| (index * 9 % 256) as f32).collect();
        for out in 0..2 {
            let (mut plain, mut integer) = (0.0, folded["conv"].bias[out]);
            for (index, &pixel) in pixels.iter().enumerate() {
                let (channel, position) = (index / 9, [index % 9 / 3, index % 3]);
                let at = [out, channel, position[0], position[1]];
                plain +=
                    weight[at] * (pixel / 255.0 - normalization.mean[channel]) / normalization.std[channel];
                integer += folded["conv"].weight[at.as_slice()]
                    * (pixel - f32::from(normalization.offsets()[channel]));
            }
            let [gamma, beta, mean, variance] = parts.map(|(_, values)| values[out]);
            let want = (plain - mean) / (variance + EPSILON).sqrt() * gamma + beta;
            assert!((integer - want).abs() < 1e-3, "{integer} {want}");
        }
    }

    #[test]
    fn a_missing_tensor_is_named() {
        let error =
            fold(&conv_arch(), &NamedTensors::new(), &Normalization::IMAGENET).err().map(|e| e.to_string());
        assert!(error.is_some_and(|text| text.contains("conv.weight")));
    }
}
