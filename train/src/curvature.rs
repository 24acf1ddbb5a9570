//! Second derivatives of the loss by the weights that are quantized, the Winograd-domain taps U, and by activations.
//!
//! Hessian-vector products are exact, reverse over forward: every activation flows with its derivative in the direction v
//! (a dual number), the loss's derivative in that direction is `Σ (softmax − onehot)·tangent / n`, and one backward pass of
//! it is `H·v` (Pearlmutter 1994). Finite differences of gradients are useless here: ReLUs switch within any step that float32
//! can resolve. A ReLU's own second derivative is zero almost everywhere and taken as such.

use std::sync::Arc;

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use eqo_checkpoints::arch::Arch;
use eqo_datasets::{Dataset, Normalization};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::kernels::TapMap;
use crate::ops::ConvSpec;
use crate::winograd::Geometry;
use crate::{Error, Result, interpret, pixels, quantizer};

mod dual;
#[cfg(test)]
mod tests;

use dual::{Direction, Dual, Duals};

/// The float network that a [`crate::QatNet`] rounds: the same taps and biases, activations as they come.
pub struct FloatTaps {
    pub(crate) arch: Arch,
    pub(crate) layers: Vec<TapLayer>,
    pub(crate) normalization: Normalization,
    /// A training device.
    pub(crate) device: Device,
}

/// One convolution or linear layer by its taps.
pub(crate) struct TapLayer {
    pub(crate) name: String,
    /// U, `[out, in, t, t]`, or the kernel of a direct convolution, with the input's constant factors.
    pub(crate) taps: Tensor<4>,
    /// `[out]`.
    pub(crate) bias: Tensor<1>,
    pub(crate) conv: ConvSpec,
    pub(crate) relu: bool,
}

/// What a product is taken with respect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    /// Every tap of every layer.
    Taps,
    /// Every activation after a ReLU that is above zero: the others are rounded without an error.
    Activations,
}

/// `Σ v·(H·v)` of one layer, for one random v and a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Curved {
    /// Sums over the input channels, `[positions][out]`; over images and pixels for activations, `[1][channels]`.
    pub sums: Vec<Vec<f64>>,
    /// Values that were moved, per image for activations.
    pub count: f64,
}

impl TapLayer {
    /// A layer by its tap weights `[positions, out, in]`.
    pub(crate) fn new(name: &str, taps: &[f32], bias: Tensor<1>, geometry: Geometry, relu: bool) -> Self {
        let out = bias.dims()[0];
        let side = geometry.algorithm.transform().map_or(geometry.kernel, |transform| transform.tile);
        let inputs = taps.len() / (side * side * out).max(1);
        let positions =
            Tensor::<4>::from_data(TensorData::new(taps.to_vec(), [side, side, out, inputs]), &bias.device());
        let map = TapMap::new([out, inputs, side, side], None, &vec![1.0; inputs]);
        let conv = ConvSpec { geometry, taps: Arc::new(map), rounding: None };
        Self { name: name.to_owned(), taps: positions.permute([2, 3, 0, 1]), bias, conv, relu }
    }
}

impl FloatTaps {
    /// Names of the layers, in the order of every result.
    pub fn layer_names(&self) -> Vec<&str> {
        self.layers.iter().map(|layer| layer.name.as_str()).collect()
    }

    /// Taps of every layer, `[out, in, t, t]` row-major.
    pub fn taps(&self) -> Vec<Vec<f32>> {
        self.layers.iter().map(|layer| host(&layer.taps)).collect()
    }

    /// `v·(H·v)` for the mean cross entropy of the images `indices` of `images` and a v of random signs in one layer, which
    /// depends on `seed` only (Hutchinson's estimate: its mean over v is the trace of that layer's block).
    ///
    /// # Errors
    /// [`Error::Data`] for images of another size, or a label without a logit.
    pub fn probe(
        &self,
        images: &Dataset,
        indices: &[usize],
        (variable, layer): (Variable, usize),
        seed: u64,
    ) -> Result<Curved> {
        let (pixels, labels) = self.batch(images, indices)?;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        match variable {
            Variable::Taps => {
                let v = signs(self.layers[layer].taps.dims(), &mut random, &self.device);
                let mut direction = vec![None; self.layers.len()];
                direction[layer] = Some(v.clone());
                let products = self.product(pixels, &labels, &direction);
                Ok(by_tap(&v, &products[layer]))
            }
            Variable::Activations => {
                let taps: Vec<Tensor<4>> = self.layers.iter().map(|layer| layer.taps.clone()).collect();
                let duals = Duals::new(self, &taps, Direction::Activation(layer, random.into()));
                let grads = self.slope(&duals, pixels, &labels).backward();
                let nothing = Curved { sums: vec![vec![0.0; self.layers[layer].taps.dims()[0]]], count: 0.0 };
                let moved = duals.moved().map(|(zero, v)| {
                    let hv = zero.grad(&grads).unwrap_or_else(|| v.zeros_like());
                    by_channel(&v, &hv, labels.len())
                });
                Ok(moved.unwrap_or(nothing))
            }
        }
    }

    /// `H·v` by the taps of the layers that `direction` has a tensor `[out, in, t, t]` for; zero for the others.
    pub(crate) fn product(
        &self,
        pixels: Tensor<4>,
        labels: &[u16],
        direction: &[Option<Tensor<4>>],
    ) -> Vec<Tensor<4>> {
        let taps = self.layers.iter().zip(direction).map(|(layer, direction)| match direction {
            Some(_) => layer.taps.clone().require_grad(),
            None => layer.taps.clone(),
        });
        let taps: Vec<Tensor<4>> = taps.collect();
        let duals = Duals::new(self, &taps, Direction::Taps(direction));
        let grads = self.slope(&duals, pixels, labels).backward();
        let gradient =
            |taps: &Tensor<4>| taps.grad(&grads).unwrap_or_else(|| taps.clone().inner().zeros_like());
        taps.iter().map(gradient).collect()
    }

    /// The derivative of the mean cross entropy in the direction of `duals`.
    fn slope(&self, duals: &Duals<'_>, pixels: Tensor<4>, labels: &[u16]) -> Tensor<1> {
        let image = pixels::subtract_offsets(pixels, &self.normalization);
        let outputs = interpret::interpret(&self.arch, duals, Dual::constant(image));
        let last = outputs.into_iter().next_back();
        let Some(Dual { value, tangent: Some(tangent) }) = last else {
            return Tensor::zeros([1], &self.device).require_grad();
        };
        let (logits, tangent) = (interpret::by_image(value), interpret::by_image(tangent));
        let residual = softmax(logits, 1) - one_hot(labels, tangent.dims(), &self.device);
        (residual * tangent).sum() / labels.len() as f32
    }

    /// Mean over the images of `Σ (Q(x) − x)²` of every layer's activation x at each of `bits`, with the power-of-two step of
    /// least error; `[layer][bits]`, 0 where a layer ends in its accumulator.
    ///
    /// # Errors
    /// [`Error::Data`] for images of another size.
    pub fn activation_errors(&self, images: &Dataset, bits: &[u8]) -> Result<Vec<Vec<f64>>> {
        let indices: Vec<usize> = (0..images.len()).collect();
        let (pixels, _) = self.batch(images, &indices)?;
        let taps: Vec<Tensor<4>> = self.layers.iter().map(|layer| layer.taps.clone()).collect();
        let duals = Duals::new(self, &taps, Direction::None);
        let image = pixels::subtract_offsets(pixels, &self.normalization);
        let values = interpret::interpret(&self.arch, &duals, Dual::constant(image));
        let nodes = self.arch.nodes.iter().zip(values).filter(|(node, _)| interpret::has_weights(node));
        let errors = |((_, Dual { value, .. }), layer): ((_, Dual), &TapLayer)| {
            let values = host(&value);
            let error = |&bits: &u8| {
                if layer.relu {
                    quantizer::least_activation_error(&values, bits) / images.len() as f64
                } else {
                    0.0
                }
            };
            bits.iter().map(error).collect()
        };
        Ok(nodes.zip(&self.layers).map(errors).collect())
    }

    /// Squares of the gradients of single images, summed over `indices` and divided by their number: the diagonal of the
    /// empirical Fisher matrix, `[positions][out]` sums over input channels of every layer.
    ///
    /// One backward pass of `Σ ε·loss` with random signs ε, whose square has that expectation; `seed` decides the signs.
    ///
    /// # Errors
    /// As [`FloatTaps::probe`].
    pub fn fisher(&self, images: &Dataset, indices: &[usize], seed: u64) -> Result<Vec<Curved>> {
        let (pixels, labels) = self.batch(images, indices)?;
        let taps: Vec<Tensor<4>> =
            self.layers.iter().map(|layer| layer.taps.clone().require_grad()).collect();
        let duals = Duals::new(self, &taps, Direction::None);
        let image = pixels::subtract_offsets(pixels, &self.normalization);
        let outputs = interpret::interpret(&self.arch, &duals, Dual::constant(image));
        let values = outputs.into_iter().map(|dual| dual.value).collect();
        let logits = interpret::logits(values);
        let log_probabilities = burn::tensor::activation::log_softmax(logits.clone(), 1);
        let own = one_hot(&labels, logits.dims(), &self.device) * log_probabilities;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let signs = (0..labels.len()).map(|_| if random.random::<bool>() { 1.0_f32 } else { -1.0 });
        let signs = Tensor::<1>::from_floats(signs.collect::<Vec<f32>>().as_slice(), &self.device);
        let loss = (own.sum_dim(1) * signs.reshape([labels.len(), 1])).sum();
        let grads = loss.backward();
        let squares = |taps: &Tensor<4>| {
            let gradient = taps.grad(&grads).unwrap_or_else(|| taps.clone().inner().zeros_like());
            let mean = gradient.clone() / labels.len() as f32;
            by_tap(&gradient, &mean)
        };
        Ok(taps.iter().map(squares).collect())
    }

    fn batch(&self, images: &Dataset, indices: &[usize]) -> Result<(Tensor<4>, Vec<u16>)> {
        let shape @ [_, height, width] = self.arch.shapes()[0];
        pixels::check_size(images, shape)?;
        let bytes: Vec<u8> = indices.iter().flat_map(|&index| images.image(index)).copied().collect();
        let labels: Vec<u16> = indices.iter().map(|&index| images.labels()[index]).collect();
        let classes = self.layers.last().map_or(0, |layer| layer.taps.dims()[0]);
        if let Some(label) = labels.iter().find(|&&label| usize::from(label) >= classes) {
            return Err(Error::Data {
                what: "labels of the dataset",
                expected: format!("below {classes}, the network's classes"),
                found: label.to_string(),
                next: "build the network with as many classes as the dataset",
            });
        }
        Ok((pixels::to_tensor(&bytes, [height, width], &self.device), labels))
    }
}

/// A tensor of random signs on a training device.
fn signs(shape: [usize; 4], random: &mut ChaCha8Rng, device: &Device) -> Tensor<4> {
    let signs = (0..shape.iter().product()).map(|_| if random.random::<bool>() { 1.0 } else { -1.0 });
    Tensor::from_data(TensorData::new(signs.collect::<Vec<f32>>(), shape), device)
}

fn one_hot(labels: &[u16], [_, classes]: [usize; 2], device: &Device) -> Tensor<2> {
    let indices: Vec<i32> = labels.iter().map(|&label| i32::from(label)).collect();
    let indices = Tensor::<1, Int>::from_ints(indices.as_slice(), device);
    indices.one_hot::<2>(classes).float()
}

fn host<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.to_data().iter::<f32>().collect()
}

/// Sums of `v·hv` over input channels, for tensors `[out, in, t, t]`.
fn by_tap(v: &Tensor<4>, hv: &Tensor<4>) -> Curved {
    let [out, inputs, height, width] = v.dims();
    let positions = height * width;
    let mut sums = vec![vec![0.0; out]; positions];
    for (at, (v, hv)) in host(v).iter().zip(host(hv)).enumerate() {
        sums[at % positions][at / (positions * inputs)] += f64::from(v * hv);
    }
    Curved { sums, count: (positions * out * inputs) as f64 }
}

/// Sums of `v·hv` by channel, for tensors `[channels, height, width, images]`; values that weren't moved are 0 in `v`.
fn by_channel(v: &Tensor<4>, hv: &Tensor<4>, images: usize) -> Curved {
    let (channels, v, hv) = (v.dims()[0], host(v), host(hv));
    let plane = (v.len() / channels.max(1)).max(1);
    let sum = |(v, hv): (&[f32], &[f32])| v.iter().zip(hv).map(|(v, hv)| f64::from(v * hv)).sum();
    let moved = v.iter().filter(|&&v| v != 0.0).count();
    let sums = vec![v.chunks(plane).zip(hv.chunks(plane)).map(sum).collect()];
    Curved { sums, count: moved as f64 / images as f64 }
}
