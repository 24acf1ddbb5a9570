//! `[b·x] <- Multiplex(<b>, [x])` in Z_{2^w} (CrypTFlow2, §5.1 with SiRNN's COT form, eprint 2021/459).
//!
//! Each party is COT sender once: with its own bit `s` and share `x_s`, `b·x_s = s·x_s + c·(1 − 2s)·x_s` where the
//! peer's bit c is the choice. Both directions cross.
//!
//! *Privacy*: choices are masked by random bits, corrections by unknown pads.
//! *Cost*: each way `ceil(n / 8)` then `ceil(nw / 8)` bytes; 2 rounds, n OTs in each direction.

use super::Party;
use crate::Error;

/// Shares of `bits[i] · values[i]` in Z_{2^ring_bits}, 1 to 64.
///
/// # Errors
/// Those of the channel and of an empty stock of OTs.
pub fn multiplex(
    party: &mut Party,
    bits: &[bool],
    values: &[u64],
    ring_bits: u32,
) -> Result<Vec<u64>, Error> {
    let sign = |&bit: &bool| 1_u64.wrapping_sub(u64::from(bit) << 1);
    let correlations: Vec<u64> =
        bits.iter().zip(values).map(|(bit, value)| sign(bit).wrapping_mul(*value)).collect();
    let (sent, received) =
        party.ots.cot_exchange_scalars(party.channel, &correlations, bits, |_| ring_bits)?;
    let own = bits.iter().zip(values).map(|(&bit, &value)| u64::from(bit).wrapping_mul(value));
    let crossed = sent.iter().zip(&received).map(|(sent, received)| sent.wrapping_add(*received));
    Ok(own.zip(crossed).map(|(own, crossed)| own.wrapping_add(crossed)).collect())
}
