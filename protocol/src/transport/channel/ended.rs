//! Why a channel ended, in words.

use super::super::frame::End;
use super::super::refusal::Refused;
use super::super::tls::ALERT_WAIT;
use super::super::wait::{Stop, pull};
use super::Channel;
use crate::Error;

impl Channel {
    /// What the party is told.
    pub(super) fn error(&mut self, stop: Stop) -> Error {
        let (scope, after) = (self.meter.scope(), self.timeout);
        if let Some(reason) = self.closer.reason() {
            return Error::Closed { scope, reason: reason.to_owned() };
        }
        if let Some(refused) = self.refused(&stop) {
            return refused.error("the peer".into());
        }
        let found = match stop {
            Stop::SendLate => return Error::Timeout { scope, event: "take a message", after },
            Stop::RecvLate => return Error::Timeout { scope, event: "send a message", after },
            Stop::Stream(End::Oversized(length)) => {
                return Error::PeerData {
                    scope,
                    what: "a frame's length",
                    expected: "at most 1 MiB",
                    found: format!("{length} bytes"),
                };
            }
            Stop::SendEnded => match self.written.try_recv() {
                Ok(Err(error)) => format!("a closed connection ({error})"),
                _ => "a closed connection".into(),
            },
            Stop::RecvEnded | Stop::Stream(End::Closed { within_frame: false }) => {
                "the connection's end".into()
            }
            Stop::Stream(End::Closed { within_frame: true }) => "the connection's end within a frame".into(),
            Stop::Stream(End::Failed(error)) => format!("a broken connection ({error})"),
        };
        Error::PeerClosed { scope, found }
    }

    /// The peer's TLS refusal, if that ended the connection before it sent anything: a client's handshake is over before the
    /// server has seen its certificate.
    fn refused(&mut self, stop: &Stop) -> Option<Refused> {
        if self.meter.received_depth() > 0 {
            return None;
        }
        match stop {
            Stop::Stream(End::Failed(error)) => Refused::by_peer(error),
            // The writer has noticed first; the alert is what the reader finds.
            Stop::SendEnded => match self.runtime.block_on(pull(&mut self.inbox, ALERT_WAIT)) {
                Err(Stop::Stream(End::Failed(error))) => Refused::by_peer(&error),
                _ => None,
            },
            _ => None,
        }
    }
}
