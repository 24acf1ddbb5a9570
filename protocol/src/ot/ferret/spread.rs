//! Spreads an iteration's work over scoped threads, which end before the call returns.

use std::thread;

use super::Block;

/// A part of fewer rows isn't worth a thread.
const LEAST: usize = 1 << 10;

/// The trees of an iteration: seeds in, leaves out.
pub(super) struct Jobs<'x> {
    pub(super) threads: usize,
    pub(super) depth: usize,
    /// `depth` for each tree.
    pub(super) seeds: &'x [Block],
    /// 2^`depth` for each tree.
    pub(super) leaves: &'x mut [Block],
}

impl Jobs<'_> {
    /// Calls `grow(seeds, corrections, leaves)` for each tree, whose `corrections` are its part of the message.
    pub(super) fn for_each_tree(
        self,
        corrections: &mut [[u8; 16]],
        grow: impl Fn(&[Block], &mut [[u8; 16]], &mut [Block]) + Sync,
    ) {
        let depth = self.depth;
        let part = |seeds: &[Block], corrections: &mut [[u8; 16]], leaves: &mut [Block]| {
            let trees = leaves.chunks_exact_mut(1 << depth).zip(corrections.chunks_exact_mut(depth - 1));
            trees
                .zip(seeds.chunks_exact(depth))
                .for_each(|((leaves, sums), seeds)| grow(seeds, sums, leaves));
        };
        if self.threads == 1 {
            return part(self.seeds, corrections, self.leaves);
        }
        let each = (self.seeds.len() / depth).div_ceil(self.threads);
        let seeds = self.seeds.chunks(each * depth);
        let parts = self.leaves.chunks_mut(each << depth).zip(corrections.chunks_mut(each * (depth - 1)));
        thread::scope(|scope| {
            for ((leaves, sums), seeds) in parts.zip(seeds) {
                let part = &part;
                scope.spawn(move || part(seeds, sums, leaves));
            }
        });
    }
}

/// Calls `work(index of the first row, rows)` for parts that cover all rows.
pub(super) fn rows(threads: usize, rows: &mut [Block], work: impl Fn(usize, &mut [Block]) + Sync) {
    if threads == 1 {
        return work(0, rows);
    }
    let each = rows.len().div_ceil(threads).next_multiple_of(LEAST);
    thread::scope(|scope| {
        for (index, part) in rows.chunks_mut(each).enumerate() {
            let work = &work;
            scope.spawn(move || work(index * each, part));
        }
    });
}
