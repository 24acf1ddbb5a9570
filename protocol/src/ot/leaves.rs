//! The leaf streams of one tree and their weighted sums.

use zeroize::{Zeroize, Zeroizing};

use super::Block;
#[cfg(target_arch = "x86_64")]
use super::kernels::{Avx512, WideLeaves};
use super::prg::{Prg, Row, WIDE, block_of, fill_counters};

/// Subtree heights of the deepest tree, and its root.
const MAX_DEPTH: usize = 8 + 1;

/// The leaves of one tree, in the order in which their streams are summed up.
pub(super) enum Leaves {
    /// For any processor.
    Portable(PortableLeaves),
    /// For those with AVX-512.
    #[cfg(target_arch = "x86_64")]
    Wide(Avx512, WideLeaves),
}

/// The leaves of a tree for any processor; the first of a `punctured` one is absent.
pub(super) struct PortableLeaves {
    streams: Vec<Prg>,
    punctured: bool,
}

impl Leaves {
    /// From seeds in summation order; the peer's `punctured` leaf would be the first and is absent.
    pub(super) fn new(seeds: impl Iterator<Item = Block>, punctured: bool) -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(simd) = Avx512::detect() {
            let keys = seeds.map(|seed| simd.round_keys(seed)).collect();
            return Self::Wide(simd, WideLeaves { keys, punctured });
        }
        Self::Portable(PortableLeaves { streams: seeds.map(Prg::new).collect(), punctured })
    }

    /// `total` = Σ r_x, `bits[b]` = Σ r_x over the x with bit b, from block `counter` of the streams r_x on.
    pub(super) fn sum(&self, counter: u64, bits: &mut [Row], total: &mut Row) {
        match self {
            Self::Portable(leaves) => leaves.sum(counter, bits, total),
            #[cfg(target_arch = "x86_64")]
            Self::Wide(simd, leaves) => simd.sum(leaves, counter, bits, total),
        }
    }
}

impl PortableLeaves {
    /// Subtree sums are merged as in a binary counter: two XORs a leaf, whatever the depth.
    fn sum(&self, counter: u64, bits: &mut [Row], total: &mut Row) {
        let mut counters = [aes::Block::default(); WIDE];
        fill_counters(counter, &mut counters);
        let mut pair = [[aes::Block::default(); WIDE]; 2];
        let mut pending = Zeroizing::new([Row::ZERO; MAX_DEPTH]);
        bits.fill(Row::ZERO);
        let absent = usize::from(self.punctured);
        for x in (0..absent + self.streams.len()).step_by(2) {
            for (x, stream) in (x..).zip(&mut pair) {
                // The absent leaf has the factor zero, so its stream may be zero: what `pair` starts with.
                if x >= absent {
                    self.streams[x - absent].blocks(&counters, stream);
                }
            }
            let [even, odd] = pair.each_ref().map(|stream| Row(stream.each_ref().map(block_of)));
            bits[0].add(&odd);
            *total = even;
            total.add(&odd);
            let mut level = 1;
            while x >> level & 1 == 1 {
                bits[level].add(total);
                total.add(&pending[level]);
                level += 1;
            }
            pending[level] = *total;
        }
        pair.iter_mut().flatten().for_each(|block| block.0.zeroize());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_equal_their_definition_for_every_depth_and_kind_of_leaves() {
        for (depth, punctured) in [1, 2, 4, 8].into_iter().flat_map(|depth| [(depth, false), (depth, true)]) {
            let first = usize::from(punctured);
            let seeds = (first as Block..1 << depth).map(|x| x << 64 | 77);
            let stream = |seed, counter| {
                let (mut counters, mut stream) =
                    ([aes::Block::default(); WIDE], [aes::Block::default(); WIDE]);
                fill_counters(counter, &mut counters);
                Prg::new(seed).blocks(&counters, &mut stream);
                Row(stream.each_ref().map(block_of))
            };
            let best = Leaves::new(seeds.clone(), punctured);
            let portable = PortableLeaves { streams: seeds.clone().map(Prg::new).collect(), punctured };
            for (leaves, counter) in [(best, 5), (Leaves::Portable(portable), 1 << 40)] {
                let (mut bits, mut total) = (vec![Row([9; WIDE]); depth], Row([8; WIDE]));
                leaves.sum(counter, &mut bits, &mut total);
                let (mut expected, mut sum) = (vec![Row::ZERO; depth], Row::ZERO);
                for (x, seed) in (first..).zip(seeds.clone()) {
                    let stream = stream(seed, counter);
                    sum.add(&stream);
                    expected
                        .iter_mut()
                        .enumerate()
                        .filter(|(bit, _)| x >> bit & 1 == 1)
                        .for_each(|(_, row)| row.add(&stream));
                }
                assert!(
                    total.0 == sum.0 && bits.iter().zip(&expected).all(|(bit, row)| bit.0 == row.0),
                    "depth {depth}"
                );
            }
        }
    }
}
