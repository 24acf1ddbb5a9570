//! AES-128 in counter mode, from 128-bit seeds.

use aes::Aes128Enc;
use aes::cipher::{BlockCipherEncrypt, KeyInit};

use zeroize::Zeroize;

use super::Block;
#[cfg(target_arch = "x86_64")]
use super::kernels::Avx512;

/// Blocks of a stream that are made at once: enough to fill the wide AES units, and few enough for 128 rows of them to stay in
/// the second-level cache.
pub(super) const WIDE: usize = 32;

/// A stretch of a stream, or a sum of several: one bit for each of 128 * [`WIDE`] OTs.
#[derive(Clone, Copy, Zeroize)]
#[repr(C, align(64))]
pub(super) struct Row(pub(super) [Block; WIDE]);

impl Row {
    pub(super) const ZERO: Self = Self([0; WIDE]);

    /// XORs `row` to this one.
    pub(super) fn add(&mut self, row: &Self) {
        self.0.iter_mut().zip(&row.0).for_each(|(sum, block)| *sum ^= block);
    }

    /// XORs the blocks of `bytes` that `mask` keeps to the first blocks of the row.
    pub(super) fn fold(&mut self, bytes: &[[u8; 16]], mask: Block) {
        #[cfg(target_arch = "x86_64")]
        if let (Some(simd), Ok(bytes)) = (Avx512::detect(), bytes.try_into()) {
            return simd.fold(self, bytes, mask);
        }
        self.portable_fold(bytes, mask);
    }

    fn portable_fold(&mut self, bytes: &[[u8; 16]], mask: Block) {
        for (block, bytes) in self.0.iter_mut().zip(bytes) {
            *block ^= Block::from_le_bytes(*bytes) & mask;
        }
    }

    /// Writes the first blocks of this row XOR `other`.
    pub(super) fn write_sum(&self, other: &Self, bytes: &mut [[u8; 16]]) {
        #[cfg(target_arch = "x86_64")]
        if let (Some(simd), Ok(bytes)) = (Avx512::detect(), (&mut *bytes).try_into()) {
            return simd.write_sum([self, other], bytes);
        }
        self.portable_write_sum(other, bytes);
    }

    fn portable_write_sum(&self, other: &Self, bytes: &mut [[u8; 16]]) {
        for (bytes, (one, other)) in bytes.iter_mut().zip(self.0.iter().zip(&other.0)) {
            *bytes = (one ^ other).to_le_bytes();
        }
    }
}

/// The keystream of one secret seed.
pub(super) struct Prg(Aes128Enc);

impl Prg {
    pub(super) fn new(seed: Block) -> Self {
        Self(Aes128Enc::new(&seed.to_le_bytes().into()))
    }

    /// Encrypts `counters` (see [`fill_counters`]) to `out`, which is at most as long.
    pub(super) fn blocks(&self, counters: &[aes::Block], out: &mut [aes::Block]) {
        self.0.encrypt_blocks_b2b(&counters[..out.len()], out).expect("two slices cut to one length");
    }
}

/// The counter blocks `first`, `first` + 1, ...
pub(super) fn fill_counters(first: u64, out: &mut [aes::Block]) {
    for (counter, block) in (u128::from(first)..).zip(out) {
        *block = counter.to_le_bytes().into();
    }
}

/// The two children of a node of a GGM tree: the first two blocks of its stream.
pub(super) fn double(seed: Block) -> [Block; 2] {
    let mut children = [0u128.to_le_bytes().into(), 1u128.to_le_bytes().into()];
    Prg::new(seed).0.encrypt_blocks(&mut children);
    children.map(|child| block_of(&child))
}

pub(super) fn block_of(bytes: &aes::Block) -> Block {
    Block::from_le_bytes((*bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_every_length_are_folded_and_written_as_by_the_portable_code() {
        let word = |i: usize| (i as Block + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        let [one, other] = [0, WIDE].map(|start| Row(std::array::from_fn(|i| word(start + i))));
        for len in 0..=WIDE {
            let (mut ours, mut expected) = (vec![[1; 16]; len], vec![[2; 16]; len]);
            one.write_sum(&other, &mut ours);
            one.portable_write_sum(&other, &mut expected);
            assert_eq!(ours, expected);
            for mask in [0, Block::MAX, 0x55 << 60] {
                let (mut ours, mut expected) = (one, one);
                ours.fold(&bytes_of(&other, len), mask);
                expected.portable_fold(&bytes_of(&other, len), mask);
                assert_eq!(ours.0, expected.0);
            }
        }
    }

    fn bytes_of(row: &Row, len: usize) -> Vec<[u8; 16]> {
        row.0[..len].iter().map(|block| block.to_le_bytes()).collect()
    }
}
