//! The gates: two-party computation on additive shares in Z_{2^l} and on XOR-shared bits.
//!
//! Notation: `[x]` is additively shared, `<b>` is XOR-shared; a gate is written `[y] <- Gate([x])`. Shares are `u64`
//! whose bits above the ring may hold anything; a gate reads only the low bits it is told of.
//!
//! Security is semi-honest: every message a gate sends is masked by a fresh pad of a random OT or is the difference of
//! a secret and a uniform value used nowhere else, so it can be simulated from its length, and the lengths depend on
//! the public graph alone. What each gate sends is written once, in [`eqo_checkpoints::cost`].
//!
//! | gate | functionality | rounds, at most |
//! |---|---|---|
//! | [`and`](mod@and) | `<z> <- <x>·<y>` | 1 |
//! | [`compare`] | three carries of `[y]` for all groups | 2 + tree depth |
//! | [`convert`] | `[b] <- <b>` | 2 |
//! | [`multiplex`] | `[b·x] <- <b>, [x]` | 2 |
//! | [`requantize`] | `[clamp((y + 2^(s-1)) >> s)] <- [y]` | 6 + tree depth |
//! | [`extend`] | `[x] in Z_{2^L} <- [x] in Z_{2^(a+1)}` | 2, or none |
//! | [`matmul`] | `[W x] <- W, [x]` | 2 |
//! | [`open`] | `y <- [y]`, to the client | 1 |

pub mod and;
pub mod compare;
pub mod convert;
pub mod extend;
pub mod matmul;
pub mod multiplex;
pub mod open;
pub mod requantize;

use crate::ot::Ots;
use crate::transport::Channel;
use crate::{PartyRng, Role};

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
