//! AES-128 on 512-bit registers, four blocks each.
#![allow(unsafe_code)] // Calls into target-feature code, and views of blocks as registers.

use std::arch::x86_64::*;

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::super::Block;
use super::super::hash::tweak;
use super::Avx512;

/// Blocks in flight: enough to hide the latency of a round.
const GROUP: usize = 32;

/// The round keys of AES-128.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(in super::super) struct RoundKeys([__m128i; 11]);

impl Avx512 {
    /// The key schedule of `key`.
    pub(in super::super) fn round_keys(self, key: Block) -> RoundKeys {
        // SAFETY: `self` proves the features.
        unsafe { schedule(key) }
    }

    /// Encrypts every block in place.
    pub(in super::super) fn encrypt(self, keys: &RoundKeys, blocks: &mut [Block]) {
        // SAFETY: `self` proves the features.
        in_groups(blocks, |group| unsafe { encrypt_group(keys, group) });
    }

    /// XORs the encryption of every block of `inputs` to `out`, two words each.
    pub(in super::super) fn xor_encrypted(self, keys: &RoundKeys, inputs: &[Block], out: &mut [u64]) {
        let mut inputs = inputs.chunks(GROUP);
        for out in out.chunks_mut(2 * GROUP) {
            let group = inputs.next().unwrap_or_default();
            if let (Ok(group), Ok(out)) = (group.try_into(), (&mut *out).try_into()) {
                // SAFETY: `self` proves the features.
                unsafe { xor_encrypted_group(keys, group, out) };
                continue;
            }
            let (mut padded, mut pads) = ([0; GROUP], [0; 2 * GROUP]);
            padded[..group.len()].copy_from_slice(group);
            pads[..out.len()].copy_from_slice(out);
            // SAFETY: `self` proves the features.
            unsafe { xor_encrypted_group(keys, &padded, &mut pads) };
            out.copy_from_slice(&pads[..out.len()]);
            padded.zeroize();
            pads.zeroize();
        }
    }

    /// Sets every block of `out` to TMMO's H(x ^ offset, tweak), for (xs, offset) and the tweaks of consecutive serial numbers.
    pub(in super::super) fn hash(
        self,
        keys: &RoundKeys,
        (xs, offset): (&[Block], Block),
        first_serial: u64,
        out: &mut [Block],
    ) {
        let mut starts = (first_serial..).step_by(GROUP).map(tweak);
        let mut hash = |xs: &[Block; GROUP], out: &mut [Block; GROUP]| {
            // SAFETY: `self` proves the features.
            unsafe { hash_group(keys, (xs, offset), starts.next().unwrap_or_default(), out) }
        };
        let ((groups, rest), (out, out_rest)) = (xs.as_chunks(), out.as_chunks_mut());
        groups.iter().zip(out).for_each(|(xs, out)| hash(xs, out));
        if !rest.is_empty() {
            let mut padded = [[0; GROUP]; 2];
            let [xs, out] = &mut padded;
            xs[..rest.len()].copy_from_slice(rest);
            hash(xs, out);
            out_rest.copy_from_slice(&out[..out_rest.len()]);
            padded.zeroize();
        }
    }
}

/// Calls `kernel` for every group of blocks; the last one is padded if need be.
fn in_groups(blocks: &mut [Block], kernel: impl Fn(&mut [Block; GROUP])) {
    let (groups, rest) = blocks.as_chunks_mut::<GROUP>();
    groups.iter_mut().for_each(&kernel);
    if !rest.is_empty() {
        let mut padded = [0; GROUP];
        padded[..rest.len()].copy_from_slice(rest);
        kernel(&mut padded);
        rest.copy_from_slice(&padded[..rest.len()]);
        padded.zeroize();
    }
}

#[target_feature(enable = "aes")]
fn schedule(key: Block) -> RoundKeys {
    let mut keys = [_mm_set_epi64x((key >> 64) as i64, key as i64); 11];
    keys[1] = next_key::<0x01>(keys[0]);
    keys[2] = next_key::<0x02>(keys[1]);
    keys[3] = next_key::<0x04>(keys[2]);
    keys[4] = next_key::<0x08>(keys[3]);
    keys[5] = next_key::<0x10>(keys[4]);
    keys[6] = next_key::<0x20>(keys[5]);
    keys[7] = next_key::<0x40>(keys[6]);
    keys[8] = next_key::<0x80>(keys[7]);
    keys[9] = next_key::<0x1b>(keys[8]);
    keys[10] = next_key::<0x36>(keys[9]);
    RoundKeys(keys)
}

/// FIPS 197, §5.2: each word of the next key is the sum of the words up to it, and of the substituted last word.
#[target_feature(enable = "aes")]
fn next_key<const ROUND: i32>(key: __m128i) -> __m128i {
    let substituted = _mm_shuffle_epi32::<0xff>(_mm_aeskeygenassist_si128::<ROUND>(key));
    let pairs = _mm_xor_si128(key, _mm_slli_si128::<4>(key));
    let sums = _mm_xor_si128(pairs, _mm_slli_si128::<8>(pairs));
    _mm_xor_si128(sums, substituted)
}

/// Encrypts four blocks in each register.
#[inline]
#[target_feature(enable = "avx512f,vaes")]
pub(super) fn encrypt<const N: usize>(keys: &RoundKeys, state: &mut [__m512i; N]) {
    let [first, middle @ .., last] = &keys.0;
    let key = _mm512_broadcast_i32x4(*first);
    state.iter_mut().for_each(|block| *block = _mm512_xor_si512(*block, key));
    for key in middle {
        let key = _mm512_broadcast_i32x4(*key);
        for block in state.iter_mut() {
            *block = _mm512_aesenc_epi128(*block, key);
        }
    }
    let key = _mm512_broadcast_i32x4(*last);
    for block in state.iter_mut() {
        *block = _mm512_aesenclast_epi128(*block, key);
    }
}

#[target_feature(enable = "avx512f,vaes")]
fn encrypt_group(keys: &RoundKeys, group: &mut [Block; GROUP]) {
    let mut state = load(group);
    encrypt(keys, &mut state);
    store(&state, group);
}

#[target_feature(enable = "avx512f,vaes")]
fn xor_encrypted_group(keys: &RoundKeys, inputs: &[Block; GROUP], out: &mut [u64; 2 * GROUP]) {
    let mut state = load(inputs);
    encrypt(keys, &mut state);
    for (words, block) in out.as_chunks_mut::<8>().0.iter_mut().zip(state) {
        // SAFETY: eight words are 64 bytes; neither access needs alignment.
        unsafe {
            let old = _mm512_loadu_si512(words.as_ptr().cast());
            _mm512_storeu_si512(words.as_mut_ptr().cast(), _mm512_xor_si512(old, block));
        }
    }
}

#[target_feature(enable = "avx512f,vaes")]
fn hash_group(
    keys: &RoundKeys,
    (xs, offset): (&[Block; GROUP], Block),
    first_tweak: Block,
    out: &mut [Block; GROUP],
) {
    let offset = broadcast(offset);
    let mut inner = load(xs).map(|block| _mm512_xor_si512(block, offset));
    encrypt(keys, &mut inner);
    let mut tweak = _mm512_add_epi64(broadcast(first_tweak), _mm512_set_epi64(3, 0, 2, 0, 1, 0, 0, 0));
    let step = _mm512_set_epi64(4, 0, 4, 0, 4, 0, 4, 0);
    let mut outer = inner;
    for block in &mut outer {
        *block = _mm512_xor_si512(*block, tweak);
        tweak = _mm512_add_epi64(tweak, step);
    }
    encrypt(keys, &mut outer);
    for (outer, inner) in outer.iter_mut().zip(inner) {
        *outer = _mm512_xor_si512(*outer, inner);
    }
    store(&outer, out);
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn broadcast(block: Block) -> __m512i {
    _mm512_broadcast_i32x4(_mm_set_epi64x((block >> 64) as i64, block as i64))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load(blocks: &[Block; GROUP]) -> [__m512i; GROUP / 4] {
    // SAFETY: register i covers blocks 4 * i to 4 * i + 3; the load needs no alignment.
    std::array::from_fn(|i| unsafe { _mm512_loadu_si512(blocks.as_ptr().add(4 * i).cast()) })
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store(registers: &[__m512i; GROUP / 4], blocks: &mut [Block; GROUP]) {
    for (register, blocks) in registers.iter().zip(blocks.as_chunks_mut::<4>().0) {
        // SAFETY: four blocks are 64 bytes; the store needs no alignment.
        unsafe { _mm512_storeu_si512(blocks.as_mut_ptr().cast(), *register) };
    }
}

#[cfg(test)]
mod tests {
    use ::aes::Aes128Enc;
    use ::aes::cipher::{BlockCipherEncrypt, KeyInit};
    use proptest::prelude::*;

    use super::*;

    fn portable(key: Block, block: Block) -> Block {
        let mut bytes = block.to_le_bytes().into();
        Aes128Enc::new(&key.to_le_bytes().into()).encrypt_block(&mut bytes);
        Block::from_le_bytes(bytes.into())
    }

    proptest! {
        #[test]
        fn every_length_is_encrypted_as_by_the_portable_cipher(
            key: u128,
            blocks in proptest::collection::vec(any::<u128>(), 0..100),
        ) {
            let Some(simd) = Avx512::detect() else { return Ok(()) };
            let keys = simd.round_keys(key);
            let mut wide = blocks.clone();
            simd.encrypt(&keys, &mut wide);
            let expected: Vec<Block> = blocks.iter().map(|block| portable(key, *block)).collect();
            prop_assert_eq!(&wide, &expected);
            let mut words: Vec<u64> = (0..2 * blocks.len() as u64).collect();
            simd.xor_encrypted(&keys, &blocks, &mut words);
            for (i, pair) in words.chunks(2).enumerate() {
                prop_assert_eq!(pair[0], expected[i] as u64 ^ (2 * i) as u64);
                prop_assert_eq!(pair[1], (expected[i] >> 64) as u64 ^ (2 * i + 1) as u64);
            }
        }

        #[test]
        fn every_length_is_hashed_as_by_the_definition(
            (key, offset) in any::<(u128, u128)>(),
            serial in 0..u64::MAX / 2,
            blocks in proptest::collection::vec(any::<u128>(), 0..100),
        ) {
            let Some(simd) = Avx512::detect() else { return Ok(()) };
            let mut wide = vec![1; blocks.len()];
            simd.hash(&simd.round_keys(key), (&blocks, offset), serial, &mut wide);
            for (i, (x, pad)) in blocks.iter().zip(wide).enumerate() {
                let inner = portable(key, x ^ offset);
                prop_assert_eq!(pad, portable(key, inner ^ tweak(serial + i as u64)) ^ inner);
            }
        }
    }
}
