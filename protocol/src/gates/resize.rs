//! `[x] in Z_{2^L} <- Extend([x] in Z_{2^l})` and `[x >> s] in Z_{2^(l−s)} <- Truncate([x])`, for shares that neither party knew
//! before.
//!
//! Both need a carry of the addition of the two shares as an additive share: `x = x_s + x_c − 2^l·wrap`, and
//! `x >> s = (x_s >> s) + (x_c >> s) + carry`.
//! - Extension of `0 <= x < 2^(l−1)`, whose top bit is known to be 0: the shares wrap exactly if one of them has its top bit
//!   set, `wrap = m_s ∨ m_c = m_s + m_c − m_s·m_c`, so only `m_s·m_c` mod 2^(L−l) needs interaction: one COT
//!   (Cheetah, eprint 2022/207, §4; SiRNN, eprint 2021/459, §3 states the problem).
//! - Extension of any x: the wrap is a comparison of l bits, then converted. Signed values are moved by 2^(l−1) before and after.
//! - Truncate-and-reduce: the carry of the low s bits, converted (SiRNN, §3.2).
//!
//! *Privacy*: compositions of [`compare`](super::compare) and COTs, all of whose outputs are fresh shares.
//! *Cost* for n elements: known top bit `ceil(n / 8)` bytes to the server and `ceil(n(L−l) / 8)` to the client, 2 rounds, n OTs
//! sent by the server; the others a comparison of l or s bits and a conversion to L − l or l − s bits.

use eqo_checkpoints::cost::Comparison;

use super::compare::{Section, carry};
use super::convert::{bit_products, bit_to_arithmetic};
use super::{Party, span};
use crate::Error;
use crate::ring::mask;

/// Extends shares in Z_{2^from} of `0 <= x < 2^(from−1)` to Z_{2^to}; they stay as they are if `to <= from`.
///
/// # Errors
/// [`Error::Exhausted`]; those of the channel.
pub fn extend_known_msb(
    party: &mut Party,
    (from, to): (u32, u32),
    shares: &[u64],
) -> Result<Vec<u64>, Error> {
    let _span = span("extend");
    if to <= from {
        return Ok(shares.to_vec());
    }
    let tops: Vec<bool> = shares.iter().map(|share| share >> (from - 1) & 1 == 1).collect();
    let products = bit_products(party, &tops, to - from)?;
    let wide = |((share, &top), product): ((&u64, &bool), u64)| {
        (share & mask(from)).wrapping_sub(u64::from(top).wrapping_sub(product) << from)
    };
    Ok(shares.iter().zip(&tops).zip(products).map(wide).collect())
}

/// Extends shares of signed integers to Z_{2^to}; `from` lists the widths before and how many elements have them, each less
/// than `to`.
///
/// # Errors
/// [`Error::Exhausted`]; those of the channel.
pub fn extend_signed(
    party: &mut Party,
    (from, to): (&[(u32, usize)], u32),
    shares: &[u64],
) -> Result<Vec<u64>, Error> {
    let _span = span("extend");
    let widths = || from.iter().flat_map(|&(bits, count)| std::iter::repeat_n(bits, count));
    let server = u64::from(party.is_server());
    let half = |bits: u32| server << (bits - 1);
    let moved: Vec<u64> = shares
        .iter()
        .zip(widths())
        .map(|(share, bits)| share.wrapping_add(half(bits)) & mask(bits))
        .collect();
    let sections: Vec<Section> = from.iter().flat_map(|&(bits, count)| low_bits(bits, count)).collect();
    let room = to - from.iter().map(|(bits, _)| *bits).min().unwrap_or(to);
    let wraps = carry(party, &sections, &moved)?;
    let wraps = bit_to_arithmetic(party, &wraps, room)?;
    let wide =
        |((share, wrap), bits): ((&u64, u64), u32)| share.wrapping_sub(wrap << bits).wrapping_sub(half(bits));
    Ok(moved.iter().zip(wraps).zip(widths()).map(wide).collect())
}

/// Shares of `x >> shift` in Z_{2^(ring − shift)} from shares of x in Z_{2^ring}, both unsigned; `0 < shift < ring`.
///
/// # Errors
/// [`Error::Exhausted`]; those of the channel.
pub fn truncate_and_reduce(
    party: &mut Party,
    (ring, shift): (u32, u32),
    shares: &[u64],
) -> Result<Vec<u64>, Error> {
    let _span = span("truncate");
    let carries = carry(party, &low_bits(shift, shares.len()), shares)?;
    let carries = bit_to_arithmetic(party, &carries, ring - shift)?;
    let shifted = shares.iter().map(|share| (share & mask(ring)) >> shift);
    Ok(shifted.zip(carries).map(|(high, carry)| high.wrapping_add(carry)).collect())
}

fn low_bits(bits: u32, elements: usize) -> [Section; 1] {
    [Section { comparison: Comparison::carry_only(bits as u8), elements, saturation_bit: 0 }]
}
