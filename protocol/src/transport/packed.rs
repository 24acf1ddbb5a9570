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
        while self.writer.complete() >= MAX_FRAME {
            let next = self.channel.buffer(MAX_FRAME);
            self.channel.send(self.writer.take_front(MAX_FRAME, next))?;
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
    frame: Vec<u8>,
    position: usize,
    to_come: usize,
}

impl<'c> PackedRecv<'c> {
    /// Expects a message of `len` bytes.
    pub(crate) fn new(channel: &'c mut Channel, len: usize) -> Self {
        Self { channel, frame: Vec::new(), position: 0, to_come: len }
    }

    /// Fills `values` with the next `bits`-bit elements; bits past the end read as zero.
    pub(crate) fn get_all(&mut self, values: &mut [u64], bits: u32) -> Result<(), Error> {
        let mut rest = values;
        loop {
            let left = 8 * self.frame.len() - self.position;
            let here = if self.to_come == 0 { rest.len() } else { rest.len().min(left / bits as usize) };
            let (whole, after) = rest.split_at_mut(here);
            self.read(whole, bits);
            let Some((seam, after)) = after.split_first_mut() else { return Ok(()) };
            *seam = self.across(bits)?;
            rest = after;
        }
    }

    /// One element that ends in a later frame.
    fn across(&mut self, bits: u32) -> Result<u64, Error> {
        let (mut element, mut have) = (0, 0);
        while have < bits {
            let left = (8 * self.frame.len() - self.position).min((bits - have) as usize) as u32;
            if left > 0 {
                let mut part = [0];
                self.read(&mut part, left);
                element |= part[0] << have;
                have += left;
            } else if self.to_come > 0 {
                self.next_frame()?;
            } else {
                break;
            }
        }
        Ok(element)
    }

    /// Reads from the frame alone.
    fn read(&mut self, values: &mut [u64], bits: u32) {
        BitReader::at(&self.frame, self.position).get_all(values, bits);
        self.position = (self.position + values.len() * bits as usize).min(8 * self.frame.len());
    }

    fn next_frame(&mut self) -> Result<(), Error> {
        let frame = self.channel.recv(self.to_come.min(MAX_FRAME))?;
        self.to_come -= frame.len();
        self.position = 0;
        self.channel.recycle(std::mem::replace(&mut self.frame, frame));
        Ok(())
    }
}

impl Drop for PackedRecv<'_> {
    fn drop(&mut self) {
        self.channel.recycle(std::mem::take(&mut self.frame));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::mask;
    use crate::ring::pack::packed_bytes;
    use crate::testing::two_party;

    #[test]
    fn runs_of_any_width_cross_frames_whole() {
        // Odd widths and lengths, so that elements and runs lie across the ends of several frames.
        let runs: Vec<(u32, usize)> = (0..40_000)
            .map(|i| (i * 7 % 64 + 1, (i * 13 % 37) as usize))
            .chain([(64, 5), (3, 2), (1, 1)])
            .collect();
        let value = |i: usize| (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let values: Vec<u64> = (0..40).map(value).collect();
        let bits: u64 = runs.iter().map(|(bits, count)| u64::from(*bits) * *count as u64).sum();
        assert!(bits > 8 * 2 * MAX_FRAME as u64);
        two_party(
            |channel, _| {
                let mut message = PackedSend::new(channel);
                runs.iter().try_for_each(|(bits, count)| message.put_all(&values[..*count], *bits))?;
                message.finish()
            },
            |channel, _| {
                let mut message = PackedRecv::new(channel, packed_bytes(bits) as usize);
                for (bits, count) in &runs {
                    let mut read = vec![1; *count];
                    message.get_all(&mut read, *bits)?;
                    assert!(read.iter().zip(&values).all(|(read, value)| *read == value & mask(*bits)));
                }
                let mut past = [1, 1];
                message.get_all(&mut past, 64)?;
                assert_eq!(past[1], 0);
                Ok(())
            },
        );
    }
}
