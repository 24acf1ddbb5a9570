//! Oblivious transfer, semi-honest, λ = 128.
//!
//! [`Ots`] is what gates use. Underneath, base OTs on ristretto seed [`RandomCotSender`] / [`RandomCotReceiver`]
//! (SoftSpoken or Ferret), whose correlations are stocked, hashed to pads and used up one by one. [`KkotSender`] /
//! [`KkotReceiver`] are another extension, straight to 1-of-N OTs, as the baselines use it.
//!
//! All communication formulas give payload bytes; [`wire_bytes`](crate::transport::wire_bytes) adds the frame headers.

mod base;
mod chosen;
mod cot;
#[cfg(any(test, feature = "testing"))]
mod dealt;
mod ferret;
mod hash;
#[cfg(target_arch = "x86_64")]
mod kernels;
mod kkot;
mod leaves;
mod one_of_n;
mod permutation;
mod pprf;
mod prg;
mod random;
mod setup;
mod softspoken;
mod stock;
#[cfg(test)]
mod tests;
mod transpose;
mod triples;

pub use chosen::{ChosenOts, OfferedOts};
pub use cot::{Correlation, CotShape};
pub use eqo_checkpoints::cost::{Extension, Iteration, LpnSet, OtKind, Plan, prepared, setup_payloads};
pub use kkot::{KkotReceiver, KkotSender};
pub use one_of_n::OneOfN;
pub use setup::Ots;
pub use triples::BitTriples;
pub(crate) use triples::spread;

use zeroize::Zeroizing;

use crate::Error;
use crate::transport::Channel;

/// 128 bits of key material or correlation; bit i of a row is bit i of the integer.
pub type Block = u128;

/// Blocks that nobody else may see.
pub type Secrets = Zeroizing<Vec<Block>>;

/// A part of the work that makes random OTs, which both parties of a direction do together: one message between them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// SoftSpoken makes so many OTs, rounded up to a multiple of 128.
    SoftSpoken(usize),
    /// Ferret turns the OTs that it keeps back into many.
    Ferret(Iteration),
}

/// The sender of correlated random OTs: it holds delta and, for each OT, q with q = t ^ r * delta.
///
/// The lowest bit of delta is 1 and that of every q is 0, so that of t is the choice r: a block is all that an OT needs.
/// 127 bits of delta stay secret (the convention of emp-ot and of Yang et al., CCS 2020).
pub trait RandomCotSender: Send {
    /// The secret that every correlation shares; odd.
    fn delta(&self) -> Block;

    /// Does one step and appends the q of the OTs that it makes, but for those kept back, to `out`.
    ///
    /// # Errors
    /// Those of the channel; [`Error::Config`] for a step that this source doesn't know, [`Error::Exhausted`] for one
    /// without seeds.
    fn extend(&mut self, channel: &mut Channel, step: Step, out: &mut Secrets) -> Result<(), Error>;

    /// On how many threads local work may be spread; some sources use one always.
    fn set_threads(&mut self, _threads: usize) {}
}

/// The receiver of correlated random OTs: for each OT it holds t = q ^ r * delta, whose lowest bit is the random choice r.
pub trait RandomCotReceiver: Send {
    /// Does one step and appends the t of the OTs that it makes, but for those kept back, to `out`.
    ///
    /// # Errors
    /// As the sender's.
    fn extend(&mut self, channel: &mut Channel, step: Step, out: &mut Secrets) -> Result<(), Error>;

    /// On how many threads local work may be spread; some sources use one always.
    fn set_threads(&mut self, _threads: usize) {}
}

/// The count of a step that SoftSpoken knows.
fn soft_spoken_count(step: Step) -> Result<usize, Error> {
    match step {
        Step::SoftSpoken(count) => Ok(count),
        Step::Ferret(_) => Err(Error::Config {
            what: "step of an OT extension",
            expected: "one of SoftSpoken".into(),
            found: "an iteration of Ferret".into(),
            next: "plan with the kind that the parties set up",
        }),
    }
}
