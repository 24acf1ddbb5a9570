//! The integers behind a quantized network, computed by the quantizers of its forward pass.

use burn::module::Module;
use burn::tensor::Tensor;
use eqo_checkpoints::scales::LayerScales;

use super::QatNet;
use crate::kernels::TapQuantizer;
use crate::tensors::to_host;
use crate::{Error, Result, pixels};

/// Integers of one convolution or linear layer. Private: no `Debug`, so that it can't reach a log.
#[derive(Clone, PartialEq, Eq)]
pub struct ExportedLayer {
    /// The node's name.
    pub name: String,
    /// Weight codes `[positions, out, in]`: Winograd taps, or kernel positions row by row.
    pub codes: Vec<i8>,
    /// Exponent of the codes, `[taps][out]`; direct convolution has one tap.
    pub weight_exponents: Vec<Vec<i32>>,
    /// Bias at the accumulator's scale, `[out]`.
    pub bias: Vec<i64>,
    /// Exponent of the accumulator, `[out]`.
    pub acc_exponents: Vec<i32>,
    /// Exponent of the activation; `None` if the layer ends in its accumulator.
    pub act_exponent: Option<i32>,
    /// Left shift of each tap, `[taps][out]`.
    pub tap_shifts: Vec<Vec<u8>>,
    /// Right shift to the activation, `[out]`; empty if the layer ends in its accumulator.
    pub output_shifts: Vec<u8>,
    /// Left shift of the residual, `[out]`; empty if there is none.
    pub shortcut_shifts: Vec<u8>,
}

/// Float32 holds every integer up to this magnitude.
const EXACT: f32 = 16_777_216.0;

impl QatNet {
    /// The integers of every layer, in order.
    ///
    /// # Errors
    /// [`Error::Arch`] if a shift would exceed 40 bits, [`Error::NotInteger`] for a bias past float32's integers.
    pub fn export(&self) -> Result<Vec<ExportedLayer>> {
        let net = self.clone().valid();
        let scales = net.layer_scales()?;
        let layers = scales.into_iter().zip(net.activation_exponents()).enumerate();
        layers.map(|(index, (scales, act))| net.export_layer(index, scales, act)).collect()
    }

    fn export_layer(
        &self,
        index: usize,
        scales: LayerScales,
        act_exponent: Option<i32>,
    ) -> Result<ExportedLayer> {
        let spec = &self.specs[index];
        let [out, inputs, ..] = spec.shape;
        let steps = &self.step_exponents()[index];
        let quantizer = TapQuantizer { codebook: spec.codebook.clone(), exponents: steps.clone() };
        let codes = quantizer.codes(&self.float_taps(index), [out, inputs]);
        let bias = to_host(&self.layers[index].bias.val());
        let bias = bias.iter().zip(&scales.acc).map(|(&value, &exponent)| {
            integer(&spec.name, (value / 2.0_f32.powi(exponent) + 0.5).floor(), exponent)
        });
        Ok(ExportedLayer {
            name: spec.name.clone(),
            codes,
            weight_exponents: spec.by_channel(steps),
            bias: bias.collect::<Result<_>>()?,
            acc_exponents: scales.acc,
            act_exponent,
            tap_shifts: scales.tap_shifts,
            output_shifts: scales.output_shifts,
            shortcut_shifts: scales.shortcut_shifts,
        })
    }

    /// Integer output of every node of the architecture, for a batch of raw pixels (`images`, `[batch, 3, height, width]`), from
    /// the fake-quantized float forward pass; row-major `[batch, channels, height, width]`.
    ///
    /// # Errors
    /// [`Error::NotInteger`] if a value isn't an exact multiple of its scale below 2^24.
    pub fn trace(&self, images: &[u8]) -> Result<Vec<Vec<i64>>> {
        let net = self.clone().valid();
        let [_, height, width] = net.arch.shapes()[0];
        let device = net.layers[0].weight.val().device();
        let outputs = net.outputs(pixels::to_tensor(images, [height, width], &device));
        let exponents = net.wiring().nodes;
        let nodes = net.arch.nodes.iter().zip(outputs).zip(exponents);
        nodes.map(|((node, output), exponents)| integers(&node.name, &output, &exponents)).collect()
    }
}

fn integers(node: &str, output: &Tensor<4>, exponents: &[i32]) -> Result<Vec<i64>> {
    let [channels, height, width, _] = output.dims();
    let values = output.clone().permute([3, 0, 1, 2]).into_data_as::<f32>();
    let of = |(index, value): (usize, f32)| {
        let exponent = exponents[index / (height * width) % channels];
        integer(node, value * 2.0_f32.powi(-exponent), exponent)
    };
    values.iter::<f32>().enumerate().map(of).collect()
}

/// `value`, which is already in steps of `2^exponent`, as an integer.
fn integer(layer: &str, value: f32, exponent: i32) -> Result<i64> {
    if value.fract() == 0.0 && value.abs() <= EXACT {
        return Ok(value as i64);
    }
    Err(Error::NotInteger { layer: layer.to_owned(), value: value * 2.0_f32.powi(exponent), exponent })
}
