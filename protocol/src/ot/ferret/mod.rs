//! Ferret: random OTs at less than a bit each (Yang, Weng, Lan, Zhang and Wang, CCS 2020, eprint 2020/924), semi-honest, with
//! regular noise and the correlated trees of Half-Tree (Guo et al., EUROCRYPT 2023, eprint 2022/1431).
//!
//! An iteration turns a few OTs ("seeds") into many. Each of `trees` trees gives the two parties a block of rows that are equal
//! but for one, at a place that only the receiver knows, where they differ by delta: OTs whose choices e are almost all
//! zero. A public sparse matrix A times the other seeds, (q, t, r), is added to both sides: t' = t·A ^ v = (q·A ^ w) ^
//! (r·A ^ e)·delta, and r·A ^ e is random by learning parity with noise. The lowest bits follow by themselves: that of
//! every q, w and delta makes XOR carry the choice.
//!
//! The receiver sends nothing, so any number of iterations takes one flight.

mod lpn;
mod spread;
mod tree;

use eqo_checkpoints::cost::{Iteration, LpnSet};
use zeroize::Zeroizing;

use super::softspoken::{SoftSpokenReceiver, SoftSpokenSender};
use super::stock::grow;
use super::{Block, RandomCotReceiver, RandomCotSender, Secrets, Step};
use crate::Error;
use crate::transport::Channel;
use lpn::Matrix;
use spread::Jobs;
use tree::TreeHash;

/// What both sides of a direction share in kind.
struct Core {
    /// OTs kept back for the next iteration.
    seeds: Secrets,
    hash: TreeHash,
    matrix: Matrix,
    threads: usize,
}

impl Core {
    /// `session`: the public name of the direction.
    fn new(session: &[u8; 32]) -> Self {
        let (hash, matrix) = (TreeHash::new(session), Matrix::new(session));
        Self { seeds: Secrets::default(), hash, matrix, threads: 1 }
    }

    fn check_seeds(&self, set: LpnSet) -> Result<(), Error> {
        let (needed, available) = (set.seeds() as usize, self.seeds.len());
        if needed > available {
            return Err(Error::Exhausted { what: "seeds of a Ferret iteration", needed, available });
        }
        Ok(())
    }

    fn jobs<'x>(&'x self, set: LpnSet, leaves: &'x mut [Block]) -> Jobs<'x> {
        let seeds = &self.seeds[1 << set.log_secret..set.seeds() as usize];
        Jobs { threads: self.threads, depth: set.depth as usize, seeds, leaves }
    }

    /// Adds the product of the matrix and the secret to the leaves, then replaces the seeds used by the last rows.
    fn finish(&mut self, iteration: Iteration, start: usize, out: &mut Secrets) {
        let set = iteration.set;
        let table = &self.seeds[..1 << set.log_secret];
        let matrix = &self.matrix;
        spread::rows(self.threads, &mut out[start..], |first, rows| matrix.add(table, first, rows));
        self.matrix.next_iteration();
        let unused = &self.seeds[set.seeds() as usize..];
        let seeds_after = iteration.seeds_after as usize;
        let kept = out.len() - seeds_after.saturating_sub(unused.len()).min(out.len() - start);
        let mut seeds = Zeroizing::new(Vec::with_capacity(seeds_after.max(unused.len())));
        seeds.extend_from_slice(unused);
        seeds.extend_from_slice(&out[kept..]);
        // They must not be in two places.
        out[kept..].fill(0);
        out.truncate(kept);
        self.seeds = seeds;
    }
}

/// Appends zeros for the leaves of all trees, and returns where they start.
fn make_room(set: LpnSet, out: &mut Secrets) -> usize {
    let start = out.len();
    grow(out, set.outputs() as usize);
    out.resize(start + set.outputs() as usize, 0);
    start
}

/// The OT sender, who grows the trees.
pub(super) struct FerretSender {
    first: SoftSpokenSender,
    core: Core,
}

impl FerretSender {
    /// `first` makes the first seeds; `session` is the public name of the direction.
    pub(super) fn new(first: SoftSpokenSender, session: &[u8; 32]) -> Self {
        Self { first, core: Core::new(session) }
    }

    fn iterate(
        &mut self,
        channel: &mut Channel,
        iteration: Iteration,
        out: &mut Secrets,
    ) -> Result<(), Error> {
        self.core.check_seeds(iteration.set)?;
        let start = make_room(iteration.set, out);
        let mut message = vec![0; iteration.set.message_bytes() as usize];
        let (hash, delta) = (&self.core.hash, Zeroizing::new(self.first.delta()));
        self.core
            .jobs(iteration.set, &mut out[start..])
            .for_each_tree(message.as_chunks_mut::<16>().0, |seeds, corrections, leaves| {
                hash.grow(*delta, seeds, corrections, leaves)
            });
        // Before this party's own product, so that the peer can start on its trees.
        channel.send(message)?;
        self.core.finish(iteration, start, out);
        Ok(())
    }
}

impl RandomCotSender for FerretSender {
    fn delta(&self) -> Block {
        self.first.delta()
    }

    fn extend(&mut self, channel: &mut Channel, step: Step, out: &mut Secrets) -> Result<(), Error> {
        match step {
            Step::SoftSpoken(_) => self.first.extend(channel, step, &mut self.core.seeds),
            Step::Ferret(iteration) => self.iterate(channel, iteration, out),
        }
    }

    fn set_threads(&mut self, threads: usize) {
        self.core.threads = threads.max(1);
    }
}

/// The OT receiver, who lacks one leaf of each tree.
pub(super) struct FerretReceiver {
    first: SoftSpokenReceiver,
    core: Core,
}

impl FerretReceiver {
    /// As [`FerretSender::new`].
    pub(super) fn new(first: SoftSpokenReceiver, session: &[u8; 32]) -> Self {
        Self { first, core: Core::new(session) }
    }

    fn iterate(
        &mut self,
        channel: &mut Channel,
        iteration: Iteration,
        out: &mut Secrets,
    ) -> Result<(), Error> {
        self.core.check_seeds(iteration.set)?;
        let mut message = channel.recv(iteration.set.message_bytes() as usize)?;
        let start = make_room(iteration.set, out);
        let hash = &self.core.hash;
        self.core
            .jobs(iteration.set, &mut out[start..])
            .for_each_tree(message.as_chunks_mut::<16>().0, |seeds, corrections, leaves| {
                hash.grow_punctured(seeds, corrections, leaves)
            });
        self.core.finish(iteration, start, out);
        Ok(())
    }
}

impl RandomCotReceiver for FerretReceiver {
    fn extend(&mut self, channel: &mut Channel, step: Step, out: &mut Secrets) -> Result<(), Error> {
        match step {
            Step::SoftSpoken(_) => self.first.extend(channel, step, &mut self.core.seeds),
            Step::Ferret(iteration) => self.iterate(channel, iteration, out),
        }
    }

    fn set_threads(&mut self, threads: usize) {
        self.core.threads = threads.max(1);
    }
}
