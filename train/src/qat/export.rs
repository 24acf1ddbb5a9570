//! The integers behind a quantized network, computed by the quantizers of its forward pass.

use burn::module::Module;
use burn::tensor::Tensor;
use eqo_checkpoints::scales::LayerScales;

use super::QatNet;
use super::spec::LayerSpec;
use super::wiring::Wiring;
use crate::quantizer::bias_code;
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
    /// [`Error::Arch`] if a shift would exceed 40 bits, [`Error::NotInteger`] for a bias past float32's integers or a weight
    /// that isn't a number.
    pub fn export(&self) -> Result<Vec<ExportedLayer>> {
        let net = self.clone().valid();
        let wiring = net.wiring();
        let layers = net.layer_scales(&wiring)?.into_iter().zip(net.activation_exponents()).enumerate();
        layers.map(|(index, (scales, act))| net.export_layer(index, &wiring, scales, act)).collect()
    }

    fn export_layer(
        &self,
        index: usize,
        wiring: &Wiring,
        scales: LayerScales,
        act_exponent: Option<i32>,
    ) -> Result<ExportedLayer> {
        let spec = &self.specs[index];
        let [out, inputs, ..] = spec.shape;
        let quantizer = spec.quantizer(&wiring.steps[index]);
        let codes = quantizer.codes(&self.float_taps(index), [out, inputs]);
        let not_a_number = || Error::NotInteger { layer: spec.name.clone(), value: f32::NAN, exponent: 0 };
        let bias = to_host(&self.layers[index].folded().1);
        let bias = bias
            .iter()
            .zip(&scales.acc)
            .map(|(&value, &exponent)| integer(&spec.name, bias_code(value, exponent), exponent));
        Ok(ExportedLayer {
            name: spec.name.clone(),
            codes: codes.ok_or_else(not_a_number)?,
            weight_exponents: wiring.weights[index].clone(),
            bias: bias.collect::<Result<_>>()?,
            acc_exponents: scales.acc,
            act_exponent,
            tap_shifts: scales.tap_shifts,
            output_shifts: scales.output_shifts,
            shortcut_shifts: scales.shortcut_shifts,
        })
    }

    /// `Σ (Q(U) − U)²` of every layer at the steps in force, by tap (or kernel position): what its weights lose.
    pub fn rounding_errors(&self) -> Vec<Vec<f64>> {
        let net = self.clone().valid();
        let steps = net.step_exponents();
        let layer = |(index, (spec, steps)): (usize, (&LayerSpec, &Vec<Vec<i32>>))| {
            let [out, inputs, ..] = spec.shape;
            let taps = net.float_taps(index);
            let rounded = spec.quantizer(steps).quantize(&taps, [out, inputs]);
            let miss = |(q, u): (&f32, &f32)| f64::from(q - u) * f64::from(q - u);
            let row = |(q, u): (&[f32], &[f32])| q.iter().zip(u).map(miss).sum();
            rounded.chunks(out * inputs).zip(taps.chunks(out * inputs)).map(row).collect()
        };
        net.specs.iter().zip(&steps).enumerate().map(layer).collect()
    }

    /// `Σ U²` of every layer, by tap (or kernel position): what is lost where a tap has no bits.
    pub fn tap_squares(&self) -> Vec<Vec<f64>> {
        let net = self.clone().valid();
        let layer = |(index, spec): (usize, &LayerSpec)| {
            let square = |u: &f32| f64::from(*u) * f64::from(*u);
            let taps = net.float_taps(index);
            taps.chunks(spec.shape[0] * spec.shape[1]).map(|tap| tap.iter().map(square).sum()).collect()
        };
        net.specs.iter().enumerate().map(layer).collect()
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
