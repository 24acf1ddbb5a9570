//! One framed, metered, bounded connection to the other party.
//!
//! Protocol code is synchronous and runs on a thread its caller owns. [`Channel`] hands frames to a writer task and takes
//! them from a reader task through bounded queues, so no protocol code ever runs on a tokio worker and every wait has a
//! timeout. With a [`Link`], frames pass through a delay line between the two, which is a thread of its own.

mod channel;
mod closer;
mod credentials;
mod delay_line;
mod frame;
mod link;
mod memory;
mod meter;
mod outbox;
mod packed;
#[cfg(any(test, feature = "testing"))]
mod piped;
mod pool;
mod refusal;
mod tcp;
#[cfg(test)]
mod tests;
mod tls;
mod wait;

pub use channel::{Channel, QUEUE_FRAMES, TransportConfig};
pub use closer::Closer;
pub use credentials::{Credentials, Fingerprint, Role, certificate_holds, check_credentials, fingerprint_of};
pub use frame::{FRAME_HEADER, MAX_FRAME, frame_count, wire_bytes};
pub use link::Link;
pub use memory::memory_pair;
pub use meter::{Meter, Scope, Traffic};
pub(crate) use packed::{PackedRecv, PackedSend};
pub use refusal::Refusal;
pub use tcp::{Knock, Listener, Security, connect, connect_tls};
pub use tls::{TlsClient, TlsServer};
