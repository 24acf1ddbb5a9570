//! `y <- Open([y])`, to the client alone: the server sends its shares.
//!
//! *Privacy*: the server's share is the result minus the client's share, so the client learns the result only.
//! *Cost*: `ceil(Σ l / 8)` bytes to the client; 1 round.

use eqo_checkpoints::arith::to_signed;

use super::{Party, span};
use crate::Error;
use crate::ring::pack::{BitReader, BitWriter, packed_bytes};

/// The client's signed integers, `None` at the server. Element j is shared in Z_{2^ring(j)}.
///
/// # Errors
/// Those of the channel.
pub fn open(
    party: &mut Party,
    ring: impl Fn(usize) -> u8,
    shares: &[u64],
) -> Result<Option<Vec<i64>>, Error> {
    let _span = span("open");
    let bits: u64 = (0..shares.len()).map(|j| u64::from(ring(j))).sum();
    if party.is_server() {
        let mut message = BitWriter::with_capacity(bits);
        shares.iter().enumerate().for_each(|(j, &share)| message.put(share, u32::from(ring(j))));
        party.channel.send(message.finish())?;
        return Ok(None);
    }
    let message = party.channel.recv(packed_bytes(bits) as usize)?;
    let mut theirs = BitReader::new(&message);
    let value = |(j, share): (usize, &u64)| {
        let bits = ring(j);
        to_signed(theirs.get(u32::from(bits)).wrapping_add(*share), bits)
    };
    Ok(Some(shares.iter().enumerate().map(value).collect()))
}
