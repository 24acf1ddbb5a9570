//! The columns of the extension matrix, 512 at a time.
//!
//! Rounds of byte interleaving move whole bytes, GFNI moves the bits inside 8 x 8 squares: 8 rows are interleaved until
//! eight bytes that lie below each other form a word, which is transposed; 16 such results are interleaved until 16 bytes form
//! a column.
#![allow(unsafe_code)] // Calls into target-feature code, and stores of registers to blocks.

use std::arch::x86_64::*;
use std::mem::MaybeUninit;

use zeroize::Zeroize;

use super::super::Block;
use super::super::prg::Row;
use super::Avx512;

/// Columns made at once: the bits of a register.
pub(in super::super) const COLUMNS: usize = 512;

/// 8 x 8 squares of bits, `[i][g]` from the rows 8g to 8g + 7 and the bytes 2i and 2i + 1 of each 16 bytes.
type Squares = [[__m512i; 16]; 8];

impl Avx512 {
    /// Appends the first `count` columns of the matrix with the given rows, rounded down to a multiple of [`COLUMNS`].
    pub(in super::super) fn columns(self, rows: &[Row; 128], count: usize, out: &mut Vec<Block>) {
        let whole = count / COLUMNS * COLUMNS;
        out.reserve(whole);
        // SAFETY: `self` proves the features, and the kernel writes all of the `whole` blocks.
        unsafe {
            columns(rows, &mut out.spare_capacity_mut()[..whole]);
            out.set_len(out.len() + whole);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn columns(rows: &[Row; 128], out: &mut [MaybeUninit<Block>]) {
    let mut squares: Squares = [[_mm512_setzero_si512(); 16]; 8];
    for (register, out) in out.as_chunks_mut::<COLUMNS>().0.iter_mut().enumerate() {
        transpose_squares(rows, register, &mut squares);
        for (i, squares) in squares.iter().enumerate() {
            store_columns(squares, i, out);
        }
    }
    squares.zeroize();
}

#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn transpose_squares(rows: &[Row; 128], register: usize, squares: &mut Squares) {
    // As the matrix of an affine map, a word takes the unit vector j to its column j, with its rows from last to first.
    let units = _mm512_set1_epi64(0x8040_2010_0804_0201_u64 as i64);
    for (g, rows) in rows.as_chunks::<8>().0.iter().enumerate() {
        let bytes: [__m512i; 8] = std::array::from_fn(|i| rows[7 - i].registers()[register]);
        let bytes = interleave(interleave(interleave(bytes)));
        for (squares, word) in squares.iter_mut().zip(bytes) {
            squares[g] = _mm512_gf2p8affine_epi64_epi8::<0>(units, word);
        }
    }
}

/// Columns 16i to 16i + 15 of each 128.
#[target_feature(enable = "avx512f,avx512bw")]
fn store_columns(squares: &[__m512i; 16], i: usize, out: &mut [MaybeUninit<Block>; COLUMNS]) {
    // Spelled out, because a loop would keep the registers in memory.
    let columns = interleave(interleave(interleave(interleave(*squares))));
    for (n, column) in columns.into_iter().enumerate() {
        let at = &mut out[16 * i + n..];
        store(_mm512_extracti32x4_epi32::<0>(column), &mut at[0]);
        store(_mm512_extracti32x4_epi32::<1>(column), &mut at[128]);
        store(_mm512_extracti32x4_epi32::<2>(column), &mut at[256]);
        store(_mm512_extracti32x4_epi32::<3>(column), &mut at[384]);
    }
}

/// Interleaves the bytes of the first and second half: the highest bit of a register's index and of a byte's index in 16
/// bytes become the lowest of the other.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn interleave<const N: usize>(registers: [__m512i; N]) -> [__m512i; N] {
    std::array::from_fn(|i| {
        let (one, other) = (registers[i / 2], registers[i / 2 + N / 2]);
        if i % 2 == 0 { _mm512_unpacklo_epi8(one, other) } else { _mm512_unpackhi_epi8(one, other) }
    })
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(column: __m128i, out: &mut MaybeUninit<Block>) {
    // SAFETY: a block is 16 bytes; the store needs no alignment.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), column) }
}
