//! `[x] in Z_{2^L} <- Extend([x] in Z_{2^(a+1)})` for `0 <= x < 2^a`: the top bit of x is known to be 0.
//!
//! The two shares wrap exactly if one of them has its top bit set: `wrap = m_s ∨ m_c = m_s + m_c − m_s·m_c`. So
//! `x = x_s + x_c − wrap·2^(a+1)`, and only `m_s·m_c` mod 2^(L−a−1) needs interaction: one COT.
//!
//! *Privacy*: as for every COT. *Cost* for n elements: `ceil(n / 8)` bytes to the server, `ceil(n(L−a−1) / 8)` to the
//! client; 2 rounds, n OTs sent by the server. Free if L <= a + 1. *Source*: Cheetah (eprint 2022/207) §4 states the
//! known-MSB idea; DESIGN §4 states the one-COT form.

use super::Party;
use crate::Error;

/// Shares of activations of `act_bits` bits in Z_{2^ring_bits} from shares in Z_{2^(act_bits + 1)}, reduced.
///
/// # Errors
/// Those of the channel and of an empty stock of OTs.
pub fn extend(party: &mut Party, act_bits: u8, ring_bits: u8, shares: Vec<u64>) -> Result<Vec<u64>, Error> {
    let narrow = act_bits + 1;
    if ring_bits <= narrow {
        return Ok(shares);
    }
    let width = move |_| u32::from(ring_bits - narrow);
    let top = |share: &u64| share >> act_bits & 1;
    let products = if party.is_server() {
        let tops: Vec<u64> = shares.iter().map(top).collect();
        party.ots.cot_send_scalars(party.channel, &tops, width)?
    } else {
        let tops: Vec<bool> = shares.iter().map(|share| top(share) == 1).collect();
        party.ots.cot_recv_scalars(party.channel, &tops, width)?
    };
    let wide = |(share, product): (&u64, u64)| {
        let wrap = top(share).wrapping_sub(product);
        share.wrapping_sub(wrap << narrow)
    };
    Ok(shares.iter().zip(products).map(wide).collect())
}
