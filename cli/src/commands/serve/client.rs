//! Who a client is: what places and turns are counted by.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use eqo_protocol::transport::Fingerprint;

use crate::party::hex;

/// With TLS its certificate, without it its machine.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum ClientId {
    Certificate(Fingerprint),
    Machine(IpAddr),
}

impl ClientId {
    pub(super) fn new(certificate: Option<Fingerprint>, peer: SocketAddr) -> Self {
        certificate.map_or_else(|| Self::Machine(peer.ip().to_canonical()), Self::Certificate)
    }

    /// What it has proven to be, for sessions that it comes back to: without TLS it has nothing but its ticket.
    pub(super) fn proof(&self) -> &[u8] {
        match self {
            Self::Certificate(fingerprint) => fingerprint,
            Self::Machine(_) => &[],
        }
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // As much as tells clients apart at sight.
            Self::Certificate(fingerprint) => out.write_str(&hex(fingerprint)[..16]),
            Self::Machine(address) => address.fmt(out),
        }
    }
}
