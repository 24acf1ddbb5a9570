//! SoftSpoken OT extension, semi-honest (Roy, "SoftSpokenOT", CRYPTO 2022), with the repetition code.
//!
//! 128/k all-but-one trees of depth k, owned by the OT receiver; the k-bit chunks of delta are the punctured points. With
//! r_x the stream of leaf x, the owner forms u = Σ r_x and v = Σ x·r_x, the peer w = Σ (x + delta_i)·r_x = v + delta_i·u,
//! in which the leaf it lacks has the factor zero. The owner of tree i > 0 sends u_i ^ u_0, so that all trees share
//! the choice bits r = u_0: q = t ^ r * delta, 128/k - 1 bits per OT. For k = 1 this is IKNP (CRYPTO 2003) with random choices.
//! Since delta is odd, row 0 of the matrix may be replaced: by r at the receiver, by 0 at the sender.

use std::ops::Range;

use eqo_checkpoints::cost::{EXTENSION_CHUNK, OtKind, extension_bytes};
use zeroize::{Zeroize, Zeroizing};

use super::prg::{Prg, WIDE, block_of, fill_counters};
use super::stock::grow;
use super::transpose::transpose;
use super::{Block, RandomCotReceiver, RandomCotSender, Secrets, Step, prepared, soft_spoken_count};
use crate::Error;
use crate::transport::Channel;

/// OTs that one message extends by, at most.
pub(super) const CHUNK: usize = EXTENSION_CHUNK as usize;

/// OTs worked on at once: one wide AES call for each leaf, and matrices that stay in the second-level cache.
const BATCH: usize = 128 * WIDE;

/// Subtree heights of the deepest tree, and its root.
const MAX_DEPTH: usize = 8 + 1;

/// One bit for each OT of a batch.
type Row = [Block; WIDE];

/// The message by which `count` OTs (a multiple of 128, at most [`CHUNK`]) are made, in bytes.
const fn message_bytes(kind: OtKind, count: usize) -> usize {
    extension_bytes(kind, count as u64) as usize
}

/// The leaves of one tree, and how its streams are summed up.
struct Tree {
    /// Leaf streams in summation order; the peer's punctured leaf would be the first and is absent.
    leaves: Vec<Prg>,
    punctured: bool,
}

impl Tree {
    /// `total` = Σ r_x, `bits[b]` = Σ r_x over the x with bit b, for counters of `blocks` blocks. Subtree sums are merged
    /// as in a binary counter: two XORs a leaf, whatever the depth.
    fn sum(&self, counters: &[aes::Block], bits: &mut [Row], total: &mut Row) {
        let blocks = counters.len();
        let mut pair = [[aes::Block::default(); WIDE]; 2];
        let mut pending = Zeroizing::new([[0; WIDE]; MAX_DEPTH]);
        bits.iter_mut().for_each(|row| *row = [0; WIDE]);
        let absent = usize::from(self.punctured);
        for x in (0..absent + self.leaves.len()).step_by(2) {
            for (x, stream) in (x..).zip(&mut pair) {
                // The absent leaf has the factor zero, so its stream may be zero: what `pair` starts with.
                if x >= absent {
                    self.leaves[x - absent].blocks(counters, &mut stream[..blocks]);
                }
            }
            let [even, odd] = pair.each_ref().map(|stream| stream.iter().map(block_of));
            for ((total, bit), (even, odd)) in total.iter_mut().zip(&mut bits[0]).zip(even.zip(odd)) {
                *bit ^= odd;
                *total = even ^ odd;
            }
            let mut level = 1;
            while x >> level & 1 == 1 {
                for ((total, bit), left) in total.iter_mut().zip(&mut bits[level]).zip(&pending[level]) {
                    *bit ^= *total;
                    *total ^= left;
                }
                level += 1;
            }
            pending[level] = *total;
        }
        pair.iter_mut().flatten().for_each(|block| block.0.zeroize());
    }
}

/// The state that both sides share in kind: trees, position in their streams, and a batch of the matrix.
struct Extension {
    kind: OtKind,
    trees: Vec<Tree>,
    next_counter: u64,
    counters: [aes::Block; WIDE],
    rows: Zeroizing<Vec<Row>>,
}

impl Extension {
    fn new(kind: OtKind, trees: Vec<Tree>) -> Self {
        let rows = Zeroizing::new(vec![[0; WIDE]; 128]);
        Self { kind, trees, next_counter: 0, counters: [aes::Block::default(); WIDE], rows }
    }

    /// Sets the counters of the next `blocks` * 128 OTs.
    fn advance(&mut self, blocks: usize) {
        fill_counters(self.next_counter, &mut self.counters[..blocks]);
        self.next_counter += blocks as u64;
    }

    /// The rows of the matrix that belong to tree `index`.
    fn rows_of(&self, index: usize) -> Range<usize> {
        let k = self.kind.k() as usize;
        index * k..(index + 1) * k
    }

    /// Sums tree `index` into its rows of the matrix and `total`.
    fn sum(&mut self, index: usize, blocks: usize, total: &mut Row) {
        let rows = self.rows_of(index);
        let rows = &mut self.rows[rows];
        self.trees[index].sum(&self.counters[..blocks], rows, total);
    }

    /// Appends the columns of the matrix.
    fn columns(&self, blocks: usize, out: &mut Secrets) {
        let mut square = Zeroizing::new([0; 128]);
        for block in 0..blocks {
            square.iter_mut().zip(self.rows.iter()).for_each(|(entry, row)| *entry = row[block]);
            transpose(&mut square);
            out.extend_from_slice(square.as_ref());
        }
    }
}

/// Block counts of the batches of `count` OTs (a multiple of 128).
fn batches(count: usize) -> impl Iterator<Item = usize> {
    (0..count).step_by(BATCH).map(move |start| (count - start).min(BATCH) / 128)
}

/// Sizes of the chunks of `count` OTs, rounded up to a multiple of 128.
pub(super) fn chunks(count: usize) -> impl Iterator<Item = usize> {
    let count = prepared(count as u64) as usize;
    (0..count).step_by(CHUNK).map(move |start| (count - start).min(CHUNK))
}

/// The OT receiver, owner of the trees.
pub(super) struct SoftSpokenReceiver(Extension);

impl SoftSpokenReceiver {
    /// `trees`: the 2^k leaves of each tree.
    pub(super) fn new(kind: OtKind, trees: &[Zeroizing<Vec<Block>>]) -> Self {
        let tree = |leaves: &Zeroizing<Vec<Block>>| Tree {
            leaves: leaves.iter().map(|leaf| Prg::new(*leaf)).collect(),
            punctured: false,
        };
        Self(Extension::new(kind, trees.iter().map(tree).collect()))
    }

    fn batch(&mut self, blocks: usize, message: &mut Vec<u8>, choices: &mut Row) {
        self.0.advance(blocks);
        self.0.sum(0, blocks, choices);
        let mut total = Zeroizing::new([0; WIDE]);
        for index in 1..self.0.trees.len() {
            self.0.sum(index, blocks, &mut total);
            for (sum, choice) in total.iter().zip(choices.iter()).take(blocks) {
                message.extend_from_slice(&(sum ^ choice).to_le_bytes());
            }
        }
    }
}

impl RandomCotReceiver for SoftSpokenReceiver {
    fn extend(&mut self, channel: &mut Channel, step: Step, out: &mut Secrets) -> Result<(), Error> {
        let count = soft_spoken_count(step)?;
        grow(out, prepared(count as u64) as usize);
        let mut choices = Zeroizing::new([0; WIDE]);
        for chunk in chunks(count) {
            let mut message = Vec::with_capacity(message_bytes(self.0.kind, chunk));
            for blocks in batches(chunk) {
                self.batch(blocks, &mut message, &mut choices);
                self.0.rows[0] = *choices;
                self.0.columns(blocks, out);
            }
            channel.send(message)?;
        }
        Ok(())
    }
}

/// The OT sender, whose delta is the punctured points.
pub(super) struct SoftSpokenSender {
    delta: Zeroizing<Block>,
    extension: Extension,
}

impl SoftSpokenSender {
    /// `trees`: the leaves of each tree, of which the one at its k-bit chunk of `delta` is unknown (and ignored).
    pub(super) fn new(kind: OtKind, delta: Block, trees: &[Zeroizing<Vec<Block>>]) -> Self {
        let tree = |(index, leaves): (usize, &Zeroizing<Vec<Block>>)| {
            let point = chunk_of(delta, kind.k() as usize, index);
            Tree { leaves: (1..leaves.len()).map(|y| Prg::new(leaves[y ^ point])).collect(), punctured: true }
        };
        let trees = trees.iter().enumerate().map(tree).collect();
        Self { delta: Zeroizing::new(delta), extension: Extension::new(kind, trees) }
    }

    fn batch(&mut self, blocks: usize, message: &[u8]) {
        self.extension.advance(blocks);
        let mut ignored = Zeroizing::new([0; WIDE]);
        let mut correction = [0; WIDE];
        for index in 0..self.extension.trees.len() {
            self.extension.sum(index, blocks, &mut ignored);
            if index == 0 {
                continue;
            }
            let bytes = message[(index - 1) * 16 * blocks..].chunks_exact(16);
            correction.iter_mut().zip(bytes).take(blocks).for_each(|(block, bytes)| {
                *block = bytes.iter().rev().fold(0, |block, byte| block << 8 | Block::from(*byte));
            });
            for row in self.extension.rows_of(index) {
                let mask = (*self.delta >> row & 1).wrapping_neg();
                let row = &mut self.extension.rows[row];
                row.iter_mut().zip(&correction).take(blocks).for_each(|(sum, block)| *sum ^= block & mask);
            }
        }
    }
}

impl RandomCotSender for SoftSpokenSender {
    fn delta(&self) -> Block {
        *self.delta
    }

    fn extend(&mut self, channel: &mut Channel, step: Step, out: &mut Secrets) -> Result<(), Error> {
        let count = soft_spoken_count(step)?;
        grow(out, prepared(count as u64) as usize);
        for chunk in chunks(count) {
            let message = channel.recv(message_bytes(self.extension.kind, chunk))?;
            let mut rest = message.as_slice();
            for blocks in batches(chunk) {
                let (batch, after) = rest.split_at(message_bytes(self.extension.kind, 128 * blocks));
                self.batch(blocks, batch);
                self.extension.rows[0] = [0; WIDE];
                self.extension.columns(blocks, out);
                rest = after;
            }
        }
        Ok(())
    }
}

/// The `index`th k-bit chunk of delta: the punctured point of that tree.
pub(super) fn chunk_of(delta: Block, k: usize, index: usize) -> usize {
    (delta >> (index * k)) as usize & ((1 << k) - 1)
}
