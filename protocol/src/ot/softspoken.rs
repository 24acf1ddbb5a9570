//! SoftSpoken OT extension, semi-honest (Roy, "SoftSpokenOT", CRYPTO 2022), with the repetition code.
//!
//! 128/k all-but-one trees of depth k, owned by the OT receiver; the k-bit chunks of delta are the punctured points. With
//! r_x the stream of leaf x, the owner forms u = Σ r_x and v = Σ x·r_x, the peer w = Σ (x + delta_i)·r_x = v + delta_i·u,
//! in which the leaf it lacks has the factor zero. The owner of tree i > 0 sends u_i ^ u_0, so that all trees share
//! the choice bits r = u_0: q = t ^ r * delta, 128/k - 1 bits per OT. For k = 1 this is IKNP (CRYPTO 2003) with random choices.
//! Since delta is odd, row 0 of the matrix may be replaced: by r at the receiver, by 0 at the sender.

use std::ops::Range;

use eqo_checkpoints::cost::{EXTENSION_CHUNK, OtKind, extension_bytes};
use zeroize::Zeroizing;

use super::leaves::Leaves;
use super::prg::{Row, WIDE};
use super::stock::grow;
use super::transpose::columns;
use super::{Block, RandomCotReceiver, RandomCotSender, Secrets, Step, prepared, soft_spoken_count};
use crate::Error;
use crate::transport::Channel;

/// OTs that one message extends by, at most.
pub(super) const CHUNK: usize = EXTENSION_CHUNK as usize;

/// OTs worked on at once.
const BATCH: usize = 128 * WIDE;

/// The message by which `count` OTs (a multiple of 128, at most [`CHUNK`]) are made, in bytes.
const fn message_bytes(kind: OtKind, count: usize) -> usize {
    extension_bytes(kind, count as u64) as usize
}

/// The state that both sides share in kind: trees, position in their streams, and a batch of the matrix.
struct Extension {
    kind: OtKind,
    trees: Vec<Leaves>,
    next_counter: u64,
    rows: Box<Zeroizing<[Row; 128]>>,
}

impl Extension {
    fn new(kind: OtKind, trees: Vec<Leaves>) -> Self {
        Self { kind, trees, next_counter: 0, rows: Box::new(Zeroizing::new([Row::ZERO; 128])) }
    }

    /// The rows of the matrix that belong to tree `index`.
    fn rows_of(&self, index: usize) -> Range<usize> {
        let k = self.kind.k() as usize;
        index * k..(index + 1) * k
    }

    /// Sums tree `index` into its rows of the matrix and `total`.
    fn sum(&mut self, index: usize, total: &mut Row) {
        let rows = self.rows_of(index);
        self.trees[index].sum(self.next_counter, &mut self.rows[rows], total);
    }

    /// Appends the columns of the matrix and moves on in the streams.
    fn finish(&mut self, blocks: usize, out: &mut Secrets) {
        columns(&self.rows, blocks, out);
        self.next_counter += blocks as u64;
    }
}

/// Block counts of the batches of `count` OTs (a multiple of 128).
pub(super) fn batches(count: usize) -> impl Iterator<Item = usize> {
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
        let trees = trees.iter().map(|leaves| Leaves::new(leaves.iter().copied(), false)).collect();
        Self(Extension::new(kind, trees))
    }

    /// Makes as many OTs as `message` is for.
    fn batch(&mut self, message: &mut [[u8; 16]], blocks: usize, out: &mut Secrets) {
        let (mut choices, mut total) = (Zeroizing::new(Row::ZERO), Zeroizing::new(Row::ZERO));
        self.0.sum(0, &mut choices);
        for (index, message) in (1..self.0.trees.len()).zip(message.chunks_exact_mut(blocks)) {
            self.0.sum(index, &mut total);
            total.write_sum(&choices, message);
        }
        self.0.rows[0] = *choices;
        self.0.finish(blocks, out);
    }
}

impl RandomCotReceiver for SoftSpokenReceiver {
    fn extend(&mut self, channel: &mut Channel, step: Step, out: &mut Secrets) -> Result<(), Error> {
        let count = soft_spoken_count(step)?;
        grow(out, prepared(count as u64) as usize);
        let kind = self.0.kind;
        for chunk in chunks(count) {
            let mut message = channel.buffer(message_bytes(kind, chunk));
            let mut rest = message.as_chunks_mut::<16>().0;
            for blocks in batches(chunk) {
                let (batch, after) = rest.split_at_mut(message_bytes(kind, 128 * blocks) / 16);
                self.batch(batch, blocks, out);
                rest = after;
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
            Leaves::new((1..leaves.len()).map(|y| leaves[y ^ point]), true)
        };
        let trees = trees.iter().enumerate().map(tree).collect();
        Self { delta: Zeroizing::new(delta), extension: Extension::new(kind, trees) }
    }

    fn batch(&mut self, message: &[[u8; 16]], blocks: usize, out: &mut Secrets) {
        let mut ignored = Zeroizing::new(Row::ZERO);
        self.extension.sum(0, &mut ignored);
        for (index, correction) in (1..self.extension.trees.len()).zip(message.chunks_exact(blocks)) {
            self.extension.sum(index, &mut ignored);
            for row in self.extension.rows_of(index) {
                let mask = (*self.delta >> row & 1).wrapping_neg();
                self.extension.rows[row].fold(correction, mask);
            }
        }
        self.extension.rows[0] = Row::ZERO;
        self.extension.finish(blocks, out);
    }
}

impl RandomCotSender for SoftSpokenSender {
    fn delta(&self) -> Block {
        *self.delta
    }

    fn extend(&mut self, channel: &mut Channel, step: Step, out: &mut Secrets) -> Result<(), Error> {
        let count = soft_spoken_count(step)?;
        grow(out, prepared(count as u64) as usize);
        let kind = self.extension.kind;
        for chunk in chunks(count) {
            let message = channel.recv(message_bytes(kind, chunk))?;
            let mut rest = message.as_chunks::<16>().0;
            for blocks in batches(chunk) {
                let (batch, after) = rest.split_at(message_bytes(kind, 128 * blocks) / 16);
                self.batch(batch, blocks, out);
                rest = after;
            }
            channel.recycle(message);
        }
        Ok(())
    }
}

/// The `index`th k-bit chunk of delta: the punctured point of that tree.
pub(super) fn chunk_of(delta: Block, k: usize, index: usize) -> usize {
    (delta >> (index * k)) as usize & ((1 << k) - 1)
}
