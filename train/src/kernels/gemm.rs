//! Matrix products over strided views, by the `gemm` crate.
//!
//! Its interface is raw pointers; [`View`] and [`multiply_into`] check every index once, before the call.
#![allow(unsafe_code, reason = "gemm::gemm takes pointers; extents are checked right before the only call")]

use gemm::Parallelism;

/// A matrix inside a slice: element (i, j) is `data[i·row_stride + j·column_stride]`.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    data: &'a [f32],
    extent: Extent,
}

/// Size and strides of a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) row_stride: usize,
    pub(crate) column_stride: usize,
}

impl Extent {
    /// Row-major, without gaps.
    pub(crate) fn dense(rows: usize, columns: usize) -> Self {
        Self { rows, columns, row_stride: columns, column_stride: 1 }
    }

    fn transposed(self) -> Self {
        let Self { rows, columns, row_stride, column_stride } = self;
        Self { rows: columns, columns: rows, row_stride: column_stride, column_stride: row_stride }
    }

    /// Elements a slice must have to hold the matrix.
    fn span(self) -> usize {
        match (self.rows.checked_sub(1), self.columns.checked_sub(1)) {
            (Some(row), Some(column)) => row * self.row_stride + column * self.column_stride + 1,
            _ => 0,
        }
    }
}

impl<'a> View<'a> {
    /// A row-major matrix without gaps.
    pub(crate) fn dense(data: &'a [f32], rows: usize, columns: usize) -> Self {
        Self { data, extent: Extent::dense(rows, columns) }
    }

    /// The same numbers with rows and columns exchanged.
    pub(crate) fn transposed(self) -> Self {
        Self { extent: self.extent.transposed(), ..self }
    }
}

/// `into = a·b`, or `into += a·b` if `accumulate`; one thread.
///
/// # Panics
/// If a matrix doesn't fit its slice or the sizes don't match: mistakes of the calling kernel.
pub(crate) fn multiply_into(into: &mut [f32], a: View<'_>, b: View<'_>, accumulate: bool) {
    let (m, k, n) = (a.extent.rows, a.extent.columns, b.extent.columns);
    let c = Extent::dense(m, n);
    assert_eq!(k, b.extent.rows, "inner sizes of a product");
    assert!(a.extent.span() <= a.data.len() && b.extent.span() <= b.data.len() && c.span() <= into.len());
    // SAFETY: every (row, column) of the three matrices is below `span`, which the slices hold; strides of slices fit
    // `isize`; `into` is borrowed mutably, so it overlaps neither operand. With `read_dst` false, `into` isn't read.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            into.as_mut_ptr(),
            c.column_stride as isize,
            c.row_stride as isize,
            accumulate,
            a.data.as_ptr(),
            a.extent.column_stride as isize,
            a.extent.row_stride as isize,
            b.data.as_ptr(),
            b.extent.column_stride as isize,
            b.extent.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
