//! `[x] <- Remask([x], R)`: the client's share becomes R, which it drew before it knew x.
//!
//! The client sends `x_c − R` in the ring of all readers of x, and the server adds it to its share. Whatever is linear in x can
//! then be prepared with R alone.
//!
//! *Privacy*: R is uniform and masks one value only. *Cost*: `ceil(n·L / 8)` bytes to the server, 1 round.

use super::{Party, span};
use crate::Error;
use crate::ring::mask;
use crate::transport::{PackedRecv, PackedSend};

/// Elements that are packed at a time.
const CHUNK: usize = 1 << 12;

/// The client's side. `share` and `mask` have the same length; a ring of 0 bits (nobody reads x) sends nothing.
///
/// # Errors
/// Those of the channel.
pub fn send_masked(party: &mut Party, ring_bits: u8, share: &[u64], mask: &[u64]) -> Result<(), Error> {
    let _span = span("mask");
    if ring_bits == 0 {
        return Ok(());
    }
    let mut message = PackedSend::new(party.channel);
    let mut masked = Vec::with_capacity(CHUNK);
    for (share, mask) in share.chunks(CHUNK).zip(mask.chunks(CHUNK)) {
        masked.clear();
        masked.extend(share.iter().zip(mask).map(|(share, mask)| share.wrapping_sub(*mask)));
        message.put_all(&masked, u32::from(ring_bits))?;
    }
    message.finish()
}

/// The server's side: adds what the client sends to its own share.
///
/// # Errors
/// Those of the channel.
pub fn add_masked(party: &mut Party, ring_bits: u8, share: &mut [u64]) -> Result<(), Error> {
    let _span = span("mask");
    if ring_bits == 0 {
        return Ok(());
    }
    let bits = u32::from(ring_bits);
    let bytes = crate::ring::pack::packed_bytes(share.len() as u64 * u64::from(bits));
    let mut message = PackedRecv::new(party.channel, bytes as usize);
    let mut masked = vec![0; CHUNK.min(share.len())];
    for share in share.chunks_mut(CHUNK) {
        let masked = &mut masked[..share.len()];
        message.get_all(masked, bits)?;
        share.iter_mut().zip(masked).for_each(|(share, masked)| {
            *share = share.wrapping_add(*masked) & mask(bits);
        });
    }
    Ok(())
}
