//! Convolution by sliding windows (any kernel and stride): a strip of windows becomes the columns of one product.

use std::ops::Range;

use rayon::prelude::*;

use super::bands::{self, Band, Rows, bands, write_bands};
use super::fresh::filled;
use super::gemm::{View, multiply_into};
use super::scratch::with_scratch;
use super::shape::ConvShape;
use super::strip::{Strip, Strips};
use super::winograd::Gradients;

/// `y` `[out, h', w', images]` for `x` `[in, h, w, images]` and the kernel `[k², out, in]`, and what `finish` makes of it,
/// see [`super::convolve`].
pub(super) fn forward<const N: usize>(
    shape: ConvShape,
    (x, kernel, bias): (&[f32], &[f32], &[f32]),
    finish: impl Fn(usize, [&mut [f32]; N]) + Sync,
) -> [Vec<f32>; N] {
    let [height, width] = shape.output_size();
    let bands = bands(height);
    let rows = Rows { planes: shape.outputs, row: width * shape.images, bands: &bands };
    let strips = strips(&shape);
    let windows = shape.inputs * shape.kernel * shape.kernel;
    let matrix = by_output(&shape, kernel);
    let work = |mut band: Band<'_, N>| {
        let lengths = [windows, shape.outputs].map(|rows| rows * strips.columns());
        with_scratch(lengths, |columns, product| {
            for row in band.rows() {
                let mut block = band.take(1);
                for strip in strips.of_row(row) {
                    let count = strip.columns();
                    gather(&shape, &strip, x, columns);
                    let a = View::dense(&matrix, shape.outputs, windows);
                    multiply_into(product, a, View::dense(columns, windows, count), false);
                    let planes = block.planes[0].iter_mut().zip(product.chunks_exact(count)).zip(bias);
                    for ((output, values), &bias) in planes {
                        for (index, from) in pieces(&shape, &strip, 0, width).enumerate() {
                            let values = &values[index * strip.images.len()..];
                            output[from].iter_mut().zip(values).for_each(|(y, value)| *y = value + bias);
                        }
                    }
                }
                block.visit(&finish);
            }
        });
    };
    write_bands(rows, work).0
}

/// Gradients for the output's gradient `dy`; that of the input only if `with_input`.
pub(crate) fn backward(
    shape: ConvShape,
    (x, kernel, dy): (&[f32], &[f32], &[f32]),
    with_input: bool,
) -> Gradients {
    let taps = by_tap(&shape, &kernel_gradient(shape, x, dy));
    let input = if with_input { input_gradient(shape, kernel, dy) } else { Vec::new() };
    Gradients { input, taps }
}

/// `[out, in·k²]`.
fn kernel_gradient(shape: ConvShape, x: &[f32], dy: &[f32]) -> Vec<f32> {
    let [height, _] = shape.output_size();
    let strips = strips(&shape);
    let windows = shape.inputs * shape.kernel * shape.kernel;
    let part = |band: Range<usize>| {
        let mut sum = vec![0.0; shape.outputs * windows];
        let lengths = [windows, shape.outputs].map(|rows| rows * strips.columns());
        with_scratch(lengths, |columns, gradient| {
            for strip in band.flat_map(|row| strips.of_row(row)) {
                let count = strip.columns();
                gather(&shape, &strip, x, columns);
                gather_output(&shape, &strip, dy, gradient);
                let a = View::dense(gradient, shape.outputs, count);
                multiply_into(&mut sum, a, View::dense(columns, windows, count).transposed(), true);
            }
        });
        sum
    };
    bands::sum(bands(height).into_par_iter().map(part).collect())
}

/// Split by input channels, which no two bands share.
fn input_gradient(shape: ConvShape, kernel: &[f32], dy: &[f32]) -> Vec<f32> {
    let [height, _] = shape.output_size();
    let strips = strips(&shape);
    let plane = shape.height * shape.width * shape.images;
    let squares = shape.kernel * shape.kernel;
    let matrix = by_output(&shape, kernel);
    let windows = shape.inputs * squares;
    let channels = shape.inputs.div_ceil(bands(shape.inputs).len().max(1));
    filled(shape.input_len(), (channels * plane).max(1), |index, dx| {
        let mine = dx.len() / plane * squares;
        let lengths = [mine, shape.outputs].map(|rows| rows * strips.columns());
        let first = index * channels * squares;
        let part: Vec<f32> =
            matrix.chunks_exact(windows).flat_map(|row| &row[first..first + mine]).copied().collect();
        with_scratch(lengths, |columns, gradient| {
            for strip in (0..height).flat_map(|row| strips.of_row(row)) {
                let count = strip.columns();
                gather_output(&shape, &strip, dy, gradient);
                let a = View::dense(&part, shape.outputs, mine).transposed();
                multiply_into(columns, a, View::dense(gradient, shape.outputs, count), false);
                scatter(&shape, &strip, columns, dx);
            }
        });
    })
}

fn strips(shape: &ConvShape) -> Strips {
    let numbers = shape.inputs * shape.kernel * shape.kernel + shape.outputs;
    Strips::new(shape.output_size()[1], shape.images, numbers)
}

/// `[out, in·k²]` from `[k², out, in]`.
fn by_output(shape: &ConvShape, kernel: &[f32]) -> Vec<f32> {
    let (rows, squares) = (shape.outputs * shape.inputs, shape.kernel * shape.kernel);
    let mut matrix = vec![0.0; kernel.len()];
    for (at, part) in kernel.chunks_exact(rows).enumerate() {
        part.iter().enumerate().for_each(|(row, &value)| matrix[row * squares + at] = value);
    }
    matrix
}

/// `[k², out, in]` from `[out, in·k²]`.
fn by_tap(shape: &ConvShape, matrix: &[f32]) -> Vec<f32> {
    let (rows, squares) = (shape.outputs * shape.inputs, shape.kernel * shape.kernel);
    let mut kernel = vec![0.0; matrix.len()];
    for (at, part) in kernel.chunks_exact_mut(rows).enumerate() {
        part.iter_mut().enumerate().for_each(|(row, value)| *value = matrix[row * squares + at]);
    }
    kernel
}

/// Where each output of the strip lies in a channel of the output whose rows start `row` rows before the strip's.
fn pieces(
    shape: &ConvShape,
    strip: &Strip,
    row: usize,
    width: usize,
) -> impl Iterator<Item = Range<usize>> + use<> {
    let (images, lanes) = (shape.images, strip.images.clone());
    strip.tiles.clone().map(move |x| {
        let start = (row * width + x) * images;
        start + lanes.start..start + lanes.end
    })
}

/// `gradient[out][column]`.
fn gather_output(shape: &ConvShape, strip: &Strip, dy: &[f32], gradient: &mut [f32]) {
    let [height, width] = shape.output_size();
    let plane = height * width * shape.images;
    for (values, dy) in gradient.chunks_exact_mut(strip.columns()).zip(dy.chunks_exact(plane)) {
        for (into, from) in
            values.chunks_exact_mut(strip.images.len()).zip(pieces(shape, strip, strip.row, width))
        {
            into.copy_from_slice(&dy[from]);
        }
    }
}

/// `columns[in·k²][column]`: the inputs under each kernel element, zero outside the image.
fn gather(shape: &ConvShape, strip: &Strip, x: &[f32], columns: &mut [f32]) {
    let lanes = strip.images.len();
    let plane = shape.height * shape.width * shape.images;
    let mut rows = columns.chunks_exact_mut(strip.columns());
    for x in x.chunks_exact(plane) {
        for at in 0..shape.kernel * shape.kernel {
            let Some(row) = rows.next() else { return };
            for (into, tile) in row.chunks_exact_mut(lanes).zip(strip.tiles.clone()) {
                match pixel(shape, strip, tile, at) {
                    Some(from) => into.copy_from_slice(&x[from]),
                    None => into.fill(0.0),
                }
            }
        }
    }
}

/// The adjoint of [`gather`], for the channels that `dx` has.
fn scatter(shape: &ConvShape, strip: &Strip, columns: &[f32], dx: &mut [f32]) {
    let lanes = strip.images.len();
    let plane = shape.height * shape.width * shape.images;
    let mut rows = columns.chunks_exact(strip.columns());
    for dx in dx.chunks_exact_mut(plane) {
        for at in 0..shape.kernel * shape.kernel {
            let Some(row) = rows.next() else { return };
            for (from, tile) in row.chunks_exact(lanes).zip(strip.tiles.clone()) {
                if let Some(into) = pixel(shape, strip, tile, at) {
                    dx[into].iter_mut().zip(from).for_each(|(dx, value)| *dx += value);
                }
            }
        }
    }
}

/// The images' values of the input pixel under kernel element `at` of the output in column `x`; `None` in the padding.
fn pixel(shape: &ConvShape, strip: &Strip, x: usize, at: usize) -> Option<Range<usize>> {
    let inside = |output: usize, offset: usize, side: usize| {
        (output * shape.stride + offset).checked_sub(shape.padding).filter(|&position| position < side)
    };
    let y = inside(strip.row, at / shape.kernel, shape.height)?;
    let x = inside(x, at % shape.kernel, shape.width)?;
    let start = (y * shape.width + x) * shape.images;
    Some(start + strip.images.start..start + strip.images.end)
}
