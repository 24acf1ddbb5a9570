//! What can be wrong with a checkpoint, and where.

use std::path::PathBuf;

/// A checkpoint, graph or architecture that can't be used; each message names where, expected, found, next step.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused a file operation.
    #[error(
        "{path}: {action} failed: {source}. Check that the path exists, is writable and the disk has room."
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried ("read", "write", "rename").
        action: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A node of an architecture or graph breaks a rule of its operation.
    #[error("node {node}: {what}: expected {expected}, found {found}. {next}")]
    Node {
        /// The node's name.
        node: String,
        /// What was looked at ("stride", "tap shifts").
        what: &'static str,
        /// The rule.
        expected: String,
        /// What is there.
        found: String,
        /// What to do about it.
        next: &'static str,
    },
    /// The file as a whole isn't a checkpoint this version can read.
    #[error("{file}: {what}: expected {expected}, found {found}. {next}")]
    File {
        /// The file's path or "checkpoint" for bytes in memory.
        file: String,
        /// What was looked at ("version", "tensor conv1.u").
        what: String,
        /// The rule.
        expected: String,
        /// What is there.
        found: String,
        /// What to do about it.
        next: &'static str,
    },
    /// A node of the graph inside a file breaks a rule.
    #[error("{file}: {fault}")]
    InFile {
        /// The file's path or "checkpoint" for bytes in memory.
        file: String,
        /// What is wrong inside.
        fault: Box<Error>,
    },
    /// An image that isn't of the graph's shape.
    #[error(
        "image: expected {} bytes for [channels, height, width] = {expected:?}, found {found}. Resize the image to the graph's input.",
        .expected.iter().product::<usize>()
    )]
    Image {
        /// Channels, height and width.
        expected: [usize; 3],
        /// Bytes given.
        found: usize,
    },
    /// No architecture has this name.
    #[error("architecture {found}: expected one of {expected}. Pass one of these with --arch.")]
    UnknownArch {
        /// What was asked for.
        found: String,
        /// The known names.
        expected: String,
    },
}

impl Error {
    /// A broken rule at `node`.
    pub fn node(
        node: &str,
        what: &'static str,
        expected: impl ToString,
        found: impl ToString,
        next: &'static str,
    ) -> Self {
        Self::Node {
            node: node.to_owned(),
            what,
            expected: expected.to_string(),
            found: found.to_string(),
            next,
        }
    }

    /// A file that can't be read as a whole.
    pub fn file(
        file: &str,
        what: impl ToString,
        expected: impl ToString,
        found: impl ToString,
        next: &'static str,
    ) -> Self {
        Self::File {
            file: file.to_owned(),
            what: what.to_string(),
            expected: expected.to_string(),
            found: found.to_string(),
            next,
        }
    }

    /// The same fault with the name of the file it is in.
    pub(crate) fn in_file(self, file: &str) -> Self {
        Self::InFile { file: file.to_owned(), fault: Box::new(self) }
    }
}
