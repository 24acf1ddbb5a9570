//! What a server's session tells whoever watches it: that something happens, never what it is about.

use eqo_checkpoints::cost::Answer;

use super::handshake::Request;
use crate::layers::Entered;
use crate::transport::Traffic;

/// What a client asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To prepare an inference.
    Prepare,
    /// Logits.
    Logits,
    /// Classes and nothing else of the logits.
    Classes,
}

impl Asked {
    /// A short name, for counters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Logits => "logits",
            Self::Classes => "classes",
        }
    }
}

/// Something that happens in a session, in this order for every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request has come.
    Asked {
        /// Which kind.
        what: Asked,
        /// Images it is about.
        images: usize,
        /// What this party has sent and received so far, the request itself included.
        before: Traffic,
    },
    /// A part of the protocol begins.
    Entered(Entered),
    /// The request is answered.
    Answered {
        /// Images of inferences that are prepared and not used up.
        prepared: usize,
        /// What this party has sent and received so far.
        total: Traffic,
    },
}

impl Event {
    /// The request to tell of; none for the session's end.
    pub(super) fn of(request: Request, before: Traffic) -> Option<Self> {
        let (what, images) = match request {
            Request::Close => return None,
            Request::Prepare(batch) => (Asked::Prepare, batch),
            Request::Infer(batch, Answer::Logits) => (Asked::Logits, batch),
            Request::Infer(batch, Answer::Top1) => (Asked::Classes, batch),
        };
        Some(Self::Asked { what, images, before })
    }
}
