//! Initial scales: the power of two of least squared error, for weights by tap and channel, for activations by tensor.

use std::cell::RefCell;

use burn::module::Module;
use burn::tensor::{Device, Tensor, activation};
use eqo_checkpoints::arch::{Arch, ArchNode};
use eqo_checkpoints::winograd::Algorithm;
use eqo_datasets::{Dataset, Normalization};
use ndarray::ArrayD;
use rayon::prelude::*;

use super::spec::LayerSpec;
use super::{QatLayer, QatNet};
use crate::classifier::Classifier;
use crate::interpret::{self, Nodes};
use crate::kernels::Window;
use crate::{Result, pixels, pooling, quantizer, winograd};

/// How much finer than its output's step a layer's products may get, beyond the bits of a weight.
///
/// Least error alone would give channels that are almost zero steps of 2^-30: rings of 40 bits and sums past float32's
/// integers, for weights that can't move any output by a step.
const FINEST_BELOW_OUTPUT: i32 = 6;

/// How much finer they may get in all. A tap that the output transform of F(4x4, 3x3) enlarges may be finer by that factor,
/// but not finer than 8-bit weights are anyway: float32 must hold the sums of products.
const FINEST_OF_ALL: i32 = 8 + FINEST_BELOW_OUTPUT;

impl QatNet {
    /// The network with the exponents of least error for every layer's weights, given the activation scales in force.
    pub(super) fn with_best_steps(&self, device: &Device) -> Result<Self> {
        let net = self.clone().valid();
        let wiring = net.wiring();
        let mut tensors = net.to_tensors();
        let taps: Vec<Vec<f32>> = (0..net.specs.len()).map(|index| net.float_taps(index)).collect();
        let best: Vec<_> =
            net.specs.par_iter().zip(&taps).map(|(spec, taps)| least_error(spec, taps)).collect();
        for (index, (spec, best)) in net.specs.iter().zip(best).enumerate() {
            let output = wiring.requantized_at(&net.arch, index);
            let floor = |position: usize, gain: i32| {
                let below = (spec.codebook(position).bits() + FINEST_BELOW_OUTPUT + gain).min(FINEST_OF_ALL);
                output.map_or(i32::MIN, |output| output - below - wiring.input(index))
            };
            // All-zero groups get the coarsest exponent of the layer, which never makes an accumulator finer.
            let coarsest = best.iter().flatten().max().copied().unwrap_or(0);
            let chosen = |(position, (row, gain)): (usize, (&[Option<i32>], i32))| -> Vec<f32> {
                let finest = floor(position, gain);
                row.iter().map(|exponent| exponent.unwrap_or(coarsest).max(finest) as f32).collect()
            };
            let rows = best.chunks(spec.step_shape()[1]).zip(gains(spec.geometry.algorithm)).enumerate();
            let steps = ArrayD::from_shape_vec(spec.step_shape().as_slice(), rows.flat_map(chosen).collect());
            let steps = steps.expect("one exponent for each row and group");
            tensors.insert(format!("{}.log2_step", spec.name), steps);
        }
        self.with_tensors(&tensors, "weight steps", device)
    }
}

/// Of each tap, the logarithm of what the output transform multiplies it by at most: 0 for F(2x2, 3x3), up to 6 for F(4x4, 3x3).
fn gains(algorithm: Algorithm) -> Vec<i32> {
    let Some(transform) = algorithm.transform() else { return vec![0] };
    let rows = transform.output_coefficients();
    let largest = |tap: usize| rows.iter().map(|row| row[tap].unsigned_abs()).max().unwrap_or(1);
    (0..algorithm.taps()).map(|tap| largest(tap).max(1).ilog2() as i32).collect()
}

/// The exponent of least error of each row and group of steps, `None` where all weights are zero.
///
/// A group is one output channel of one tap; of all kernel positions for direct convolution; or the whole layer.
fn least_error(spec: &LayerSpec, taps: &[f32]) -> Vec<Option<i32>> {
    let [out, inputs, ..] = spec.shape;
    let [rows, groups] = spec.step_shape();
    let channel = |row: &[f32], group: usize| -> Vec<f32> {
        let each = row.chunks(inputs).enumerate();
        each.filter(|(at, _)| groups == 1 || at % out == group).flat_map(|(_, row)| row).copied().collect()
    };
    let row = |(position, row): (usize, &[f32])| -> Vec<Option<i32>> {
        let codebook = spec.codebook(position);
        (0..groups).map(|group| codebook.best_exponent(&channel(row, group))).collect()
    };
    taps.chunks(taps.len() / rows).enumerate().flat_map(row).collect()
}

/// An activation at some number of bits, with the power-of-two step of least error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoundedActivation {
    /// Of the step. A dead activation keeps step 1: it is zero at any.
    pub exponent: i32,
    /// `Σ (Q(x) − x)²`, mean over images.
    pub error: f64,
}

impl QatNet {
    /// Activations of the float network that this one rounds, rounded to each of `bits`; `[layer][bits]`, none where a layer
    /// ends in its accumulator. At a network's own bits the steps are those it was calibrated to.
    ///
    /// # Errors
    /// [`crate::Error::Data`] for images of another size.
    pub fn rounded_activations(&self, images: &Dataset, bits: &[u8]) -> Result<Vec<Vec<RoundedActivation>>> {
        pixels::check_size(images, self.arch.shapes()[0])?;
        let net = self.clone().valid();
        let layers = net.layers.iter().map(QatLayer::folded).collect();
        let network = FloatNetwork { arch: &net.arch, specs: &net.specs, layers };
        let mut found = vec![Vec::new(); net.specs.len()];
        network.activations(images, &net.normalization, |index, values| {
            found[index] = bits
                .iter()
                .map(|&bits| {
                    let exponent = quantizer::best_activation_exponent(values, bits).unwrap_or(0);
                    let error = quantizer::activation_error(values, bits, exponent) / images.len() as f64;
                    RoundedActivation { exponent, error }
                })
                .collect();
        });
        Ok(found)
    }
}

/// The folded network in floats, on integer input.
pub(super) struct FloatNetwork<'a> {
    pub(super) arch: &'a Arch,
    pub(super) specs: &'a [LayerSpec],
    /// Weight and bias of every layer.
    pub(super) layers: Vec<(Tensor<4>, Tensor<1>)>,
}

impl FloatNetwork<'_> {
    /// Shows `note` the index of every layer that ends in an activation, and its values for `images`.
    pub(super) fn activations(
        &self,
        images: &Dataset,
        normalization: &Normalization,
        note: impl FnMut(usize, &[f32]),
    ) {
        let device = self.layers.first().map(|(weight, _)| weight.device()).unwrap_or_default();
        let pixels = pixels::to_tensor(images.pixels(), [images.height(), images.width()], &device);
        let walk = Walk { network: self, note: note.into() };
        interpret::interpret(self.arch, &walk, pixels::subtract_offsets(pixels, normalization));
    }
}

struct Walk<'a, F> {
    network: &'a FloatNetwork<'a>,
    note: RefCell<F>,
}

impl<F: FnMut(usize, &[f32])> Nodes for Walk<'_, F> {
    type Value = Tensor<4>;

    fn weighted(
        &self,
        index: usize,
        _: &ArchNode,
        input: Tensor<4>,
        shortcut: Option<Tensor<4>>,
    ) -> Tensor<4> {
        let (spec, (weight, bias)) = (&self.network.specs[index], &self.network.layers[index]);
        let taps = spec.generic_taps(weight.clone());
        let mut y = winograd::convolve(input, taps, bias.clone(), spec.geometry);
        if let Some(shortcut) = shortcut {
            y = y + shortcut;
        }
        if spec.act_bits.is_none() {
            return y;
        }
        let y = activation::relu(y);
        let values: Vec<f32> = y.to_data_as::<f32>().iter::<f32>().collect();
        (self.note.borrow_mut())(index, &values);
        y
    }

    fn pool(&self, input: Tensor<4>) -> Tensor<4> {
        input.sum_dim(1).sum_dim(2)
    }

    fn max_pool(&self, input: Tensor<4>, window: Window) -> Tensor<4> {
        pooling::max_pool(input, window)
    }
}
