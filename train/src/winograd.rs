//! Convolution by tap weights: the Winograd domain as tensors, and the convolution those taps stand for.
//!
//! `Y = Aᵀ[U ⊙ (Bᵀ d B)]A` is linear in the tile d, so U alone fixes a kernel `K = (Aᵀ⊗Aᵀ)·U·(Bᵀ⊗Bᵀ)` from a tile of
//! t x t inputs to its m x m outputs. As one convolution from tile to tile with m²·out channels it is the same function of U as
//! tile-wise multiplication, differentiable by Burn, and exact for dyadic numbers that fit float32.

use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData};
use eqo_checkpoints::winograd::{Algorithm, Transform};

/// How a layer's taps are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) algorithm: Algorithm,
    pub(crate) kernel: usize,
    pub(crate) stride: usize,
    pub(crate) padding: usize,
}

/// Tap weights `[positions, out, in]` of a kernel `[out, in, k, k]`: `(G⊗G)·w`, or the kernel's elements row by row
/// for direct convolution.
pub(crate) fn tap_weights(weight: Tensor<4>, algorithm: Algorithm) -> Tensor<3> {
    let [out, inputs, height, width] = weight.dims();
    let elements = weight.permute([2, 3, 0, 1]).reshape([height * width, out * inputs]);
    let taps = match algorithm.transform() {
        None => elements,
        Some(transform) => matrix(&transform.kernel_coefficients(), &elements.device()).matmul(elements),
    };
    taps.reshape([0, out as i32, inputs as i32])
}

/// The convolution that `taps` `[positions, out, in]` stand for; `x` is `[in, height, width, batch]`, as the output.
pub(crate) fn convolve(x: Tensor<4>, taps: Tensor<3>, bias: Tensor<1>, geometry: Geometry) -> Tensor<4> {
    let x = x.permute([3, 0, 1, 2]);
    let y = match geometry.algorithm.transform() {
        Some(transform) => convolve_tiles(x, taps, bias, (&transform, geometry)),
        None => {
            let [_, out, inputs] = taps.dims();
            let side = geometry.kernel;
            let weight = taps.reshape([side, side, out, inputs]).permute([2, 3, 0, 1]);
            let options = ConvOptions::new([geometry.stride; 2], [geometry.padding; 2], [1; 2], 1);
            conv2d(x, weight, Some(bias), options)
        }
    };
    y.permute([1, 2, 3, 0])
}

/// One convolution, from tile to tile, gives the m² outputs of every tile as channels; they are then interleaved into the image.
fn convolve_tiles(
    x: Tensor<4>,
    taps: Tensor<3>,
    bias: Tensor<1>,
    (transform, geometry): (&Transform, Geometry),
) -> Tensor<4> {
    let [batch, _, height, width] = x.dims();
    let [_, out, _] = taps.dims();
    let (m, step, padding) = (transform.outputs, transform.step, geometry.padding);
    let output = |size: usize| (size + 2 * padding - geometry.kernel) / geometry.stride + 1;
    let sizes = [height, width].map(output);
    let tiles = sizes.map(|size| transform.tiles(size));
    // With a stride the last input may be read by no output.
    let read = |axis: usize| tiles[axis] * step + transform.tile - step;
    let pad = |axis: usize, size: usize| (padding, read(axis).saturating_sub(size + padding));
    let mut options = ConvOptions::new([step; 2], [0; 2], [1; 2], 1);
    options.padding = [pad(0, height), pad(1, width)];
    let phases = conv2d(x, effective_kernel(taps, transform), Some(bias.repeat_dim(0, m * m)), options);
    let image = phases.reshape([batch, m, m, out, tiles[0], tiles[1]]).permute([0, 3, 4, 1, 5, 2]).reshape([
        batch,
        out,
        tiles[0] * m,
        tiles[1] * m,
    ]);
    if [tiles[0] * m, tiles[1] * m] == sizes {
        return image;
    }
    image.slice([0..batch, 0..out, 0..sizes[0], 0..sizes[1]])
}

/// `[m²·out, in, t, t]` (phase-major) from `[t², out, in]`.
pub(crate) fn effective_kernel(taps: Tensor<3>, transform: &Transform) -> Tensor<4> {
    let [positions, out, inputs] = taps.dims();
    let (m, t) = (transform.outputs, transform.tile);
    let mut mix = vec![vec![0.0; positions]; m * m * t * t];
    for term in transform.effective_terms() {
        mix[term.output * t * t + term.position][term.tap] += term.coefficient as f32;
    }
    matrix(&mix, &taps.device())
        .matmul(taps.reshape([positions, out * inputs]))
        .reshape([m * m, t, t, out, inputs])
        .permute([0, 3, 4, 1, 2])
        .reshape([m * m * out, inputs, t, t])
}

fn matrix(rows: &[Vec<f32>], device: &Device) -> Tensor<2> {
    let columns = rows.first().map_or(0, Vec::len);
    Tensor::from_data(TensorData::new(rows.concat(), [rows.len(), columns]), device)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tolerance;

    use super::*;

    /// Small integers, so that every sum is exact and comparisons need no tolerance.
    fn integers<const D: usize>(shape: [usize; D], seed: usize) -> Tensor<D> {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|i| ((i * 31 + seed * 7) % 17) as f32 - 8.0).collect();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    /// [`super::convolve`] of `[batch, in, height, width]`.
    fn convolve(x: Tensor<4>, taps: Tensor<3>, bias: Tensor<1>, geometry: Geometry) -> Tensor<4> {
        super::convolve(x.permute([1, 2, 3, 0]), taps, bias, geometry).permute([3, 0, 1, 2])
    }

    fn geometry(algorithm: Algorithm, padding: usize) -> Geometry {
        let stride = algorithm.transform().map_or(1, |transform| transform.stride());
        Geometry { algorithm, kernel: 3, stride, padding }
    }

    #[test]
    fn tiles_equal_direct_convolution_for_even_odd_and_unpadded_images() {
        for (height, width, padding) in [(6, 6, 1), (7, 5, 1), (1, 1, 1), (4, 9, 0), (6, 8, 0), (3, 3, 2)] {
            let x = integers([2, 3, height, width], 1);
            let weight = integers([5, 3, 3, 3], 2);
            let bias = integers([5], 3);
            let run = |algorithm: Algorithm, geometry: Geometry| {
                let taps = tap_weights(weight.clone(), algorithm);
                assert_eq!(taps.dims()[0], if algorithm == Algorithm::Direct { 9 } else { algorithm.taps() });
                convolve(x.clone(), taps, bias.clone(), geometry)
            };
            let [direct, two, four, halved] =
                Algorithm::ALL.map(|algorithm| run(algorithm, geometry(algorithm, padding)));
            assert_eq!(two.dims(), [2, 5, height + 2 * padding - 2, width + 2 * padding - 2]);
            two.into_data().assert_eq(&direct.to_data(), true);
            let strided = Geometry { stride: 2, ..geometry(Algorithm::Direct, padding) };
            halved.into_data().assert_eq(&run(Algorithm::Direct, strided).into_data(), true);
            // G of F(4x4, 3x3) has thirds.
            let tolerance = Tolerance::<f32>::absolute(1e-3);
            four.into_data().assert_approx_eq(&direct.into_data(), tolerance);
        }
    }

    /// `Aᵀ[U ⊙ (Bᵀ d B)]A` of one tile, with loops.
    fn tile_output(transform: &Transform, u: &[f32], d: &[f32]) -> Vec<f32> {
        let (output, input) = (transform.output_coefficients(), transform.input_coefficients());
        let sum =
            |row: &[i64], values: &[f32]| row.iter().zip(values).map(|(&c, v)| c as f32 * v).sum::<f32>();
        let products: Vec<f32> = input.iter().zip(u).map(|(row, u)| u * sum(row, d)).collect();
        output.iter().map(|row| sum(row, &products)).collect()
    }

    #[test]
    fn arbitrary_taps_act_as_tile_wise_multiplication() {
        for algorithm in [Algorithm::F2x2, Algorithm::F4x4, Algorithm::P2x2] {
            let transform = algorithm.transform().unwrap();
            let (t, outputs) = (transform.tile, transform.outputs * transform.outputs);
            let (x, taps) = (integers([1, 3, t, t], 4), integers([t * t, 2, 3], 5));
            let bias = Tensor::zeros([2], &x.device());
            let y = convolve(x.clone(), taps.clone(), bias, geometry(algorithm, 0));
            let [x, taps] = [x.into_data_as::<f32>(), taps.into_data_as::<f32>()]
                .map(|data| data.iter::<f32>().collect::<Vec<_>>());
            let found: Vec<f32> = y.into_data_as::<f32>().iter::<f32>().collect();
            for out in 0..2 {
                let mut want = vec![0.0; outputs];
                for (input, d) in x.chunks(t * t).enumerate() {
                    let u: Vec<f32> = (0..t * t).map(|tap| taps[tap * 6 + out * 3 + input]).collect();
                    let part = tile_output(&transform, &u, d);
                    want.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
                }
                assert_eq!(found[out * outputs..(out + 1) * outputs], want, "{algorithm:?}");
            }
        }
    }

    #[test]
    fn strided_kernels_of_one_pixel_are_subsampled_products() {
        let x = integers([1, 2, 5, 5], 5);
        let weight = integers([3, 2, 1, 1], 6);
        let geometry = Geometry { algorithm: Algorithm::Direct, kernel: 1, stride: 2, padding: 0 };
        let y = convolve(
            x.clone(),
            tap_weights(weight.clone(), Algorithm::Direct),
            Tensor::zeros([3], &x.device()),
            geometry,
        );
        assert_eq!(y.dims(), [1, 3, 3, 3]);
        let (x, w, y) = (x.to_data_as::<f32>(), weight.to_data_as::<f32>(), y.to_data_as::<f32>());
        let [x, w, y] = [x, w, y].map(|data| data.iter::<f32>().collect::<Vec<f32>>());
        for (index, &value) in y.iter().enumerate() {
            let (out, row, column) = (index / 9, index / 3 % 3, index % 3);
            let at = row * 2 * 5 + column * 2;
            assert_eq!(value, w[out * 2] * x[at] + w[out * 2 + 1] * x[25 + at]);
        }
    }
}
