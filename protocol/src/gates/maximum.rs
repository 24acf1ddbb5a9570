//! Signs, ReLU, the largest of several elements, and its place, for shares that neither party knew before.
//!
//! `<x < 0> <- Sign([x])` is the carry into the top bit XOR the shares' own top bits. The maximum goes through a binary tree:
//! `max(a, b) = a + [b − a > 0]·(b − a)`, and the place, shared as a small integer, follows the same selection. Of equal
//! elements the first wins, as in the plain engine.
//!
//! *Range*: differences must fit the ring: elements of l − 1 bits in Z_{2^l} ([`extend_signed`](super::resize::extend_signed)
//! makes room). *Privacy*: compositions of gates whose outputs are fresh shares. *Cost* of a level with n pairs: a comparison
//! of l − 1 bits and a multiplexer of n elements, with places one more of their width; rounds at most 4 + tree depth for each
//! of `⌈log2⌉` levels, 6 + tree depth with places.
//! *Source*: CrypTFlow2 (eprint 2020/1002) for signs; the tree after SecureML and Gazelle's max pooling.

use eqo_checkpoints::cost::Comparison;

use super::compare::{Section, carry};
use super::convert::multiplex;
use super::{Party, span};
use crate::Error;
use crate::ring::mask;

/// XOR shares of `x < 0` for signed x in Z_{2^ring}, 2 to 63.
///
/// # Errors
/// [`Error::Exhausted`]; those of the channel.
pub fn negative(party: &mut Party, ring: u32, shares: &[u64]) -> Result<Vec<bool>, Error> {
    let _span = span("sign");
    let comparison = Comparison::carry_only(ring as u8 - 1);
    let section = Section { comparison, elements: shares.len(), saturation_bit: 0 };
    let carries = carry(party, &[section], shares)?;
    Ok(shares.iter().zip(carries).map(|(share, carry)| (share >> (ring - 1) & 1 == 1) ^ carry).collect())
}

/// Shares of `max(x, 0)` for signed x in Z_{2^ring}, 2 to 63.
///
/// # Errors
/// [`Error::Exhausted`]; those of the channel.
pub fn relu(party: &mut Party, ring: u32, shares: &[u64]) -> Result<Vec<u64>, Error> {
    let _span = span("relu");
    let mut positive = negative(party, ring, shares)?;
    if party.is_server() {
        positive.iter_mut().for_each(|bit| *bit = !*bit);
    }
    multiplex(party, &positive, shares, ring)
}

/// Shares of the largest element of each window in Z_{2^ring}: max pooling. `windows` are `[window][element]` with `size`
/// elements each, signed integers of at most `ring − 1` bits.
///
/// # Errors
/// [`Error::Exhausted`]; those of the channel.
pub fn max_pool(party: &mut Party, (ring, size): (u32, usize), windows: &[u64]) -> Result<Vec<u64>, Error> {
    let _span = span("max pool");
    let candidates: Vec<Vec<[u64; 2]>> =
        windows.chunks_exact(size).map(|window| window.iter().map(|&x| [x, 0]).collect()).collect();
    let winners = tournament(party, (ring, 0), candidates)?;
    Ok(winners.into_iter().map(|[value, _]| value & mask(ring)).collect())
}

/// Shares in Z_{2^place_bits} of the place of the first largest element of each row; otherwise as [`max_pool`].
/// `place_bits` are 1 to 16 and must hold `size − 1`.
///
/// # Errors
/// [`Error::Exhausted`]; those of the channel.
pub fn argmax(
    party: &mut Party,
    (ring, size): (u32, usize),
    place_bits: u32,
    rows: &[u64],
) -> Result<Vec<u64>, Error> {
    let _span = span("argmax");
    let server = u64::from(party.is_server());
    let place = |(place, &value): (usize, &u64)| [value, server * place as u64];
    let candidates: Vec<Vec<[u64; 2]>> =
        rows.chunks_exact(size).map(|row| row.iter().enumerate().map(place).collect()).collect();
    let winners = tournament(party, (ring, place_bits), candidates)?;
    Ok(winners.into_iter().map(|[_, place]| place & mask(place_bits)).collect())
}

/// Plays neighbours against each other until each row has one candidate `[value, place]` left. Without place bits the places
/// stay behind.
fn tournament(
    party: &mut Party,
    (ring, place_bits): (u32, u32),
    mut rows: Vec<Vec<[u64; 2]>>,
) -> Result<Vec<[u64; 2]>, Error> {
    while rows.first().is_some_and(|row| row.len() > 1) {
        let pairs = || rows.iter().flat_map(|row| row.chunks_exact(2));
        let lead: Vec<u64> = pairs().map(|pair| pair[0][0].wrapping_sub(pair[1][0])).collect();
        let later_wins = negative(party, ring, &lead)?;
        let behind: Vec<u64> = lead.iter().map(|lead| lead.wrapping_neg()).collect();
        let gains = multiplex(party, &later_wins, &behind, ring)?;
        let moves = if place_bits == 0 {
            vec![0; gains.len()]
        } else {
            let steps: Vec<u64> = pairs().map(|pair| pair[1][1].wrapping_sub(pair[0][1])).collect();
            multiplex(party, &later_wins, &steps, place_bits)?
        };
        let mut deltas = gains.into_iter().zip(moves);
        for row in &mut rows {
            *row = row
                .chunks(2)
                .map(|pair| match (pair, pair.len()) {
                    ([winner, _], 2) => {
                        let (gain, step) = deltas.next().unwrap_or_default();
                        [winner[0].wrapping_add(gain), winner[1].wrapping_add(step)]
                    }
                    _ => pair[0],
                })
                .collect();
        }
    }
    Ok(rows.into_iter().filter_map(|row| row.first().copied()).collect())
}
