//! Everything that passes between the stages of EQO, and what it means.
//!
//! In the order of the pipeline:
//!
//! - [`arch`]: the float architecture (what `train` interprets), with the state-dict key of every tensor.
//! - [`plan`]: the bit widths and algorithms chosen for an architecture.
//! - [`graph`]: the **public** integer graph (shapes, bit widths, shifts, rings), known to both parties.
//! - [`weights`]: the **private** integer weights, the server's alone.
//! - [`mod@format`]: the file that holds both.
//! - [`range`]: the proof that every accumulator fits its ring.
//! - [`engine`]: plain integer inference, the meaning of a graph with its weights; [`layout`] is what it shares with
//!   the private protocol.
//! - [`scales`]: the exponents that meet in a layer, and which of them are best.
//! - [`random`]: a network of random weights with the scales and rings of a trained one.
//! - [`baseline`]: networks as earlier protocols compute them, for ratios measured in one engine.
//! - [`cost`]: what private inference sends, exactly, from the public graph alone.
//!
//! No Burn, no tokio, no cryptography: a party's machine builds this crate and `protocol` only.

pub mod arch;
pub mod arith;
pub mod baseline;
pub mod codebook;
pub mod cost;
pub mod engine;
pub mod error;
pub mod format;
pub mod graph;
pub mod layout;
pub mod plan;
pub mod random;
pub mod range;
pub mod scales;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod weights;
pub mod winograd;

pub use error::Error;
pub use format::Checkpoint;
