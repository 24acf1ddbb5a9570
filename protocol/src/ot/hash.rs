//! The correlation-robust hash that turns correlated OTs into pads.
//!
//! TMMO of Guo, Katz, Wang and Yu, "Efficient and Secure Multiparty Computation from Fixed-Key Block Ciphers" (S&P 2020):
//! `H(x, i) = π(π(x) ^ i) ^ π(x)`, tweakable circular correlation robust for an ideal permutation π. π is AES under
//! a public key drawn from the session, so that no precomputation serves two sessions.

use zeroize::{Zeroize, Zeroizing};

use super::permutation::Permutation;
use super::{Block, Secrets};

/// One input of [`OtHash::expand`]: `blocks` pads H(x, tweak), H(x, tweak + 1), ... without an overflow of the tweak's low half.
#[derive(Clone, Copy, Zeroize)]
pub(super) struct HashInput {
    pub(super) x: Block,
    pub(super) tweak: Block,
    pub(super) blocks: usize,
}

/// Blocks that an input has on average from which on each is worked on by itself.
const LONG: usize = 4;

/// The tweak of the random OT with this serial number: each has 2^64 of its own, none is shared in a direction.
pub(super) fn tweak(serial: u64) -> Block {
    Block::from(serial) << 64
}

/// The hash of one direction of one session, with its scratch space.
pub(super) struct OtHash {
    permutation: Permutation,
    inner: Secrets,
    outer: Secrets,
}

impl OtHash {
    pub(super) fn new(key: [u8; 16]) -> Self {
        Self { permutation: Permutation::new(key), inner: Zeroizing::default(), outer: Zeroizing::default() }
    }

    /// Replaces `pads` by the pads of all inputs in order, two words a block. Fast from about 32 blocks on.
    pub(super) fn expand(&mut self, inputs: &[HashInput], pads: &mut Vec<u64>) {
        let total: usize = inputs.iter().map(|input| input.blocks).sum();
        resize(&mut self.inner, inputs.len());
        pads.resize(2 * total, 0);
        self.inner.iter_mut().zip(inputs).for_each(|(inner, input)| *inner = input.x);
        self.permutation.encrypt(&mut self.inner);
        if total < LONG * inputs.len() {
            return self.expand_short(inputs, pads);
        }
        let mut rest = pads.as_mut_slice();
        for (input, inner) in inputs.iter().zip(self.inner.iter()) {
            let (pad, after) = rest.split_at_mut(2 * input.blocks);
            self.permutation.long_pad(*inner, input.tweak, pad);
            rest = after;
        }
    }

    /// The blocks of all inputs together, however few each has.
    fn expand_short(&mut self, inputs: &[HashInput], pads: &mut [u64]) {
        resize(&mut self.outer, pads.len() / 2);
        let (mut outer, mut words) = (self.outer.as_mut_slice(), pads.as_chunks_mut::<2>().0);
        if inputs.iter().all(|input| input.blocks == 1) {
            let inputs = inputs.iter().zip(self.inner.iter());
            for ((input, inner), (outer, sum)) in inputs.zip(outer.iter_mut().zip(words)) {
                *outer = inner ^ input.tweak;
                *sum = words_of(*inner);
            }
            return self.permutation.xor_encrypted(&self.outer, pads);
        }
        for (input, &inner) in inputs.iter().zip(self.inner.iter()) {
            let (own, outer_rest) = outer.split_at_mut(input.blocks);
            let (sums, words_rest) = words.split_at_mut(input.blocks);
            for (i, (outer, sum)) in own.iter_mut().zip(sums).enumerate() {
                *outer = inner ^ (input.tweak + i as Block);
                *sum = words_of(inner);
            }
            (outer, words) = (outer_rest, words_rest);
        }
        self.permutation.xor_encrypted(&self.outer, pads);
    }

    /// Sets `keys[j]` to H(xs\[j\] ^ `offset`, tweak) of the OT with the serial number `first_serial` + j, for slices of one
    /// length.
    pub(super) fn keys(&self, xs: &[Block], offset: Block, first_serial: u64, keys: &mut [Block]) {
        self.permutation.hash(xs, offset, first_serial, keys);
    }

    /// H(x, tweak) of every pair.
    pub(super) fn blocks(&mut self, inputs: impl Iterator<Item = (Block, Block)>) -> Secrets {
        let (xs, tweaks): (Vec<Block>, Vec<Block>) = inputs.unzip();
        let (mut inner, tweaks) = (Zeroizing::new(xs), Zeroizing::new(tweaks));
        self.permutation.encrypt(&mut inner);
        let mut pads = Zeroizing::new(Vec::with_capacity(inner.len()));
        pads.extend(inner.iter().zip(tweaks.iter()).map(|(inner, tweak)| inner ^ tweak));
        self.permutation.encrypt(&mut pads);
        pads.iter_mut().zip(inner.iter()).for_each(|(pad, inner)| *pad ^= inner);
        pads
    }
}

fn words_of(block: Block) -> [u64; 2] {
    [block as u64, (block >> 64) as u64]
}

/// Sets the length; memory that is given up is wiped, which resizing a `Vec` would not do.
fn resize(scratch: &mut Secrets, len: usize) {
    if scratch.capacity() < len {
        *scratch = Zeroizing::new(vec![0; len.next_power_of_two()]);
    }
    scratch.resize(len, 0);
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
    use aes::Aes128Enc;
    use aes::cipher::{BlockCipherEncrypt, KeyInit};

    use super::*;
    use crate::ot::prg::block_of;
    use crate::ring::mask;

    #[test]
    fn keys_and_blocks_are_one_block_expansions() {
        let mut hash = OtHash::new([3; 16]);
        let xs: Vec<Block> = (0..75).map(|i| 5 << i).collect();
        let inputs: Vec<HashInput> =
            (0..75).map(|i| HashInput { x: xs[i] ^ 9, tweak: tweak(40 + i as u64), blocks: 1 }).collect();
        let mut words = Vec::new();
        hash.expand(&inputs, &mut words);
        let expected: Vec<Block> =
            words.chunks(2).map(|pair| Block::from(pair[0]) | Block::from(pair[1]) << 64).collect();
        let mut keys = vec![0; xs.len()];
        hash.keys(&xs, 9, 40, &mut keys);
        assert_eq!(keys, expected);
        assert_eq!(*hash.blocks(inputs.iter().map(|input| (input.x, input.tweak))), expected);
    }

    #[test]
    fn expansion_equals_the_definition() {
        let mut hash = OtHash::new([7; 16]);
        let inputs: Vec<HashInput> =
            (0..75).map(|i| HashInput { x: 3 << i, tweak: tweak(i), blocks: i as usize }).collect();
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
        hash.expand_short(&inputs, &mut pads);
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
