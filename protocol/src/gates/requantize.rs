//! `[clamp((y + 2^(s−1)) >> s, 0, 2^a − 1)] <- Requantize([y])`: shift, ReLU and saturation in one gate.
//!
//! The server adds 2^(s−1) to its share. [`compare`] gives the carry of the low s bits, the sign, and the sign of
//! `y − 2^(a+s)`. With `t = (y_s >> s) + (y_c >> s) + carry` and w = a + 1,
//!
//! ```text
//! positive·t − saturated·(t − (2^a − 1))   in Z_{2^w}
//! ```
//!
//! is the clamped value: it is 0 for negative y, t if `t < 2^a`, else 2^a − 1 (saturated implies positive).
//!
//! *Range*: `−2^(l−1) + 2^(a+s) <= y < 2^(l−1) − 2^(s−1)`, which the range proof grants; `s + a < l`.
//! *Privacy*: a composition of [`compare`], [`bit_to_arithmetic`] and [`multiplex`], whose outputs are fresh shares.
//! *Rounds*: at most 6 + depth of the deepest tree, whatever the number of groups. *Source*: the fusion is this project's
//! (DESIGN §4), the parts are CrypTFlow2's.

use eqo_checkpoints::arith::{mask, reduce};
use eqo_checkpoints::cost::Group;

use super::Party;
use super::compare::{Section, compare};
use super::convert::bit_to_arithmetic;
use super::multiplex::multiplex;
use crate::Error;

/// Requantizes the accumulators of `groups`, which follow each other in `shares`, each channel with `lanes` elements.
/// Returns shares in Z_{2^(act_bits + 1)} in the same order.
///
/// # Errors
/// Those of the channel and of an empty stock of OTs.
pub fn requantize(
    party: &mut Party,
    groups: &[Group],
    act_bits: u8,
    lanes: usize,
    mut shares: Vec<u64>,
) -> Result<Vec<u64>, Error> {
    let server = party.is_server();
    let sections: Vec<Section> = groups.iter().map(|group| section(group, act_bits, lanes)).collect();
    if server {
        for_each_element(groups, lanes, &mut shares, |group, share| {
            *share = share.wrapping_add(1 << (group.shift - 1));
        });
    }
    let carries = compare(party, &sections, &shares)?;
    let mut selectors = Vec::with_capacity(2 * shares.len());
    signs(&mut selectors, groups, (lanes, &shares), &carries.sign, |_, share| share);
    signs(&mut selectors, groups, (lanes, &shares), &carries.saturation, |group, share| {
        let saturation = u64::from(server) << (group.shift + act_bits);
        share.wrapping_sub(saturation)
    });
    if server {
        selectors.iter_mut().for_each(|bit| *bit = !*bit);
    }

    let width = act_bits + 1;
    let carry = bit_to_arithmetic(party, &carries.carry, u32::from(width))?;
    for_each_element(groups, lanes, &mut shares, |group, share| {
        *share = (*share & mask(group.ring)) >> group.shift;
    });
    let largest = if server { mask(act_bits) } else { 0 };
    let shifted: Vec<u64> = shares.iter().zip(carry).map(|(high, carry)| high.wrapping_add(carry)).collect();
    let excess = shifted.iter().map(|t| t.wrapping_sub(largest));
    let values: Vec<u64> = shifted.iter().copied().chain(excess).collect();
    let products = multiplex(party, &selectors, &values, u32::from(width))?;
    let (positive, saturated) = products.split_at(shares.len());
    let clamp = |(t, over): (&u64, &u64)| reduce(t.wrapping_sub(*over) as i64, width);
    Ok(positive.iter().zip(saturated).map(clamp).collect())
}

fn section(group: &Group, act_bits: u8, lanes: usize) -> Section {
    Section {
        comparison: group.comparison(act_bits),
        elements: group.channels.len() * lanes,
        saturation_bit: group.shift + act_bits,
    }
}

/// Appends shares of the sign bit of every element: its share's own top bit and its share of the carry into it.
fn signs(
    signs: &mut Vec<bool>,
    groups: &[Group],
    (lanes, shares): (usize, &[u64]),
    carries: &[bool],
    adjust: impl Fn(&Group, u64) -> u64,
) {
    let mut at = 0;
    for group in groups {
        for _ in 0..group.channels.len() * lanes {
            let top = adjust(group, shares[at]) >> (group.ring - 1) & 1 == 1;
            signs.push(top ^ carries[at]);
            at += 1;
        }
    }
}

fn for_each_element(groups: &[Group], lanes: usize, shares: &mut [u64], change: impl Fn(&Group, &mut u64)) {
    let mut rest = shares;
    for group in groups {
        let (own, tail) = rest.split_at_mut(group.channels.len() * lanes);
        own.iter_mut().for_each(|share| change(group, share));
        rest = tail;
    }
}
