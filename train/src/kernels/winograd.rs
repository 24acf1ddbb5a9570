//! Convolution by tap weights U: `Y = Aᵀ[U ⊙ (Bᵀ d B)]A` over tiles, with batched products over channels, and its
//! exact adjoint. U needs no spatial kernel behind it, so quantized taps are convolved as the integer engine does.
//!
//! Transformed tiles live in one strip's scratch memory only; the backward pass computes them again, which costs less
//! than keeping `(t/m)²` times the activations.

use std::ops::Range;

use pulp::Arch;
use rayon::prelude::*;

use super::bands::{self, bands, split_rows};
use super::gemm::{View, multiply_into};
use super::halo::{Halo, Sink};
use super::scratch::with_scratch;
use super::shape::ConvShape;
use super::strip::{Strips, tap_stride};
use super::sum::sum_images;
use super::tile::Tile;
use super::transforms::{InputAdjoint, InputTransform, OutputAdjoint, OutputTransform};

/// Gradients of a convolution.
pub(crate) struct Gradients {
    /// As the input; empty if it wasn't asked for.
    pub(crate) input: Vec<f32>,
    /// `[taps, out, in]`.
    pub(crate) taps: Vec<f32>,
    /// `[out]`.
    pub(crate) bias: Vec<f32>,
}

/// Where the tiles of a convolution are.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    pub(super) shape: ConvShape,
    /// Height and width of the output.
    pub(super) size: [usize; 2],
    tile_rows: usize,
    strips: Strips,
}

impl Plan {
    fn new<const T: usize, const M: usize>(shape: ConvShape) -> Self {
        let size = shape.output_size();
        let strips = Strips::new(size[1].div_ceil(M), shape.images, T * T * (shape.inputs + shape.outputs));
        Self { shape, size, tile_rows: size[0].div_ceil(M), strips }
    }

    /// Numbers of a strip's transformed inputs and outputs.
    fn scratch<const T: usize>(&self) -> [usize; 2] {
        [self.shape.inputs, self.shape.outputs]
            .map(|channels| T * T * tap_stride(channels, self.strips.columns()))
    }
}

/// `y` `[out, h', w', images]` for `x` `[in, h, w, images]` and taps `u` `[t², out, in]`.
pub(crate) fn forward<A: Tile<T, M>, const T: usize, const M: usize>(
    tile: A,
    shape: ConvShape,
    (x, u, bias): (&[f32], &[f32], &[f32]),
) -> Vec<f32> {
    let plan = Plan::new::<T, M>(shape);
    let mut y = vec![0.0; shape.output_len()];
    let row = plan.size[1] * shape.images;
    let tile_bands = bands(plan.tile_rows);
    let rows: Vec<_> = tile_bands.iter().map(|band| band.start * M..plan.size[0].min(band.end * M)).collect();
    let outputs = split_rows(&mut y, plan.size[0] * row, row, &rows);
    let jobs: Vec<_> = tile_bands.into_iter().zip(outputs).collect();
    let lengths = plan.scratch::<T>();
    jobs.into_par_iter().for_each(|(band, mut outputs)| {
        with_scratch(lengths, |v, m| {
            for strip in band.clone().flat_map(|row| plan.strips.of_row(row)) {
                let strip = &strip;
                Arch::new().dispatch(InputTransform { tile, plan, strip, x, v });
                products::<T>(&plan, strip.columns(), u, v, m);
                let first_row = band.start * M;
                Arch::new().dispatch(OutputTransform {
                    tile,
                    plan,
                    strip,
                    m,
                    bias,
                    outputs: &mut outputs,
                    first_row,
                });
            }
        });
    });
    y
}

/// Gradients for the output's gradient `dy`; that of the input only if `with_input`.
pub(crate) fn backward<A: Tile<T, M>, const T: usize, const M: usize>(
    tile: A,
    shape: ConvShape,
    (x, u, dy): (&[f32], &[f32], &[f32]),
    with_input: bool,
) -> Gradients {
    let plan = Plan::new::<T, M>(shape);
    let mut dx = vec![0.0; if with_input { shape.input_len() } else { 0 }];
    let row = shape.width * shape.images;
    let tile_bands = bands(plan.tile_rows);
    let last = tile_bands.len().saturating_sub(1);
    let owned = |(index, band): (usize, &Range<usize>)| {
        let end = if index == last { shape.height } else { band.end * M };
        shape.height.min(band.start * M)..shape.height.min(end)
    };
    let rows: Vec<_> = tile_bands.iter().enumerate().map(owned).collect();
    let inputs = split_rows(&mut dx, shape.height * row, row, &rows);
    let jobs: Vec<_> = tile_bands.into_iter().zip(rows).zip(inputs).collect();
    let parts: Vec<_> = jobs
        .into_par_iter()
        .map(|((band, rows), inputs)| {
            let halo = if with_input { shape.inputs * (T - M) * row } else { 0 };
            let tiles = band.start * M..band.end * M;
            let sink = Sink { owned: inputs, rows, tiles, halo: vec![0.0; halo], above: shape.padding, row };
            backward_band(tile, &plan, band, (x, u, dy), sink)
        })
        .collect();
    let (mut taps, mut edges) = (Vec::new(), Vec::new());
    for (part, edge) in parts {
        taps.push(part);
        edges.push(edge);
    }
    edges.iter().for_each(|edge| edge.add_to(&mut dx, &shape, T - M));
    Gradients { input: dx, taps: bands::sum(taps), bias: sum_images(dy, shape.outputs) }
}

/// Tap gradients of one band, and what it adds to rows of its neighbours.
fn backward_band<A: Tile<T, M>, const T: usize, const M: usize>(
    tile: A,
    plan: &Plan,
    band: Range<usize>,
    (x, u, dy): (&[f32], &[f32], &[f32]),
    mut sink: Sink<'_>,
) -> (Vec<f32>, Halo) {
    let ConvShape { inputs, outputs, .. } = plan.shape;
    let plan = *plan;
    let mut du = vec![0.0; T * T * outputs * inputs];
    with_scratch(plan.scratch::<T>(), |v, dm| {
        for strip in band.clone().flat_map(|row| plan.strips.of_row(row)) {
            let (strip, columns) = (&strip, strip.columns());
            Arch::new().dispatch(OutputAdjoint { tile, plan, strip, dy, dm });
            Arch::new().dispatch(InputTransform { tile, plan, strip, x, v });
            let strides = [inputs, outputs].map(|channels| tap_stride(channels, columns));
            for ((du, dm), v) in
                du.chunks_exact_mut(outputs * inputs).zip(dm.chunks(strides[1])).zip(v.chunks(strides[0]))
            {
                let v = View::dense(v, inputs, columns).transposed();
                multiply_into(du, View::dense(dm, outputs, columns), v, true);
            }
            if !sink.is_wanted() {
                continue;
            }
            for ((dv, dm), u) in
                v.chunks_mut(strides[0]).zip(dm.chunks(strides[1])).zip(u.chunks_exact(outputs * inputs))
            {
                let u = View::dense(u, outputs, inputs).transposed();
                multiply_into(dv, u, View::dense(dm, outputs, columns), false);
            }
            Arch::new().dispatch(InputAdjoint { tile, plan, strip, dv: v, sink: &mut sink });
        }
    });
    (du, sink.into_halo())
}

/// `m[tap] = u[tap]·v[tap]`.
fn products<const T: usize>(plan: &Plan, columns: usize, u: &[f32], v: &[f32], m: &mut [f32]) {
    let ConvShape { inputs, outputs, .. } = plan.shape;
    let [v_stride, m_stride] = [inputs, outputs].map(|channels| tap_stride(channels, columns));
    let taps = u.chunks_exact(outputs * inputs).zip(v.chunks(v_stride));
    for ((u, v), m) in taps.zip(m.chunks_mut(m_stride)).take(T * T) {
        multiply_into(m, View::dense(u, outputs, inputs), View::dense(v, inputs, columns), false);
    }
}
