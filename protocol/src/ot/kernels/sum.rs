//! The sums over a tree's leaf streams, kept in registers. The twin of `softspoken::sum`.
#![allow(unsafe_code)] // Calls into target-feature code, and views of rows as registers.

use std::arch::x86_64::*;

use zeroize::Zeroize;

use super::super::prg::{Row, WIDE};
use super::Avx512;
use super::aes::{RoundKeys, encrypt};

/// Registers of a stream that are in flight together.
const GROUP: usize = 4;

/// Subtree heights of the deepest tree, and its root.
const MAX_DEPTH: usize = 8 + 1;

type Part = [__m512i; GROUP];

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

/// The leaves of a tree in summation order; `punctured` ones lack the first, whose factor is zero.
pub(in super::super) struct WideLeaves {
    pub(in super::super) keys: Vec<RoundKeys>,
    pub(in super::super) punctured: bool,
}

impl Avx512 {
    /// `total` = Σ r_x and `bits[b]` = Σ r_x over the x with bit b, from block `counter` of the streams on.
    pub(in super::super) fn sum(self, leaves: &WideLeaves, counter: u64, bits: &mut [Row], total: &mut Row) {
        for part in 0..WIDE / 4 / GROUP {
            // SAFETY: `self` proves the features.
            unsafe { sum(leaves, counter, part, bits, total) }
        }
    }
}

#[target_feature(enable = "avx512f,vaes")]
fn sum(leaves: &WideLeaves, counter: u64, part: usize, bits: &mut [Row], total: &mut Row) {
    let zero = [_mm512_setzero_si512(); GROUP];
    let counters = counters(counter + (part * 4 * GROUP) as u64);
    let mut pending = [zero; MAX_DEPTH];
    let mut sums = [zero; MAX_DEPTH];
    let mut subtree = zero;
    let absent = usize::from(leaves.punctured);
    for x in (0..absent + leaves.keys.len()).step_by(2) {
        let (mut even, mut odd) = (zero, counters);
        if x >= absent {
            even = counters;
            encrypt(&leaves.keys[x - absent], &mut even);
        }
        encrypt(&leaves.keys[x + 1 - absent], &mut odd);
        add(&mut sums[0], &odd);
        subtree = even;
        add(&mut subtree, &odd);
        // Subtrees are merged as in a binary counter: two XORs a leaf, whatever the depth.
        let mut level = 1;
        while x >> level & 1 == 1 {
            add(&mut sums[level], &subtree);
            add(&mut subtree, &pending[level]);
            level += 1;
        }
        pending[level] = subtree;
    }
    for (row, sum) in bits.iter_mut().zip(&sums) {
        row.registers_mut()[part * GROUP..][..GROUP].copy_from_slice(sum);
    }
    total.registers_mut()[part * GROUP..][..GROUP].copy_from_slice(&subtree);
    pending.zeroize();
    sums.zeroize();
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add(sum: &mut Part, part: &Part) {
    sum.iter_mut().zip(part).for_each(|(sum, part)| *sum = _mm512_xor_si512(*sum, *part));
}

/// The counter blocks from `first` on.
#[inline]
#[target_feature(enable = "avx512f")]
fn counters(first: u64) -> Part {
    std::array::from_fn(|i| {
        let start = _mm512_set_epi64(0, 3, 0, 2, 0, 1, 0, 0);
        let first = (first + 4 * i as u64) as i64;
        _mm512_add_epi64(start, _mm512_set_epi64(0, first, 0, first, 0, first, 0, first))
    })
}
