//! Whole sessions, as honest parties have them.

use eqo_checkpoints::Checkpoint;
use eqo_checkpoints::testing::random_image;
use eqo_protocol::Error;
use eqo_protocol::ot::OtKind;
use eqo_protocol::session::client::{ClientConfig, connect};
use eqo_protocol::session::server::{ServerConfig, serve_connection};
use eqo_protocol::transport::Channel;

use crate::{Transcript, record};

/// What an honest server and an honest client say, whatever the messages of the protocol's version are.
pub fn honest(checkpoint: &Checkpoint, ot: OtKind) -> [Transcript; 2] {
    record(|channel| serve(channel, checkpoint).is_ok(), |channel| ask(channel, checkpoint, ot).is_ok())
}

/// The server's session.
///
/// # Errors
/// Those of the session.
pub fn serve(channel: Channel, checkpoint: &Checkpoint) -> Result<(), Error> {
    serve_connection(channel, checkpoint, &ServerConfig { max_batch: 4, ..ServerConfig::default() })
        .map(|_| ())
}

/// The client's session: a preparation, logits of two images, a class.
///
/// # Errors
/// Those of the session.
pub fn ask(channel: Channel, checkpoint: &Checkpoint, ot: OtKind) -> Result<(), Error> {
    let mut client = connect(channel, &ClientConfig { ot, ..ClientConfig::default() })?;
    let image = random_image(1, checkpoint);
    client.prepare(1)?;
    client.infer(&[&image, &image])?;
    client.classify(&[&image])?;
    client.close().map(|_| ())
}
