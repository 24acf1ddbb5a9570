//! Correlated trees (Half-Tree, Guo et al., EUROCRYPT 2023, eprint 2022/1431, §4.1): the nodes of every level add up to delta.
//!
//! A node x has the children H(x) and x ^ H(x). The owner sends, for every level, the sum of the left nodes under the q of a random
//! OT. A receiver with choice r and t = q ^ r * delta learns the sum of the side r, so its path goes the other
//! way: it needs no message of its own. At the first level that sum is a node, which is q itself here, and nothing
//! is sent. At the last level all leaves but the receiver's add up to its own ^ delta.
//!
//! H(x) = π(σ(x)) ^ σ(x) with σ a linear orthomorphism and π AES under a public key of the session: circular correlation
//! robust for an ideal permutation (Guo, Katz, Wang and Yu, S&P 2020, §7.3).
//!
//! Level i puts left children before right ones, so bit i of a leaf's index is its path's step at level i.

use aes::Aes128Enc;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use zeroize::Zeroize;

use super::super::prg::{WIDE, block_of};
use super::Block;

/// The hash of one direction's trees.
pub(super) struct TreeHash(Aes128Enc);

impl TreeHash {
    pub(super) fn new(session: &[u8; 32]) -> Self {
        Self(Aes128Enc::new(&public_key("eqo Ferret tree key, version 1", session).into()))
    }

    /// The owner's tree from the q of its OTs, one for each level. Leaves have their lowest bit cleared.
    pub(super) fn grow(
        &self,
        delta: Block,
        seeds: &[Block],
        corrections: &mut [[u8; 16]],
        leaves: &mut [Block],
    ) {
        (leaves[0], leaves[1]) = (seeds[0], seeds[0] ^ delta);
        for (level, (seed, correction)) in (1..).zip(seeds[1..].iter().zip(corrections)) {
            let (left, right) = leaves[..2 << level].split_at_mut(1 << level);
            let [sum, _] = self.expand(left, right);
            *correction = (sum ^ seed).to_le_bytes();
        }
        leaves.iter_mut().for_each(|leaf| *leaf &= !1);
    }

    /// The peer's tree from the t of its OTs: the owner's leaves but for one, which differs by delta. That one's lowest
    /// bit is set, all others' are cleared.
    pub(super) fn grow_punctured(&self, seeds: &[Block], corrections: &[[u8; 16]], leaves: &mut [Block]) {
        let choice = |seed: Block| (seed & 1) as usize;
        let mut unknown = 1 - choice(seeds[0]);
        (leaves[unknown], leaves[1 - unknown]) = (0, seeds[0]);
        let mut known = seeds[0];
        for (level, (seed, correction)) in (1..).zip(seeds[1..].iter().zip(corrections)) {
            let (left, right) = leaves[..2 << level].split_at_mut(1 << level);
            let sums = self.expand(left, right);
            let side = choice(*seed);
            // Both children of the unknown node came out as the same garbage.
            let garbage = left[unknown];
            let target = seed ^ Block::from_le_bytes(*correction);
            let sibling = target ^ sums[side] ^ garbage;
            known = target ^ sums[1 - side] ^ garbage;
            (left[unknown], right[unknown]) = if side == 0 { (sibling, 0) } else { (0, sibling) };
            unknown += (1 - side) << level;
        }
        leaves[unknown] = known;
        leaves.iter_mut().for_each(|leaf| *leaf &= !1);
        leaves[unknown] |= 1;
    }

    /// Replaces `nodes` by their left children and fills `right`; the sums of both.
    fn expand(&self, nodes: &mut [Block], right: &mut [Block]) -> [Block; 2] {
        let mut inputs = [aes::Block::default(); WIDE];
        let mut outputs = [aes::Block::default(); WIDE];
        let mut sums = [0; 2];
        for (nodes, right) in nodes.chunks_mut(WIDE).zip(right.chunks_mut(WIDE)) {
            let (inputs, outputs) = (&mut inputs[..nodes.len()], &mut outputs[..nodes.len()]);
            inputs
                .iter_mut()
                .zip(nodes.iter())
                .for_each(|(input, node)| *input = sigma(*node).to_le_bytes().into());
            self.0.encrypt_blocks_b2b(inputs, outputs).expect("two slices cut to one length");
            for (((node, right), input), output) in nodes.iter_mut().zip(right).zip(&*inputs).zip(&*outputs) {
                let left = block_of(input) ^ block_of(output);
                *right = *node ^ left;
                *node = left;
                sums[0] ^= left;
                sums[1] ^= *right;
            }
        }
        inputs.iter_mut().chain(&mut outputs).for_each(|block| block.0.zeroize());
        sums
    }
}

/// (a, b) → (a ^ b, a), a linear orthomorphism: both it and x → x ^ σ(x) are bijective.
fn sigma(x: Block) -> Block {
    x << 64 ^ (x >> 64 << 64) ^ x >> 64
}

/// A public AES key of one direction of a session.
pub(super) fn public_key(what: &str, session: &[u8; 32]) -> [u8; 16] {
    let mut key = [0; 16];
    blake3::Hasher::new_derive_key(what).update(session).finalize_xof().fill(&mut key);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash() -> TreeHash {
        TreeHash::new(&[3; 32])
    }

    /// Odd delta and even q, as the extension keeps them.
    fn seeds(depth: usize) -> (Block, Vec<Block>) {
        let random = |i: usize| Block::from_le_bytes(public_key("test", &[i as u8; 32]));
        (random(0) | 1, (1..=depth).map(|i| random(i) & !1).collect())
    }

    #[test]
    fn leaves_add_up_to_delta_for_every_depth() {
        for depth in 2..=9 {
            let (delta, seeds) = seeds(depth);
            let mut leaves = vec![0; 1 << depth];
            hash().grow(delta, &seeds, &mut vec![[0; 16]; depth - 1], &mut leaves);
            assert_eq!(leaves.iter().fold(0, |sum, leaf| sum ^ leaf), delta & !1);
        }
    }

    #[test]
    fn the_peer_differs_in_the_one_leaf_that_its_choices_avoid_for_every_choice() {
        for depth in 2..=9 {
            let (delta, q) = seeds(depth);
            let (mut leaves, mut theirs) = (vec![0; 1 << depth], vec![0; 1 << depth]);
            let mut corrections = vec![[0; 16]; depth - 1];
            hash().grow(delta, &q, &mut corrections, &mut leaves);
            for choices in 0..1usize << depth {
                let t: Vec<Block> = q
                    .iter()
                    .enumerate()
                    .map(|(i, q)| q ^ if choices >> i & 1 == 1 { delta } else { 0 })
                    .collect();
                hash().grow_punctured(&t, &corrections, &mut theirs);
                let punctured = choices ^ ((1 << depth) - 1);
                for (index, (leaf, known)) in leaves.iter().zip(&theirs).enumerate() {
                    assert_eq!(
                        leaf ^ known,
                        if index == punctured { delta } else { 0 },
                        "{choices}, leaf {index}"
                    );
                }
            }
        }
    }

    #[test]
    fn nodes_are_those_of_the_definition() {
        let (delta, q) = seeds(2);
        let h = |x: Block| {
            let mut block = aes::Block::from(sigma(x).to_le_bytes());
            hash().0.encrypt_block(&mut block);
            block_of(&block) ^ sigma(x)
        };
        let (zero, one) = (q[0], q[0] ^ delta);
        let mut corrections = [[0; 16]];
        let mut leaves = [0; 4];
        hash().grow(delta, &q, &mut corrections, &mut leaves);
        assert_eq!(leaves, [h(zero), h(one), zero ^ h(zero), one ^ h(one)].map(|leaf| leaf & !1));
        assert_eq!(Block::from_le_bytes(corrections[0]), h(zero) ^ h(one) ^ q[1]);
    }

    #[test]
    fn sigma_is_a_linear_orthomorphism() {
        let images = |f: fn(Block) -> Block| {
            // Rank of the images of the unit vectors.
            let mut rows: Vec<Block> = (0..128).map(|bit| f(1 << bit)).collect();
            let mut rank = 0;
            for bit in 0..128 {
                let Some(pivot) = (rank..128).find(|&row| rows[row] >> bit & 1 == 1) else { continue };
                rows.swap(rank, pivot);
                let pivot = rows[rank];
                rows[rank + 1..].iter_mut().filter(|row| **row >> bit & 1 == 1).for_each(|row| *row ^= pivot);
                rank += 1;
            }
            rank
        };
        assert_eq!((images(sigma), images(|x| x ^ sigma(x))), (128, 128));
    }
}
