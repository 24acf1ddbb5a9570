//! Long pads, straight from the counters: `π(inner ^ (tweak + i)) ^ inner`. The twin is the path of `OtHash::expand` for short
//! pads.
#![allow(unsafe_code)] // Calls into target-feature code, and unaligned stores.

use std::arch::x86_64::*;

use zeroize::Zeroize;

use super::super::Block;
use super::Avx512;
use super::aes::{RoundKeys, broadcast, encrypt};

impl Avx512 {
    /// Fills `pad` (two words a block) from the inner value and the first tweak of its input. The low half of the tweak must
    /// not overflow on the way.
    pub(in super::super) fn pad(self, keys: &RoundKeys, inner: Block, tweak: Block, pad: &mut [u64]) {
        // SAFETY: `self` proves the features.
        unsafe { fill(keys, inner, tweak, pad) }
    }
}

#[target_feature(enable = "avx512f,vaes")]
fn fill(keys: &RoundKeys, inner: Block, tweak: Block, pad: &mut [u64]) {
    let inner = broadcast(inner);
    let mut tweak = _mm512_add_epi64(broadcast(tweak), _mm512_set_epi64(0, 3, 0, 2, 0, 1, 0, 0));
    let (registers, rest) = pad.as_chunks_mut::<8>();
    let (eights, registers) = registers.as_chunks_mut::<8>();
    eights.iter_mut().for_each(|out| store(pads(keys, inner, &mut tweak), out));
    let (fours, registers) = registers.as_chunks_mut::<4>();
    fours.iter_mut().for_each(|out| store(pads(keys, inner, &mut tweak), out));
    let (twos, registers) = registers.as_chunks_mut::<2>();
    twos.iter_mut().for_each(|out| store(pads(keys, inner, &mut tweak), out));
    let (ones, _) = registers.as_chunks_mut::<1>();
    ones.iter_mut().for_each(|out| store(pads(keys, inner, &mut tweak), out));
    if !rest.is_empty() {
        let mut last = [[0; 8]];
        store(pads(keys, inner, &mut tweak), &mut last);
        rest.copy_from_slice(&last[0][..rest.len()]);
        last.zeroize();
    }
}

/// The next N registers of pad.
#[inline]
#[target_feature(enable = "avx512f,vaes")]
fn pads<const N: usize>(keys: &RoundKeys, inner: __m512i, tweak: &mut __m512i) -> [__m512i; N] {
    let step = _mm512_set_epi64(0, 4, 0, 4, 0, 4, 0, 4);
    let mut outer = [inner; N];
    for block in &mut outer {
        *block = _mm512_xor_si512(*block, *tweak);
        *tweak = _mm512_add_epi64(*tweak, step);
    }
    encrypt(keys, &mut outer);
    outer.map(|block| _mm512_xor_si512(block, inner))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store<const N: usize>(pads: [__m512i; N], out: &mut [[u64; 8]; N]) {
    for (pad, out) in pads.into_iter().zip(out) {
        // SAFETY: eight words are 64 bytes; the store needs no alignment.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), pad) };
    }
}
