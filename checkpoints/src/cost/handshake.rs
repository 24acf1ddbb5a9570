//! The lengths of the messages around the inferences of a session.

/// Of the name by which a client comes back to a broken session.
pub const TICKET_BYTES: usize = 32;

/// Client to server: magic, protocol version, OT parameter, the ticket of the session it comes back to (zeros for a new one).
pub const HELLO_BYTES: usize = 6 + 2 + 1 + TICKET_BYTES;

/// Server to client: magic, protocol version, verdict, largest batch, images that may be prepared, ticket. In a new session the
/// graph's JSON follows, length-prefixed.
pub const WELCOME_BYTES: usize = 6 + 2 + 1 + 4 + 4 + TICKET_BYTES;

/// Client to server: verdict and the hash of the graph it received or remembers.
pub const CONFIRMATION_BYTES: usize = 1 + 32;

/// Client to server: what it asks for (close, prepare, logits, class) and the batch size.
pub const REQUEST_BYTES: usize = 1 + 4;

/// Client to server, when it comes back, length-prefixed: the next serial number, the interrupted preparation (serial number, batch,
/// windows), and the serial number of each prepared inference.
pub const fn holdings_bytes(prepared: usize) -> usize {
    8 + (8 + 4 + 4) + 8 * prepared
}

/// Server to client, in answer: how many windows of the interrupted preparation it kept, and for each prepared inference a byte that
/// says whether it has it, too.
pub const fn kept_bytes(prepared: usize) -> usize {
    4 + prepared
}

/// Server to client, at the end of a window of the offline part whose last message would be the client's.
pub const WINDOW_END_BYTES: usize = 1;
