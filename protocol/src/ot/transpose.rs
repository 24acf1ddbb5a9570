//! Transposes 128 x 128 bit matrices: columns of the extension matrix become OTs.

use std::ops::Range;

use zeroize::Zeroizing;

#[cfg(target_arch = "x86_64")]
use super::kernels::{Avx512, COLUMNS};
use super::prg::Row;
use super::{Block, Secrets};

/// Appends the columns of the first `blocks` blocks of the given rows: 128 for each.
pub(super) fn columns(rows: &[Row; 128], blocks: usize, out: &mut Secrets) {
    let done = wide_columns(rows, blocks, out);
    portable_columns(rows, done..blocks, out);
}

/// Appends as many columns as the processor's kernel takes; of how many blocks.
#[cfg(target_arch = "x86_64")]
fn wide_columns(rows: &[Row; 128], blocks: usize, out: &mut Secrets) -> usize {
    let Some(simd) = Avx512::detect() else { return 0 };
    simd.columns(rows, 128 * blocks, out);
    128 * blocks / COLUMNS * COLUMNS / 128
}

#[cfg(not(target_arch = "x86_64"))]
fn wide_columns(_rows: &[Row; 128], _blocks: usize, _out: &mut Secrets) -> usize {
    0
}

fn portable_columns(rows: &[Row; 128], blocks: Range<usize>, out: &mut Secrets) {
    let mut square = Zeroizing::new([0; 128]);
    for block in blocks {
        square.iter_mut().zip(rows).for_each(|(entry, row)| *entry = row.0[block]);
        transpose(&mut square);
        out.extend_from_slice(square.as_ref());
    }
}

/// Transposes in place: bit c of row r and bit r of row c change places. Swaps blocks of half the size at each of the
/// seven levels (Hacker's Delight, 2nd edition, §7-3).
fn transpose(matrix: &mut [Block; 128]) {
    let (upper, lower) = matrix.split_at_mut(64);
    for (a, b) in upper.iter_mut().zip(lower) {
        let low = u128::from(u64::MAX);
        (*a, *b) = (*a & low | *b << 64, *a >> 64 | *b & !low);
    }
    swap::<32>(matrix, 0x0000_0000_ffff_ffff);
    swap::<16>(matrix, 0x0000_ffff_0000_ffff);
    swap::<8>(matrix, 0x00ff_00ff_00ff_00ff);
    swap::<4>(matrix, 0x0f0f_0f0f_0f0f_0f0f);
    swap::<2>(matrix, 0x3333_3333_3333_3333);
    swap::<1>(matrix, 0x5555_5555_5555_5555);
}

fn swap<const SIZE: usize>(matrix: &mut [Block; 128], low: u64) {
    let low = u128::from(low) << 64 | u128::from(low);
    for pair in matrix.chunks_exact_mut(2 * SIZE) {
        let (upper, lower) = pair.split_at_mut(SIZE);
        for (a, b) in upper.iter_mut().zip(lower) {
            let changed = (*a >> SIZE ^ *b) & low;
            *b ^= changed;
            *a ^= changed << SIZE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ot::prg::WIDE;
    use proptest::prelude::*;

    #[test]
    fn columns_of_every_number_of_blocks_equal_the_portable_ones() {
        let word = |i: usize| (i as Block + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        let rows: [Row; 128] =
            std::array::from_fn(|r| Row(std::array::from_fn(|i| word(r * WIDE + i).rotate_left(r as u32))));
        for blocks in 0..=WIDE {
            let (mut ours, mut expected) = (Secrets::default(), Secrets::default());
            columns(&rows, blocks, &mut ours);
            portable_columns(&rows, 0..blocks, &mut expected);
            assert!(ours == expected, "{blocks} blocks");
        }
    }

    proptest! {
        #[test]
        fn every_bit_moves_to_its_mirror_place(rows in proptest::collection::vec(any::<u128>(), 128)) {
            let mut matrix: [Block; 128] = rows.clone().try_into().unwrap();
            transpose(&mut matrix);
            for (r, row) in rows.iter().enumerate() {
                for (c, column) in matrix.iter().enumerate() {
                    prop_assert_eq!(row >> c & 1, column >> r & 1);
                }
            }
        }
    }
}
