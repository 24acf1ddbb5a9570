//! The fixed lengths of the messages around the inferences of a session.

/// Client to server: magic, protocol version, OT parameter.
pub const HELLO_BYTES: usize = 6 + 2 + 1;

/// Server to client: magic, protocol version, verdict, largest batch, images that may be prepared. The graph's JSON follows,
/// length-prefixed.
pub const WELCOME_BYTES: usize = 6 + 2 + 1 + 4 + 4;

/// Client to server: verdict and the hash of the graph it received.
pub const CONFIRMATION_BYTES: usize = 1 + 32;

/// Client to server: what it asks for (close, prepare, logits, class) and the batch size.
pub const REQUEST_BYTES: usize = 1 + 4;
