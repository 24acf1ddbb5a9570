//! The correlation-robust hash that turns correlated OTs into pads.
//!
//! TMMO of Guo, Katz, Wang and Yu, "Efficient and Secure Multiparty Computation from Fixed-Key Block Ciphers" (S&P 2020):
//! `H(x, i) = π(π(x) ^ i) ^ π(x)`, tweakable circular correlation robust for an ideal permutation π. π is AES under
//! a public key drawn from the session, so that no precomputation serves two sessions.

use aes::Aes128Enc;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use zeroize::{Zeroize, Zeroizing};

use super::Block;
use super::prg::block_of;

/// One input of [`OtHash::expand`]: `blocks` pads H(x, tweak), H(x, tweak + 1), ...
#[derive(Clone, Copy, Zeroize)]
pub(super) struct HashInput {
    pub(super) x: Block,
    pub(super) tweak: Block,
    pub(super) blocks: usize,
}

/// The tweak of the random OT with this serial number: each has 2^64 of its own, none is shared in a direction.
pub(super) fn tweak(serial: u64) -> Block {
    Block::from(serial) << 64
}

/// The hash of one direction of one session, with its scratch space.
pub(super) struct OtHash {
    permutation: Aes128Enc,
    inner: Vec<aes::Block>,
    outer: Vec<aes::Block>,
}

impl OtHash {
    pub(super) fn new(key: [u8; 16]) -> Self {
        Self { permutation: Aes128Enc::new(&key.into()), inner: Vec::new(), outer: Vec::new() }
    }

    /// Replaces `pads` by the pads of all inputs in order, two words a block. Fast from about 64 blocks on.
    pub(super) fn expand(&mut self, inputs: &[HashInput], pads: &mut Vec<u64>) {
        self.inner.clear();
        self.inner.extend(inputs.iter().map(|input| aes::Block::from(input.x.to_le_bytes())));
        self.permutation.encrypt_blocks(&mut self.inner);
        self.outer.clear();
        for (input, inner) in inputs.iter().zip(&self.inner) {
            let inner = block_of(inner);
            let tweaked = |i| aes::Block::from((inner ^ (input.tweak + i as Block)).to_le_bytes());
            self.outer.extend((0..input.blocks).map(tweaked));
        }
        self.permutation.encrypt_blocks(&mut self.outer);
        pads.clear();
        let mut outer = self.outer.iter();
        for (input, inner) in inputs.iter().zip(&self.inner) {
            let inner = block_of(inner);
            for block in outer.by_ref().take(input.blocks) {
                let pad = block_of(block) ^ inner;
                pads.extend([pad as u64, (pad >> 64) as u64]);
            }
        }
    }

    /// H(x, tweak) of every pair.
    pub(super) fn blocks(&mut self, inputs: impl Iterator<Item = (Block, Block)>) -> Zeroizing<Vec<Block>> {
        let inputs: Vec<HashInput> = inputs.map(|(x, tweak)| HashInput { x, tweak, blocks: 1 }).collect();
        let inputs = Zeroizing::new(inputs);
        let mut words = Zeroizing::new(Vec::with_capacity(2 * inputs.len()));
        self.expand(&inputs, &mut words);
        Zeroizing::new(
            words.chunks_exact(2).map(|pair| Block::from(pair[0]) | Block::from(pair[1]) << 64).collect(),
        )
    }
}

impl Drop for OtHash {
    fn drop(&mut self) {
        for scratch in [&mut self.inner, &mut self.outer] {
            // Earlier, longer batches may have left something behind the current length.
            scratch.resize(scratch.capacity(), aes::Block::default());
            scratch.iter_mut().for_each(|block| block.0.zeroize());
        }
    }
}

/// The bits of pad that a lane of a `bits`-bit ring takes: whole 8, 16, 32 or 64, so that reading it needs no bit shifts.
fn lane_bits(bits: u32) -> usize {
    (bits as usize).next_power_of_two().max(8)
}

/// The pad blocks of an OT with `lanes` elements of `bits` bits.
pub(super) fn pad_blocks(lanes: usize, bits: u32) -> usize {
    (lanes * lane_bits(bits)).div_ceil(128)
}

/// Cuts pads into ring elements (not reduced: bits over the ring's width are random).
pub(super) fn pad_lanes(pads: &[u64], bits: u32, lanes: &mut [u64]) {
    match lane_bits(bits) {
        8 => cut::<8>(pads, lanes),
        16 => cut::<4>(pads, lanes),
        32 => cut::<2>(pads, lanes),
        _ => lanes.copy_from_slice(&pads[..lanes.len()]),
    }
}

/// Cuts each word into `EACH` lanes.
fn cut<const EACH: usize>(pads: &[u64], lanes: &mut [u64]) {
    let (whole, rest) = lanes.as_chunks_mut::<EACH>();
    let last = &pads[whole.len()..];
    for (lanes, word) in whole.iter_mut().zip(pads) {
        *lanes = std::array::from_fn(|i| word >> (i * 64 / EACH));
    }
    for (i, lane) in rest.iter_mut().enumerate() {
        *lane = last[0] >> (i * 64 / EACH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::mask;

    #[test]
    fn expansion_equals_the_definition() {
        let mut hash = OtHash::new([7; 16]);
        let inputs: Vec<HashInput> =
            (0..9).map(|i| HashInput { x: 3 << i, tweak: tweak(i), blocks: i as usize }).collect();
        let mut pads = Vec::new();
        hash.expand(&inputs, &mut pads);
        let permute = |x: Block| {
            let mut block = aes::Block::from(x.to_le_bytes());
            Aes128Enc::new(&[7; 16].into()).encrypt_block(&mut block);
            block_of(&block)
        };
        let expected: Vec<u64> = inputs
            .iter()
            .flat_map(|input| (0..input.blocks as Block).map(move |i| (input.x, input.tweak + i)))
            .map(|(x, tweak)| permute(permute(x) ^ tweak) ^ permute(x))
            .flat_map(|pad| [pad as u64, (pad >> 64) as u64])
            .collect();
        assert_eq!(pads, expected);
    }

    #[test]
    fn every_lane_reads_bits_of_its_own() {
        let words: Vec<u64> = (1..=140u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        for bits in 1..=64 {
            for lanes in [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 70] {
                let pads = &words[..2 * pad_blocks(lanes, bits)];
                let mut cut = vec![0; lanes];
                pad_lanes(pads, bits, &mut cut);
                for (i, lane) in cut.into_iter().enumerate() {
                    let start = i * lane_bits(bits);
                    let expected = pads[start / 64] >> (start % 64);
                    assert_eq!(mask(bits) & lane, mask(bits) & expected, "lane {i} of {bits} bits");
                    assert!(start % 64 + bits as usize <= 64 && bits as usize <= lane_bits(bits));
                }
            }
        }
    }
}
