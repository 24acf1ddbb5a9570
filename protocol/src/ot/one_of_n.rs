//! signatures first
#![allow(clippy::todo, unused)]
use super::Ots;
use crate::Error;
use crate::transport::Channel;

impl Ots {
    /// Sender of 1-of-2^`digit_bits` OTs (1 to 4) of messages of `message_bits` bits (1 to 8). Instance j's messages are
    /// `messages[j << digit_bits ..][.. 1 << digit_bits]`, the low `message_bits` bits of each.
    ///
    /// # Communication cost
    /// n instances: receives `ceil(n * digit_bits / 8)`, then sends `ceil(n * 2^digit_bits * message_bits / 8)`. Two rounds.
    /// Uses `n * digit_bits` OTs as sender.
    pub fn one_of_n_send(
        &mut self,
        channel: &mut Channel,
        digit_bits: u32,
        message_bits: u32,
        messages: &[u8],
    ) -> Result<(), Error> {
        todo!()
    }
    /// Counterpart of [`Ots::one_of_n_send`]: returns message `digits[j]` of each instance.
    pub fn one_of_n_recv(
        &mut self,
        channel: &mut Channel,
        digit_bits: u32,
        message_bits: u32,
        digits: &[u8],
    ) -> Result<Vec<u8>, Error> {
        todo!()
    }
}
