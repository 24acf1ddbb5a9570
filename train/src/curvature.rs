//! Second derivatives of the loss by the weights that are quantized, the Winograd-domain taps U, and by activations.
//!
//! **Products** `H·v` are exact, reverse over forward: every activation flows with its derivative in the direction v (a dual
//! number), the loss's derivative in that direction is `Σ (softmax − onehot)·tangent / n`, and one backward pass of it is `H·v`
//! (Pearlmutter 1994). Finite differences of gradients are useless here: ReLUs switch within any step that float32 can
//! resolve. A ReLU's own second derivative is zero almost everywhere and taken as such.
//!
//! **Squares** give the diagonal of every layer's block at once: logits are a piecewise linear function of one layer's taps, so
//! its block is `Jᵀ(diag p − p·pᵀ)J` without a rest, and the squared gradient of
//! `Σ ξ_c·√p_c·(z_c − Σ p·z)` with random signs ξ has that diagonal as its mean. The same holds for one activation.

use std::sync::Arc;

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use eqo_checkpoints::arch::Arch;
use eqo_datasets::{Dataset, Normalization};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::classifier::check_labels;
use crate::kernels::TapMap;
use crate::ops::ConvSpec;
use crate::winograd::Geometry;
use crate::{Result, interpret, pixels};

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

/// What derivatives are taken by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    /// Every tap of every layer.
    Taps,
    /// Every activation after a ReLU that is above zero: the others are rounded without an error.
    Activations,
}

/// Which squares of gradients are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Squares {
    /// Those whose mean is the Hessian's diagonal.
    Hessian,
    /// Those of single images' losses: the diagonal of the empirical Fisher matrix.
    Fisher,
}

/// A sample of the diagonal of one layer's block.
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

    /// `v·(H·v)` for the mean cross entropy of the images `indices` of `images` and a v of random signs in the taps of one
    /// layer, which depends on `seed` only (Hutchinson's estimate: its mean over v is the trace of that layer's block).
    ///
    /// # Errors
    /// [`crate::Error::Data`] for images of another size, or a label without a logit.
    pub fn probe(&self, images: &Dataset, indices: &[usize], layer: usize, seed: u64) -> Result<Curved> {
        let (pixels, labels) = self.batch(images, indices)?;
        let v = signs(self.layers[layer].taps.dims(), &mut ChaCha8Rng::seed_from_u64(seed), &self.device);
        let mut direction = vec![None; self.layers.len()];
        direction[layer] = Some(v.clone());
        let products = self.product(pixels, &labels, &direction);
        Ok(by_tap(&v, &products[layer]))
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
        let residual = softmax(logits, 1) - one_hot(labels, tangent.dims()[1], &self.device);
        (residual * tangent).sum() / labels.len() as f32
    }

    /// Squared gradients by every layer's taps or activations, for the images `indices` and random signs that depend on `seed`
    /// only; their mean over signs is the diagonal that `squares` says, of the mean cross entropy.
    ///
    /// # Errors
    /// As [`FloatTaps::probe`].
    pub fn squares(
        &self,
        images: &Dataset,
        indices: &[usize],
        (squares, variable): (Squares, Variable),
        seed: u64,
    ) -> Result<Vec<Curved>> {
        let (pixels, labels) = self.batch(images, indices)?;
        let by_taps = variable == Variable::Taps;
        let taps = self.layers.iter().map(|layer| layer.taps.clone());
        let taps: Vec<Tensor<4>> =
            taps.map(|taps| if by_taps { taps.require_grad() } else { taps }).collect();
        let duals = Duals::new(self, &taps, if by_taps { Direction::None } else { Direction::Watched });
        let image = pixels::subtract_offsets(pixels, &self.normalization);
        let outputs = interpret::interpret(&self.arch, &duals, Dual::constant(image));
        let logits = interpret::logits(outputs.into_iter().map(|dual| dual.value).collect());
        let random = ChaCha8Rng::seed_from_u64(seed);
        let weights = logit_weights(squares, logits.clone().detach(), &labels, random);
        let grads = (logits * weights).sum().backward();
        if by_taps {
            let gradient =
                |taps: &Tensor<4>| taps.grad(&grads).unwrap_or_else(|| taps.clone().inner().zeros_like());
            return Ok(taps
                .iter()
                .map(gradient)
                .map(|g| by_tap(&g, &(g.clone() / labels.len() as f32)))
                .collect());
        }
        let watched = duals.watched().into_iter().zip(&self.layers);
        let curved = |(watched, layer): (Option<(Tensor<4>, Tensor<4>)>, &TapLayer)| match watched {
            Some((zero, above)) => {
                let gradient = zero.grad(&grads).unwrap_or_else(|| above.clone().inner().zeros_like());
                by_channel(&gradient, &above, labels.len())
            }
            None => Curved { sums: vec![vec![0.0; layer.taps.dims()[0]]], count: 0.0 },
        };
        Ok(watched.map(curved).collect())
    }

    fn batch(&self, images: &Dataset, indices: &[usize]) -> Result<(Tensor<4>, Vec<u16>)> {
        let shape @ [_, height, width] = self.arch.shapes()[0];
        pixels::check_size(images, shape)?;
        let bytes: Vec<u8> = indices.iter().flat_map(|&index| images.image(index)).copied().collect();
        let labels: Vec<u16> = indices.iter().map(|&index| images.labels()[index]).collect();
        let classes = self.layers.last().map_or(0, |layer| layer.taps.dims()[0]);
        check_labels(&labels, classes)?;
        Ok((pixels::to_tensor(&bytes, [height, width], &self.device), labels))
    }
}

/// A tensor of random signs on a training device.
fn signs(shape: [usize; 4], random: &mut ChaCha8Rng, device: &Device) -> Tensor<4> {
    let signs = (0..shape.iter().product()).map(|_| if random.random::<bool>() { 1.0 } else { -1.0 });
    Tensor::from_data(TensorData::new(signs.collect::<Vec<f32>>(), shape), device)
}

fn one_hot(labels: &[u16], classes: usize, device: &Device) -> Tensor<2> {
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

/// Sums of squares by channel where `above` is 1, per image, of tensors `[channels, height, width, images]`.
fn by_channel(gradient: &Tensor<4>, above: &Tensor<4>, images: usize) -> Curved {
    let (channels, gradient, above) = (gradient.dims()[0], host(gradient), host(above));
    let plane = (gradient.len() / channels.max(1)).max(1);
    let square = |(g, above): (&f32, &f32)| f64::from(g * above) * f64::from(g * above) / images as f64;
    let sum = |(g, above): (&[f32], &[f32])| g.iter().zip(above).map(square).sum();
    let count = above.iter().map(|&above| f64::from(above)).sum::<f64>() / images as f64;
    Curved { sums: vec![gradient.chunks(plane).zip(above.chunks(plane)).map(sum).collect()], count }
}

/// What logits `[batch, classes]` are summed with, so that gradients of the sum are those whose squares are asked for.
fn logit_weights(squares: Squares, logits: Tensor<2>, labels: &[u16], mut random: ChaCha8Rng) -> Tensor<2> {
    let ([batch, classes], device) = (logits.dims(), logits.device());
    let p = softmax(logits, 1);
    let count = if squares == Squares::Hessian { classes } else { 1 };
    let signs = (0..batch * count).map(|_| if random.random::<bool>() { 1.0_f32 } else { -1.0 });
    let signs = TensorData::new(signs.collect::<Vec<f32>>(), [batch, count]);
    let signs = Tensor::<2>::from_data(signs, &device);
    match squares {
        Squares::Hessian => {
            let drawn = signs * p.clone().sqrt();
            drawn.clone() - p * drawn.sum_dim(1)
        }
        Squares::Fisher => signs * (p - one_hot(labels, classes, &device)),
    }
}
