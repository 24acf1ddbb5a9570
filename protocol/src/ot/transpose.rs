//! Transposes 128 x 128 bit matrices: columns of the extension matrix become OTs.

use super::Block;

/// Transposes in place: bit c of row r and bit r of row c change places. Swaps blocks of half the size at each of the
/// seven levels (Hacker's Delight, 2nd edition, §7-3).
pub(super) fn transpose(matrix: &mut [Block; 128]) {
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
    use proptest::prelude::*;

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
