//! All-but-one trees: a GGM tree whose owner knows all 2^k leaves and whose peer knows all but the punctured one, which
//! only the peer knows. k base OTs make one (Goldreich, Goldwasser and Micali; as in Roy, CRYPTO 2022).
//!
//! Level 0 is the base OT's pair of keys; every further level costs two blocks: the sums of its left and of its right
//! children, each under one base key.

use zeroize::Zeroizing;

use super::Block;
use super::prg::double;

/// The bytes that the owner of a tree of `depth` sends: two blocks for each level after the first.
pub(super) const fn correction_bytes(depth: usize) -> usize {
    32 * (depth - 1)
}

/// The owner's tree from its `depth` base keys: all leaves in order, and the corrections for the peer.
pub(super) fn grow(keys: &[[Block; 2]]) -> (Zeroizing<Vec<Block>>, Vec<u8>) {
    let mut corrections = Vec::with_capacity(correction_bytes(keys.len()));
    let mut nodes = Zeroizing::new(keys[0].to_vec());
    for pads in &keys[1..] {
        nodes = children(&nodes);
        for (side, pad) in pads.iter().enumerate() {
            let sum = nodes.iter().skip(side).step_by(2).fold(*pad, |sum, node| sum ^ node);
            corrections.extend_from_slice(&sum.to_le_bytes());
        }
    }
    (nodes, corrections)
}

/// The peer's tree: all leaves in order, with zero at `punctured`.
///
/// `keys[level]` is the base key of the side that the path to `punctured` doesn't take at that level (the path's first
/// step is the most significant bit).
pub(super) fn grow_punctured(keys: &[Block], punctured: usize, corrections: &[u8]) -> Zeroizing<Vec<Block>> {
    let depth = keys.len();
    let step = |level: usize| punctured >> (depth - 1 - level) & 1;
    let mut unknown = step(0);
    let mut nodes = Zeroizing::new(vec![0; 2]);
    nodes[1 - unknown] = keys[0];
    for (level, pad) in keys.iter().enumerate().skip(1) {
        nodes = children(&nodes);
        let side = 1 - step(level);
        let (left, right) = (2 * unknown, 2 * unknown + 1);
        (nodes[left], nodes[right]) = (0, 0);
        let sum = nodes.iter().skip(side).step_by(2).fold(*pad, |sum, node| sum ^ node);
        nodes[left + side] = sum ^ correction(corrections, 2 * (level - 1) + side);
        unknown = left + step(level);
    }
    nodes
}

fn children(nodes: &[Block]) -> Zeroizing<Vec<Block>> {
    Zeroizing::new(nodes.iter().copied().flat_map(double).collect())
}

fn correction(bytes: &[u8], index: usize) -> Block {
    let mut block = [0; 16];
    block.copy_from_slice(&bytes[16 * index..16 * (index + 1)]);
    Block::from_le_bytes(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_knows_every_leaf_but_the_punctured_one() {
        for depth in [1, 2, 4, 8] {
            let keys: Vec<[Block; 2]> = (1..=depth as Block).map(|i| [i << 70 | 5, i << 40 | 6]).collect();
            let (leaves, corrections) = grow(&keys);
            assert_eq!((leaves.len(), corrections.len()), (1 << depth, correction_bytes(depth)));
            for punctured in 0..1 << depth {
                let side = |level: usize| 1 - (punctured >> (depth - 1 - level) & 1);
                let known: Vec<Block> = (0..depth).map(|level| keys[level][side(level)]).collect();
                let mut expected = leaves.clone();
                expected[punctured] = 0;
                assert_eq!(grow_punctured(&known, punctured, &corrections), expected);
            }
        }
    }
}
