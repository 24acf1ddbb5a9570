//! The code of the extension, and the linear map that takes a row of the extension matrix to a block.
//!
//! The codeword of w is row w of the 256 x 256 Walsh-Hadamard matrix. For w < 16 it repeats the 16 bits parity(w & g), so the
//! 256 columns of the extension matrix are ordered as 16 groups g of 16 columns that share their bit. Two codewords differ in
//! the groups with parity(d & g) = 1, d the XOR of their indices: 8 groups, 128 columns.
//!
//! The map L from 256 to 128 bits sums groups up: output bit 16k + m is the sum of the columns m of the groups g with bit k of
//! [`FOLD`]`[g]`. For each d > 0 it is one-to-one on the columns in which such codewords differ, which the tests check. So for
//! a uniform s the block L(C(d) & s) is uniform: nothing of the code's distance is lost, although half the bits are.

use zeroize::Zeroizing;

use super::super::Block;
use super::super::prg::Row;

/// Columns of the extension matrix: the bits of a codeword.
pub(super) const COLUMNS: usize = 256;

/// Codewords in use, and groups of columns that share a codeword's bit.
pub(super) const WORDS: usize = 16;

/// Columns of a group.
const WIDTH: usize = COLUMNS / WORDS;

/// To which groups of 16 output bits each group of columns is added. Groups 8 to 15 are copied; for groups 1 to 7 these
/// are of the least weight that a random search found. Group 0 is zero in all
/// codewords and hides nothing, so it is left out.
const FOLD: [u8; WORDS] =
    [0, 0x2d, 0xf0, 0xc5, 0xd2, 0x4e, 0xa3, 0x18, 0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80];

/// The group of a column.
pub(super) fn group(column: usize) -> usize {
    column / WIDTH
}

/// Bit of the codeword of `word` in the columns of `group`.
fn bit(word: usize, group: usize) -> bool {
    (word & group).count_ones() % 2 == 1
}

/// The output bits to which L adds a column.
fn targets(column: usize) -> impl Iterator<Item = usize> {
    let fold = FOLD[group(column)];
    (0..8).filter(move |k| fold >> k & 1 == 1).map(move |k| WIDTH * k + column % WIDTH)
}

/// Adds a column of many OTs to the rows that L makes of them.
pub(super) fn add(column: usize, stream: &Row, rows: &mut [Row; 128]) {
    targets(column).for_each(|target| rows[target].add(stream));
}

/// L(C(`word`) & `secret`).
pub(super) fn offset(word: usize, secret: &[bool; COLUMNS]) -> Block {
    (0..COLUMNS).filter(|column| bit(word, group(*column))).fold(0, |sum, column| {
        let set = Block::from(secret[column]);
        targets(column).fold(sum, |sum, target| sum ^ set << target)
    })
}

/// The codewords of the choices, less than [`WORDS`] each, of at most a row of OTs: the row that the columns of each group
/// share. OTs without a choice have choice 0.
pub(super) fn codewords(choices: &[u8]) -> Zeroizing<[Row; WORDS]> {
    let mut rows = Zeroizing::new([Row::ZERO; WORDS]);
    for (index, choices) in choices.chunks(128).enumerate() {
        let planes = Zeroizing::new([0, 1, 2, 3].map(|bit| plane(choices, bit)));
        for (group, row) in rows.iter_mut().enumerate() {
            let own = planes.iter().enumerate().filter(|(bit, _)| group >> bit & 1 == 1);
            row.0[index] = own.fold(0, |sum, (_, plane)| sum ^ plane);
        }
    }
    rows
}

/// The given bit of each of up to 128 choices.
fn plane(choices: &[u8], bit: u32) -> Block {
    let mut plane = [0; 16];
    for (byte, choices) in plane.iter_mut().zip(choices.chunks(8)) {
        let mut eight = [0; 8];
        eight[..choices.len()].copy_from_slice(choices);
        let bits = u64::from_le_bytes(eight) >> bit & 0x0101_0101_0101_0101;
        // The product moves bit 8i to bit 56 + i, and no two of its terms meet.
        *byte = (bits.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8;
    }
    Block::from_le_bytes(plane)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// L of the row whose only bit is `column`.
    fn unit(column: usize) -> Block {
        targets(column).fold(0, |sum, target| sum ^ 1 << target)
    }

    fn rank(mut vectors: Vec<Block>) -> usize {
        let mut rank = 0;
        while let Some(pivot) = vectors.pop() {
            if pivot != 0 {
                rank += 1;
                let lowest = pivot & pivot.wrapping_neg();
                vectors
                    .iter_mut()
                    .filter(|vector| **vector & lowest != 0)
                    .for_each(|vector| *vector ^= pivot);
            }
        }
        rank
    }

    #[test]
    fn the_fold_keeps_all_128_bits_in_which_any_two_codewords_differ() {
        for one in 0..WORDS {
            for other in (0..WORDS).filter(|other| *other != one) {
                let differ = |column: &usize| bit(one, group(*column)) != bit(other, group(*column));
                let columns: Vec<Block> = (0..COLUMNS).filter(differ).map(unit).collect();
                assert_eq!((columns.len(), rank(columns)), (128, 128), "words {one} and {other}");
            }
        }
    }

    #[test]
    fn offsets_are_the_fold_of_the_secret_where_the_codeword_is_one() {
        let secret: [bool; COLUMNS] = std::array::from_fn(|i| i * i % 7 < 3);
        let offsets: Vec<Block> = (0..WORDS).map(|word| offset(word, &secret)).collect();
        assert_eq!(offsets[0], 0);
        for (word, found) in offsets.iter().enumerate() {
            let mut rows = [Row::ZERO; 128];
            for (column, set) in secret.iter().enumerate() {
                let mut stream = Row::ZERO;
                stream.0[0] = Block::from(*set && bit(word, group(column)));
                add(column, &stream, &mut rows);
            }
            let expected = rows.iter().rev().fold(0, |sum, row| sum << 1 | row.0[0]);
            assert_eq!(*found, expected);
            assert!(offsets[..word].iter().all(|earlier| earlier != found));
        }
    }

    #[test]
    fn codewords_of_every_count_are_rows_of_the_hadamard_matrix_with_zeros_behind() {
        for count in [0, 1, 7, 8, 127, 128, 129, 4095, 4096] {
            let choices: Vec<u8> = (0..count).map(|j| (j * 7 % 16) as u8).collect();
            let rows = codewords(&choices);
            for (group, row) in rows.iter().enumerate() {
                for j in 0..4096 {
                    let expected = choices.get(j).is_some_and(|word| bit(usize::from(*word), group));
                    assert_eq!(row.0[j / 128] >> (j % 128) & 1 == 1, expected, "{count}: OT {j}");
                }
            }
        }
    }
}
