//! The one place that names errors for counters.

use eqo_protocol::Error;
use eqo_protocol::transport::Scope;

/// Why the server ends a connection itself, as its [`Closer`](eqo_protocol::transport::Closer) says it.
pub(in crate::commands::serve) const DEADLINE: &str = "the session took longer than --deadline allows";
/// The same of a server that stops.
pub(in crate::commands::serve) const DRAINED: &str = "the server stops and its --drain time is over";
/// The same of a client that doesn't get its handshake done.
pub(in crate::commands::serve) const HANDSHAKE: &str = "the handshake took longer than --timeout allows";
/// The same of one that says nothing, or doesn't listen.
pub(in crate::commands::serve) const DAWDLED: &str =
    "the client was silent before its session for longer than the server waits";

/// The kind of an error: one of a fixed set of names.
pub(in crate::commands::serve) fn label(error: &Error) -> String {
    let name = match error {
        Error::TlsRefused { refusal, .. } => return format!("tls-{}", refusal.name()),
        Error::Timeout { scope: Scope::Handshake | Scope::BaseOt, .. } => "slow-handshake",
        Error::Timeout { .. } => "timeout",
        Error::PeerLength { .. } => "length",
        Error::PeerData { what: "a frame's length", .. } => "oversized-frame",
        Error::PeerData { .. } => "data",
        Error::PeerIncompatible { .. } => "incompatible",
        Error::PeerGraph { .. } => "graph",
        Error::PeerClosed { .. } => "closed",
        Error::Closed { reason, .. } => match reason.as_str() {
            DEADLINE => "deadline",
            DRAINED => "drained",
            HANDSHAKE | DAWDLED => "slow-handshake",
            _ => "ended-here",
        },
        Error::Config { .. } => "config",
        Error::Credentials { .. } => "credentials",
        Error::Exhausted { .. } => "exhausted",
        Error::Io { .. } => "io",
        _ => "other",
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use eqo_protocol::transport::Refusal;

    use super::*;

    #[test]
    fn errors_that_an_operator_tells_apart_have_labels_of_their_own() {
        let after = Duration::from_secs(1);
        let data = |what| Error::PeerData { scope: Scope::Request, what, expected: "", found: String::new() };
        let closed = |reason: &str| Error::Closed { scope: Scope::Request, reason: reason.to_owned() };
        let tls = |refusal| Error::TlsRefused { peer: String::new(), refusal, detail: String::new() };
        for (error, expected) in [
            (Error::Timeout { scope: Scope::Handshake, event: "", after }, "slow-handshake"),
            (Error::Timeout { scope: Scope::Node(1), event: "", after }, "timeout"),
            (data("a frame's length"), "oversized-frame"),
            (data("a request"), "data"),
            (closed(DEADLINE), "deadline"),
            (closed(DRAINED), "drained"),
            (closed(HANDSHAKE), "slow-handshake"),
            (closed(DAWDLED), "slow-handshake"),
            (tls(Refusal::Expired), "tls-expired"),
            (tls(Refusal::UnknownAuthority), "tls-unknown-authority"),
        ] {
            assert_eq!(label(&error), expected, "{error}");
        }
    }
}
