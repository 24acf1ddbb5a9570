//! The gates: two-party computation on additive shares in Z_{2^l} and on XOR-shared bits.
//!
//! Notation: `[x]` is additively shared, `<b>` is XOR-shared; a gate is written `[y] <- Gate([x])`. Shares are `u64`
//! whose bits above the ring may hold anything; a gate reads only the low bits it is told of.
//!
//! Security is semi-honest: every message a gate sends is masked by a fresh pad of a random OT or is the difference of
//! a secret and a uniform value that masks nothing else, so it can be simulated from its length, and the lengths depend on
//! the public graph and the batch alone. What each gate of a network sends is written once, in [`eqo_checkpoints::cost`].
//!
//! What a network runs, with an offline part that needs no image:
//!
//! | gate | functionality | rounds online, at most |
//! |---|---|---|
//! | [`products`] | `[W·R] <- W, R` | none |
//! | [`requantize`] | `[clamp((y + 2^(s-1)) >> s)] <- [y]`, in the ring of its readers | 3 + tree depth |
//! | [`larger`] | `[max(f, g)] <- [f], [g]` of a bits, in the ring of a + 1 | 2 + tree depth |
//! | [`widen`] | `[x] in Z_{2^L} <- [x] in Z_{2^w}`, top bit 0 | 1 |
//! | [`mask`] | `x − R <- [x], R`, to the server | 1 |
//! | [`open`] | `y <- [y]`, to the client | 1 |
//!
//! The parts of it, and gates for shares that neither party knew before, which use prepared random OTs only:
//!
//! | gate | functionality | rounds |
//! |---|---|---|
//! | [`and`](mod@and) | `<z> <- <x>·<y>` | 1 |
//! | [`compare`] | carries of `[y]` | 1 or 2, + tree depth |
//! | [`convert`] | `[b] <- <b>`; `[b·x] <- <b>, [x]` | 2 |
//! | [`resize`] | `[x] in Z_{2^L} <- [x] in Z_{2^l}`; `[x >> s] <- [x]` | 2, or 4 + tree depth |
//! | [`maximum`] | `[max x] <- [x]`, its place, ReLU, signs | see there |

pub mod and;
pub mod compare;
pub mod convert;
pub mod larger;
pub mod mask;
pub mod maximum;
mod multiplier;
pub mod open;
pub mod products;
pub mod requantize;
pub mod resize;
pub mod widen;

use crate::ot::Ots;
use crate::transport::Channel;
use crate::{Error, PartyRng, Role};

/// What a party runs gates with.
pub struct Party<'p> {
    /// Which of the two it is.
    pub role: Role,
    /// The connection to the other.
    pub channel: &'p mut Channel,
    /// Prepared random OTs in both directions.
    pub ots: &'p mut Ots,
    /// This party's secret randomness.
    pub rng: &'p mut PartyRng,
}

impl Party<'_> {
    /// Whether this is the server, who adds public constants to its share.
    pub fn is_server(&self) -> bool {
        self.role == Role::Server
    }
}

/// A gate in the log, at its finest level: which one, and nothing of what it computes on.
fn span(gate: &'static str) -> tracing::span::EnteredSpan {
    tracing::trace_span!("gate", gate).entered()
}

fn same_length(what: &'static str, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found {
        return Ok(());
    }
    let next = "give one for each element";
    Err(Error::Config { what, expected: expected.to_string(), found: found.to_string(), next })
}
