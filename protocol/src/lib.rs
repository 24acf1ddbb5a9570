//! Private inference between two semi-honest parties for EQO checkpoints.
//!
//! | layer | module | what it knows |
//! |---|---|---|
//! | bytes | [`transport`] | frames, timeouts, the byte and round meter |
//! | numbers | [`ring`] | Z_{2^l} and its bit-exact wire form |
//! | correlations | [`ot`] | base OT, SoftSpoken extension, Ferret, COT, 1-of-2^n OT, KKOT, bit triples |
//! | shares | [`gates`] | products, comparisons, requantization, extension |
//! | networks | [`layers`] | the public graph, node by node |
//! | parties | [`session`] | handshake, inferences, [`report`] |
//! | earlier protocols | [`baseline`] | SiRNN, CrypTFlow2, CoPriv, COINN by the gates of SCI, for comparison |
//!
//! The protocol side is synchronous: each party runs on a thread that its caller owns, and only [`transport::Channel`]
//! touches tokio. Every wait has a timeout and every length from the peer is bounded before anything is allocated.

pub mod baseline;
mod clock;
mod error;
pub mod gates;
pub mod layers;
pub mod ot;
mod party;
pub mod report;
pub mod ring;
#[cfg(doctest)]
mod serves_once;
pub mod session;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod transport;

pub use error::{Error, Unserved};
pub use party::{PartyRng, Role};
