//! Rows of the extension matrix as registers. The twins are `Row::portable_fold` and `Row::portable_write_sum`.
#![allow(unsafe_code)] // Calls into target-feature code, and views of rows as registers.

use std::arch::x86_64::*;

use super::super::Block;
use super::super::prg::{Row, WIDE};
use super::Avx512;
use super::aes::broadcast;

impl Row {
    pub(super) fn registers(&self) -> &[__m512i; WIDE / 4] {
        // SAFETY: a row has the size and alignment of that many registers, and any bits are valid in either.
        unsafe { &*(&raw const *self).cast() }
    }

    pub(super) fn registers_mut(&mut self) -> &mut [__m512i; WIDE / 4] {
        // SAFETY: as above.
        unsafe { &mut *(&raw mut *self).cast() }
    }
}

impl Avx512 {
    /// XORs what `mask` keeps of `bytes` to the row.
    pub(in super::super) fn fold(self, row: &mut Row, bytes: &[[u8; 16]; WIDE], mask: Block) {
        // SAFETY: `self` proves the features.
        unsafe { fold(row, bytes, mask) }
    }

    /// Writes the sum of both rows.
    pub(in super::super) fn write_sum(self, rows: [&Row; 2], bytes: &mut [[u8; 16]; WIDE]) {
        // SAFETY: `self` proves the features.
        unsafe { write_sum(rows, bytes) }
    }
}

#[target_feature(enable = "avx512f")]
fn fold(row: &mut Row, bytes: &[[u8; 16]; WIDE], mask: Block) {
    let mask = broadcast(mask);
    for (sum, bytes) in row.registers_mut().iter_mut().zip(bytes.as_chunks::<4>().0) {
        // SAFETY: four times 16 bytes; the load needs no alignment.
        let bytes = unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) };
        *sum = _mm512_xor_si512(*sum, _mm512_and_si512(bytes, mask));
    }
}

#[target_feature(enable = "avx512f")]
fn write_sum([one, other]: [&Row; 2], bytes: &mut [[u8; 16]; WIDE]) {
    let registers = one.registers().iter().zip(other.registers());
    for ((one, other), bytes) in registers.zip(bytes.as_chunks_mut::<4>().0) {
        // SAFETY: four times 16 bytes; the store needs no alignment.
        unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), _mm512_xor_si512(*one, *other)) };
    }
}
