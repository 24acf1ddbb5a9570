//! How a command ends: the exit code of every kind of failure.

use std::fmt::{self, Display};
use std::process::ExitCode;

/// Why a command failed; the number is its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It ran, but a check failed (private logits differ, predicted bytes differ).
    Check = 1,
    /// Command line or recipe.
    Usage = 2,
    /// Data, checkpoint or another file.
    Data = 3,
    /// The other party or the network.
    Peer = 4,
    /// Ctrl-C, as shells count it.
    Stopped = 130,
}

/// A failure and the message that explains it: where, expected, found, next step.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: Kind,
    message: String,
}

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl Display) -> Self {
        Self { kind, message: message.to_string() }
    }

    /// What this build can't do because it was made without training.
    #[cfg(not(feature = "train"))]
    pub(crate) fn needs_train(what: &str) -> Self {
        let next = "build with it: cargo build --release (default features)";
        Self::new(
            Kind::Usage,
            format!("{what} needs the cargo feature `train`, which this build leaves out; {next}"),
        )
    }

    /// The same failure, of `place`.
    pub(crate) fn at(self, place: impl Display) -> Self {
        Self { message: format!("{place}: {}", self.message), ..self }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind as u8)
    }
}

impl Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl From<eqo_checkpoints::Error> for Failure {
    fn from(error: eqo_checkpoints::Error) -> Self {
        use eqo_checkpoints::Error as E;
        let kind = if matches!(error, E::UnknownArch { .. }) { Kind::Usage } else { Kind::Data };
        Self::new(kind, error)
    }
}

impl From<eqo_datasets::Error> for Failure {
    fn from(error: eqo_datasets::Error) -> Self {
        use eqo_datasets::Error as E;
        let kind = match error {
            E::Request { .. } | E::HttpStatus { .. } | E::HttpLength { .. } | E::Interrupted { .. } => {
                Kind::Peer
            }
            E::UnknownDataset { .. } | E::Resize { .. } => Kind::Usage,
            _ => Kind::Data,
        };
        Self::new(kind, error)
    }
}

impl From<eqo_protocol::Error> for Failure {
    fn from(error: eqo_protocol::Error) -> Self {
        use eqo_protocol::Error as E;
        let kind = match error {
            E::Config { .. } => Kind::Usage,
            E::Credentials { .. } => Kind::Data,
            _ => Kind::Peer,
        };
        Self::new(kind, error)
    }
}

#[cfg(feature = "train")]
impl From<eqo_train::recipe::RecipeError> for Failure {
    fn from(error: eqo_train::recipe::RecipeError) -> Self {
        Self::new(Kind::Usage, error)
    }
}

#[cfg(feature = "train")]
impl From<eqo_train::Error> for Failure {
    fn from(error: eqo_train::Error) -> Self {
        use eqo_train::Error as E;
        match error {
            E::Arch(error) => error.into(),
            E::Dataset(error) => error.into(),
            E::Interrupted { .. } => Self::new(Kind::Stopped, error),
            E::Device { .. }
            | E::Plan { .. }
            | E::Config { .. }
            | E::Projection { .. }
            | E::Diverged { .. } => Self::new(Kind::Usage, error),
            _ => Self::new(Kind::Data, error),
        }
    }
}

#[cfg(feature = "train")]
impl From<eqo_quant::Error> for Failure {
    fn from(error: eqo_quant::Error) -> Self {
        use eqo_quant::Error as E;
        match error {
            E::Train(error) => error.into(),
            E::Recipe(error) => error.into(),
            E::Data(error) => error.into(),
            E::Checkpoint(error) => error.into(),
            E::Mismatch { .. } => Self::new(Kind::Check, error),
            E::Stopped { .. } => Self::new(Kind::Stopped, error),
            E::Allocation { .. } | E::Lowering { what: "ring", .. } => Self::new(Kind::Usage, error),
            _ => Self::new(Kind::Data, error),
        }
    }
}
