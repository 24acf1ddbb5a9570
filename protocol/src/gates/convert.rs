//! `[b] <- BitToArithmetic(<b>)`: an XOR-shared bit as additive shares in Z_{2^w} (CrypTFlow2, §5.1).
//!
//! `b = s ⊕ c = s + c − 2sc`, and `2sc` mod 2^w needs `sc` mod 2^(w−1) only: one COT of w − 1 bits with the server's
//! bit as correlation and the client's as choice.
//!
//! *Privacy*: the choice is masked by a random bit, the correction by the unknown pad of the OT.
//! *Cost*: `ceil(n / 8)` bytes to the server, `ceil(n(w−1) / 8)` to the client; 2 rounds, n OTs sent by the server.

use super::Party;
use crate::Error;

/// Shares of `bits` in Z_{2^ring_bits}, 2 to 64.
///
/// # Errors
/// Those of the channel and of an empty stock of OTs.
pub fn bit_to_arithmetic(party: &mut Party, bits: &[bool], ring_bits: u32) -> Result<Vec<u64>, Error> {
    let width = move |_| ring_bits - 1;
    let products = if party.is_server() {
        let values: Vec<u64> = bits.iter().copied().map(u64::from).collect();
        party.ots.cot_send_scalars(party.channel, &values, width)?
    } else {
        party.ots.cot_recv_scalars(party.channel, bits, width)?
    };
    let share = |(&bit, product): (&bool, u64)| u64::from(bit).wrapping_sub(product << 1);
    Ok(bits.iter().zip(products).map(share).collect())
}
