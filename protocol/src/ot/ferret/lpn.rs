//! The public matrix of the LPN instances: 10 entries a row, a local linear code (Yang et al., CCS 2020, §3.2).
//!
//! Its gathers are two thirds of an iteration's time. They are left to the processor's out-of-order window: prefetching the
//! next group's entries cost 40 % more time where this was measured (Xeon, 2 MiB of second-level cache), and huge pages gained
//! less than 5 %.

use aes::Aes128Enc;
use aes::cipher::{BlockCipherEncrypt, KeyInit};

use super::super::prg::{WIDE, block_of};
use super::Block;
use super::tree::public_key;

/// Rows whose entries are drawn by one wide AES call.
const GROUP: usize = WIDE / 2;

/// Bits of the field that an entry is cut from: three fit a word.
const FIELD: u32 = 21;

/// The matrices of one direction, a new one for each iteration.
pub(super) struct Matrix {
    permutation: Aes128Enc,
    iteration: u64,
}

impl Matrix {
    pub(super) fn new(session: &[u8; 32]) -> Self {
        let permutation = Aes128Enc::new(&public_key("eqo Ferret matrix key, version 1", session).into());
        Self { permutation, iteration: 0 }
    }

    /// Goes on to the next matrix.
    pub(super) fn next_iteration(&mut self) {
        self.iteration += 1;
    }

    /// Adds to each row, of which the first has the index `first`, the 10 blocks of `table` that the matrix names. The
    /// length of `table` is a power of two, at most 2^21.
    pub(super) fn add(&self, table: &[Block], first: usize, rows: &mut [Block]) {
        let mut words = [aes::Block::default(); WIDE];
        let mut index = Block::from(self.iteration) << 64 | (2 * first) as Block;
        for rows in rows.chunks_mut(GROUP) {
            for word in &mut words {
                *word = index.to_le_bytes().into();
                index += 1;
            }
            self.permutation.encrypt_blocks(&mut words);
            for (row, pair) in rows.iter_mut().zip(words.as_chunks::<2>().0) {
                *row ^= sum(table, pair);
            }
        }
    }
}

/// The sum of the 10 blocks of `table` that a row's two random blocks name.
fn sum(table: &[Block], random: &[aes::Block; 2]) -> Block {
    let mask = table.len() - 1;
    let entry = |word: u64, field: u32| table[(word >> (field * FIELD)) as usize & mask];
    let mut sum = 0;
    for (block, fields) in random.iter().zip([[3, 2], [3, 2]]) {
        let block = block_of(block);
        for (word, fields) in [block as u64, (block >> 64) as u64].into_iter().zip(fields) {
            for field in 0..fields {
                sum ^= entry(word, field);
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix() -> Matrix {
        Matrix::new(&[5; 32])
    }

    /// How often each row of `count` names each entry of a secret of `len`, by the unit secrets.
    fn named(matrix: &Matrix, len: usize, count: usize) -> Vec<u128> {
        let table: Vec<Block> = (0..len).map(|i| 1 << i).collect();
        let mut rows = vec![0; count];
        matrix.add(&table, 0, &mut rows);
        rows
    }

    #[test]
    fn rows_name_ten_entries_from_the_fields_of_two_blocks() {
        let mut matrix = matrix();
        matrix.next_iteration();
        let table: Vec<Block> =
            (0..1 << 16).map(|i| Block::from(i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        let mut rows = vec![7; 100];
        matrix.add(&table, 64, &mut rows);
        for (row, found) in rows.into_iter().enumerate() {
            let mut expected = 7;
            for half in 0..2 {
                let index = 1 << 64 | (2 * (64 + row) + half) as Block;
                let mut block = aes::Block::from(index.to_le_bytes());
                matrix.permutation.encrypt_block(&mut block);
                for start in [0, 21, 42, 64, 85] {
                    expected ^= table[(block_of(&block) >> start) as usize & 0xffff];
                }
            }
            assert_eq!(found, expected, "row {row}");
        }
    }

    #[test]
    fn any_cut_into_parts_gives_the_same_rows() {
        let matrix = matrix();
        let table: Vec<Block> = (0..256).map(|i| 3 << (i / 2)).collect();
        let mut whole = vec![1; 300];
        matrix.add(&table, 0, &mut whole);
        for cut in [1, 31, 32, 33, 299] {
            let mut parts = vec![1; 300];
            let (first, second) = parts.split_at_mut(cut);
            matrix.add(&table, 0, first);
            matrix.add(&table, cut, second);
            assert_eq!(parts, whole, "cut at {cut}");
        }
    }

    #[test]
    fn every_entry_is_named_as_often_as_any_other_and_iterations_differ() {
        let mut matrix = matrix();
        let rows = named(&matrix, 128, 40_000);
        for entry in 0..128 {
            // An entry is named an odd number of times by a row with probability (1 - (1 - 2/128)^10) / 2 = 0.0729.
            let odd = rows.iter().filter(|row| *row >> entry & 1 == 1).count();
            assert!((2_600..3_240).contains(&odd), "entry {entry}: {odd} rows");
        }
        matrix.next_iteration();
        assert_ne!(rows, named(&matrix, 128, 40_000));
    }
}
