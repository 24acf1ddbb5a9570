//! The sums over a tree's leaf streams, kept in registers. The twin of `PortableLeaves::sum`.
#![allow(unsafe_code)] // Calls into target-feature code.

use std::arch::x86_64::*;

use zeroize::Zeroize;

use super::super::prg::{Row, WIDE};
use super::Avx512;
use super::aes::{RoundKeys, encrypt};

/// Registers of a stream that are in flight together.
const GROUP: usize = 4;

type Part = [__m512i; GROUP];

/// The leaves of a tree in summation order; `punctured` ones lack the first, whose factor is zero.
pub(in super::super) struct WideLeaves {
    pub(in super::super) keys: Vec<RoundKeys>,
    pub(in super::super) punctured: bool,
}

impl Avx512 {
    /// `total` = Σ r_x and `bits[b]` = Σ r_x over the x with bit b, from block `counter` of the streams on.
    pub(in super::super) fn sum(self, leaves: &WideLeaves, counter: u64, bits: &mut [Row], total: &mut Row) {
        // SAFETY: `self` proves the features.
        unsafe {
            match bits.len() {
                1 => sum::<1>(leaves, counter, bits, total),
                2 => sum::<2>(leaves, counter, bits, total),
                4 => sum::<4>(leaves, counter, bits, total),
                _ => sum::<8>(leaves, counter, bits, total),
            }
        }
    }
}

/// The sums of a tree of `DEPTH` levels, a constant so that the small trees need no memory.
#[target_feature(enable = "avx512f,vaes")]
fn sum<const DEPTH: usize>(leaves: &WideLeaves, counter: u64, bits: &mut [Row], total: &mut Row) {
    let mut pending = [[_mm512_setzero_si512(); GROUP]; DEPTH];
    for part in 0..WIDE / 4 / GROUP {
        let counters = counters(counter + (part * 4 * GROUP) as u64);
        *part_of(total, part) = sum_part(leaves, &counters, part, bits, &mut pending);
    }
    if DEPTH > 1 {
        pending.zeroize();
    }
}

#[inline]
#[target_feature(enable = "avx512f,vaes")]
fn sum_part<const DEPTH: usize>(
    leaves: &WideLeaves,
    counters: &Part,
    part: usize,
    bits: &mut [Row],
    pending: &mut [Part; DEPTH],
) -> Part {
    let zero = [_mm512_setzero_si512(); GROUP];
    bits.iter_mut().for_each(|row| *part_of(row, part) = zero);
    let absent = usize::from(leaves.punctured);
    let mut subtree = zero;
    for x in (0..1 << DEPTH).step_by(2) {
        let mut odd = *counters;
        subtree = zero;
        if x >= absent {
            subtree = *counters;
            encrypt(&leaves.keys[x - absent], &mut subtree);
        }
        encrypt(&leaves.keys[x + 1 - absent], &mut odd);
        add(part_of(&mut bits[0], part), &odd);
        add(&mut subtree, &odd);
        // Subtrees are merged as in a binary counter: two XORs a leaf, whatever the depth.
        let mut level = 1;
        while x >> level & 1 == 1 {
            add(part_of(&mut bits[level], part), &subtree);
            add(&mut subtree, &pending[level]);
            level += 1;
        }
        if level < DEPTH {
            pending[level] = subtree;
        }
    }
    subtree
}

#[inline]
fn part_of(row: &mut Row, part: usize) -> &mut Part {
    &mut row.registers_mut().as_chunks_mut::<GROUP>().0[part]
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
