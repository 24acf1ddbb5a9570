//! The public matrix of the LPN instances: 10 entries a row, a local linear code (Yang et al., CCS 2020, §3.2).

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

    /// Adds to each row, of which the first has the index `first`, the 10 blocks of `table` that the matrix names. The length of `table` is a power of two, at
    /// most 2^21.
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
