//! AES under a public key, as the fixed permutation of a hash.

use aes::Aes128Enc;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use zeroize::{Zeroize, Zeroizing};

use super::Block;
use super::hash::tweak;
#[cfg(target_arch = "x86_64")]
use super::kernels::{Avx512, RoundKeys};
use super::prg::block_of;

/// Calls with fewer blocks than this leave the wide units of the portable cipher idle.
const GROUP: usize = 64;

/// The permutation, for the processor that runs this.
pub(super) enum Permutation {
    /// For any processor.
    Portable(Aes128Enc),
    /// For those with AVX-512.
    #[cfg(target_arch = "x86_64")]
    Wide(Avx512, RoundKeys),
}

impl Permutation {
    pub(super) fn new(key: [u8; 16]) -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(simd) = Avx512::detect() {
            return Self::Wide(simd, simd.round_keys(Block::from_le_bytes(key)));
        }
        Self::portable(key)
    }

    fn portable(key: [u8; 16]) -> Self {
        Self::Portable(Aes128Enc::new(&key.into()))
    }

    /// Encrypts every block in place.
    pub(super) fn encrypt(&self, blocks: &mut [Block]) {
        match self {
            Self::Portable(cipher) => {
                let mut group = [aes::Block::default(); GROUP];
                for blocks in blocks.chunks_mut(GROUP) {
                    let group = &mut group[..blocks.len()];
                    group
                        .iter_mut()
                        .zip(&*blocks)
                        .for_each(|(bytes, block)| *bytes = block.to_le_bytes().into());
                    cipher.encrypt_blocks(group);
                    blocks.iter_mut().zip(group).for_each(|(block, bytes)| *block = block_of(bytes));
                }
                group.iter_mut().for_each(|block| block.0.zeroize());
            }
            #[cfg(target_arch = "x86_64")]
            Self::Wide(simd, keys) => simd.encrypt(keys, blocks),
        }
    }

    /// XORs the encryption of every block of `inputs` to `out`, two words each.
    pub(super) fn xor_encrypted(&self, inputs: &[Block], out: &mut [u64]) {
        match self {
            Self::Portable(_) => {
                let mut group = Zeroizing::new([0; GROUP]);
                for (inputs, out) in inputs.chunks(GROUP).zip(out.chunks_mut(2 * GROUP)) {
                    let group = &mut group[..inputs.len()];
                    group.copy_from_slice(inputs);
                    self.encrypt(group);
                    for (words, block) in out.as_chunks_mut::<2>().0.iter_mut().zip(group) {
                        words[0] ^= *block as u64;
                        words[1] ^= (*block >> 64) as u64;
                    }
                }
            }
            #[cfg(target_arch = "x86_64")]
            Self::Wide(simd, keys) => simd.xor_encrypted(keys, inputs, out),
        }
    }

    /// Fills `pad` (two words a block) with `π(inner ^ (tweak + i)) ^ inner`. The low half of the tweak must not overflow.
    pub(super) fn long_pad(&self, inner: Block, tweak: Block, pad: &mut [u64]) {
        match self {
            Self::Portable(_) => {
                let mut group = Zeroizing::new([0; GROUP]);
                for (start, pad) in (0..).step_by(GROUP).zip(pad.chunks_mut(2 * GROUP)) {
                    let outer = &mut group[..pad.len() / 2];
                    let tweaks = tweak + start..;
                    outer.iter_mut().zip(tweaks).for_each(|(outer, tweak)| *outer = inner ^ tweak);
                    self.encrypt(outer);
                    for (words, block) in pad.as_chunks_mut::<2>().0.iter_mut().zip(outer) {
                        let pad = *block ^ inner;
                        *words = [pad as u64, (pad >> 64) as u64];
                    }
                }
            }
            #[cfg(target_arch = "x86_64")]
            Self::Wide(simd, keys) => simd.pad(keys, inner, tweak, pad),
        }
    }

    /// Sets every block of `out` to TMMO's H(x ^ `offset`, tweak) of the `xs`, with the tweaks of consecutive serial numbers.
    pub(super) fn hash(&self, xs: &[Block], offset: Block, first_serial: u64, out: &mut [Block]) {
        match self {
            Self::Portable(_) => {
                let blocks = out;
                blocks.iter_mut().zip(xs).for_each(|(block, x)| *block = x ^ offset);
                self.encrypt(blocks);
                let inner = Zeroizing::new(blocks.to_vec());
                blocks.iter_mut().zip(first_serial..).for_each(|(block, serial)| *block ^= tweak(serial));
                self.encrypt(blocks);
                blocks.iter_mut().zip(inner.iter()).for_each(|(block, inner)| *block ^= inner);
            }
            #[cfg(target_arch = "x86_64")]
            Self::Wide(simd, keys) => simd.hash(keys, (xs, offset), first_serial, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_chosen_kernels_equal_the_portable_ones(
            key: [u8; 16],
            offset: u128,
            serial in 0..u64::MAX / 2,
            blocks in proptest::collection::vec(any::<u128>(), 0..150),
        ) {
            let run = |permutation: Permutation| {
                let (mut encrypted, mut hashed) = (blocks.clone(), vec![1; blocks.len()]);
                let mut words: Vec<u64> = (0..2 * blocks.len() as u64).collect();
                permutation.encrypt(&mut encrypted);
                permutation.hash(&blocks, offset, serial, &mut hashed);
                permutation.xor_encrypted(&blocks, &mut words);
                let mut pad = words.clone();
                permutation.long_pad(offset, tweak(serial), &mut pad);
                (encrypted, hashed, words, pad)
            };
            prop_assert_eq!(run(Permutation::new(key)), run(Permutation::portable(key)));
        }
    }
}
