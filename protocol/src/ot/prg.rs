//! AES-128 in counter mode, from 128-bit seeds.

use aes::Aes128Enc;
use aes::cipher::{BlockCipherEncrypt, KeyInit};

use zeroize::Zeroize;

use super::Block;

/// Blocks of a stream that are made at once: enough to fill the wide AES units, and few enough for 128 rows of them to stay in
/// the second-level cache.
pub(super) const WIDE: usize = 32;

/// A stretch of a stream, or a sum of several: one bit for each of 128 * [`WIDE`] OTs.
#[derive(Clone, Copy, Zeroize)]
#[repr(C, align(64))]
pub(super) struct Row(pub(super) [Block; WIDE]);

impl Row {
    pub(super) const ZERO: Self = Self([0; WIDE]);
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
