//! Convolution by tap weights U: `Y = Aᵀ[U ⊙ (Bᵀ d B)]A` over tiles, with batched products over channels, and its
//! exact adjoint. U needs no spatial kernel behind it, so quantized taps are convolved as the integer engine does.
//!
//! Transformed tiles live in one strip's scratch memory only; the backward pass computes them again, which costs less
//! than keeping `(t/step)²` times the inputs.

use std::ops::Range;

use pulp::Arch;
use rayon::prelude::*;

use super::bands::{self, Band, Rows, bands, write_bands};
use super::gemm::{View, multiply_into};
use super::halo::{Halo, Sink};
use super::scratch::with_scratch;
use super::shape::ConvShape;
use super::strip::{Strips, tap_stride};
use super::tile::Tile;
use super::transforms::{InputAdjoint, InputTransform, OutputAdjoint, OutputTransform};

/// Gradients of a convolution.
pub(crate) struct Gradients {
    /// As the input; empty if it wasn't asked for.
    pub(crate) input: Vec<f32>,
    /// `[taps, out, in]`.
    pub(crate) taps: Vec<f32>,
}

/// Where the tiles of a convolution are.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    pub(super) shape: ConvShape,
    /// Height and width of the output.
    pub(super) size: [usize; 2],
    tile_rows: usize,
    strips: Strips,
    /// Rows of inputs that a band of tiles shares with its neighbours: those of the padding above, the rest of the overlap below.
    pub(super) halo_rows: usize,
}

impl Plan {
    fn new<A: Tile<T, M>, const T: usize, const M: usize>(shape: ConvShape) -> Self {
        let size = shape.output_size();
        let strips = Strips::new(size[1].div_ceil(M), shape.images, T * T * (shape.inputs + shape.outputs));
        let halo_rows = shape.padding.max(T - A::STEP);
        Self { shape, size, tile_rows: size[0].div_ceil(M), strips, halo_rows }
    }

    /// Numbers of a strip's transformed inputs and outputs.
    fn scratch<const T: usize>(&self) -> [usize; 2] {
        [self.shape.inputs, self.shape.outputs]
            .map(|channels| T * T * tap_stride(channels, self.strips.columns()))
    }
}

/// `y` `[out, h', w', images]` for `x` `[in, h, w, images]` and taps `u` `[t², out, in]`, and what `finish` makes of it,
/// see [`super::convolve`].
pub(super) fn forward<A: Tile<T, M>, const T: usize, const M: usize, const N: usize>(
    tile: A,
    shape: ConvShape,
    (x, u, bias): (&[f32], &[f32], &[f32]),
    finish: impl Fn(usize, [&mut [f32]; N]) + Sync,
) -> [Vec<f32>; N] {
    let plan = Plan::new::<A, T, M>(shape);
    let [height, width] = plan.size;
    let tile_bands = bands(plan.tile_rows);
    let bands: Vec<_> = tile_bands.iter().map(|band| band.start * M..height.min(band.end * M)).collect();
    let rows = Rows { planes: shape.outputs, row: width * shape.images, bands: &bands };
    let lengths = plan.scratch::<T>();
    let work = |mut band: Band<'_, N>| {
        with_scratch(lengths, |v, m| {
            for row in tile_bands[band.index].clone() {
                let mut block = band.take(height.min((row + 1) * M) - row * M);
                let first_row = block.first;
                for strip in &plan.strips.of_row(row).collect::<Vec<_>>() {
                    Arch::new().dispatch(InputTransform { tile, plan, strip, x, v });
                    products::<T>(&plan, strip.columns(), u, v, m);
                    let outputs = &mut block.planes[0];
                    Arch::new().dispatch(OutputTransform { tile, plan, strip, m, bias, outputs, first_row });
                }
                block.visit(&finish);
            }
        });
    };
    write_bands(rows, work).0
}

/// Gradients for the output's gradient `dy`; that of the input only if `with_input`.
pub(crate) fn backward<A: Tile<T, M>, const T: usize, const M: usize>(
    tile: A,
    shape: ConvShape,
    (x, u, dy): (&[f32], &[f32], &[f32]),
    with_input: bool,
) -> Gradients {
    let plan = Plan::new::<A, T, M>(shape);
    let row = shape.width * shape.images;
    let tile_bands = bands(plan.tile_rows);
    let last = tile_bands.len().saturating_sub(1);
    let owned = |(index, band): (usize, &Range<usize>)| {
        let end = if index == last { shape.height } else { band.end * A::STEP };
        shape.height.min(band.start * A::STEP)..shape.height.min(end)
    };
    let bands: Vec<_> = tile_bands.iter().enumerate().map(owned).collect();
    let rows = Rows { planes: if with_input { shape.inputs } else { 0 }, row, bands: &bands };
    let work = |mut band: Band<'_, 1>| {
        let halo = if with_input { shape.inputs * plan.halo_rows * row } else { 0 };
        let (tiles, rows) = (tile_bands[band.index].clone(), band.rows());
        let [owned] = band.take(rows.len()).planes;
        let reach = tiles.start * A::STEP..tiles.end * A::STEP;
        let sink = Sink { owned, rows, tiles: reach, halo: vec![0.0; halo], above: shape.padding, row };
        backward_band(tile, &plan, tiles, (x, u, dy), sink)
    };
    let ([mut dx], parts) = write_bands(rows, work);
    let (taps, edges): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    let plane = shape.height * row;
    dx.par_chunks_exact_mut(plane.max(1)).enumerate().for_each(|(channel, dx)| {
        edges.iter().for_each(|edge| edge.add_to(channel, dx, &shape, plan.halo_rows));
    });
    Gradients { input: dx, taps: bands::sum(taps) }
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
