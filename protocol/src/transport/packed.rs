//! One long bit string over a channel, never held as a whole.

use super::{Channel, MAX_FRAME};
use crate::Error;
use crate::ring::pack::{BitReader, BitWriter};

/// Packs ring elements into a message and sends its frames as they fill up.
pub(crate) struct PackedSend<'c> {
    channel: &'c mut Channel,
    writer: BitWriter,
}

impl<'c> PackedSend<'c> {
    pub(crate) fn new(channel: &'c mut Channel) -> Self {
        Self { channel, writer: BitWriter::default() }
    }

    pub(crate) fn put_all(&mut self, values: &[u64], bits: u32) -> Result<(), Error> {
        self.writer.put_all(values, bits);
        while let Some(frame) = self.writer.take_front(MAX_FRAME) {
            self.channel.send(frame)?;
        }
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<(), Error> {
        self.channel.send(self.writer.finish())
    }
}

/// Receives what a [`PackedSend`] with the same sequence of widths sends.
pub(crate) struct PackedRecv<'c> {
    channel: &'c mut Channel,
    bytes: Vec<u8>,
    position: usize,
    to_come: usize,
}

impl<'c> PackedRecv<'c> {
    /// Expects a message of `len` bytes.
    pub(crate) fn new(channel: &'c mut Channel, len: usize) -> Self {
        Self { channel, bytes: Vec::new(), position: 0, to_come: len }
    }

    pub(crate) fn get_all(&mut self, values: &mut [u64], bits: u32) -> Result<(), Error> {
        let end = self.position + values.len() * bits as usize;
        if end > 8 * self.bytes.len() {
            self.refill(end)?;
        }
        let mut reader = BitReader::at(&self.bytes, self.position);
        reader.get_all(values, bits);
        self.position += values.len() * bits as usize;
        Ok(())
    }

    fn refill(&mut self, end: usize) -> Result<(), Error> {
        let read = self.position / 8;
        self.bytes.drain(..read);
        self.position -= 8 * read;
        while 8 * self.bytes.len() < end - 8 * read && self.to_come > 0 {
            let frame = self.channel.recv(self.to_come.min(MAX_FRAME))?;
            self.to_come -= frame.len();
            self.bytes.extend_from_slice(&frame);
        }
        Ok(())
    }
}
