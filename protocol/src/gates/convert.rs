//! `[b] <- BitToArithmetic(<b>)` and `[b·x] <- Multiplex(<b>, [x])`: shared bits meet additive shares.
//!
//! *Conversion* (F_B2A of CrypTFlow2, eprint 2020/1002): `b = s ⊕ c = s + c − 2sc`, and `2sc` mod 2^w needs `sc` mod 2^(w−1) only: one COT of
//! w − 1 bits with the server's bit as correlation and the client's as choice.
//! *Multiplexer* (F_MUX of CrypTFlow2 with SiRNN's COT form, eprint 2021/459): each party is COT sender once; with its own bit s
//! and share `x_s`, `b·x_s = s·x_s + c·(1 − 2s)·x_s` where the peer's bit c is the choice. Both directions cross.
//!
//! *Privacy*: choices are masked by random bits, corrections by unknown pads.
//! *Cost* for n elements: conversion `ceil(n / 8)` bytes to the server, `ceil(n(w−1) / 8)` to the client, n OTs sent by the
//! server; multiplexer `ceil(n / 8)` then `ceil(nw / 8)` each way, n OTs in each direction; 2 rounds each.

use super::{Party, same_length, span};
use crate::Error;
use crate::ot::{ChosenOts, CotShape, OfferedOts, Ots};
use crate::ring::pack::{BitReader, BitWriter, packed_bytes};

/// Shares of `bits` in Z_{2^ring_bits}, 1 to 64; free for 1, where XOR is addition.
///
/// # Errors
/// [`Error::Exhausted`]; those of the channel.
pub fn bit_to_arithmetic(party: &mut Party, bits: &[bool], ring_bits: u32) -> Result<Vec<u64>, Error> {
    let _span = span("bit to arithmetic");
    if ring_bits == 1 {
        return Ok(bits.iter().copied().map(u64::from).collect());
    }
    let products = bit_products(party, bits, ring_bits - 1)?;
    let share = |(&bit, product): (&bool, u64)| u64::from(bit).wrapping_sub(product << 1);
    Ok(bits.iter().zip(products).map(share).collect())
}

/// Shares in Z_{2^ring_bits} of the product of the server's and the client's bit of each element.
///
/// # Errors
/// [`Error::Exhausted`]; those of the channel.
///
/// # Communication cost
/// `ceil(n / 8)` bytes to the server, `ceil(n·ring_bits / 8)` to the client; 2 rounds, n OTs sent by the server.
pub fn bit_products(party: &mut Party, bits: &[bool], ring_bits: u32) -> Result<Vec<u64>, Error> {
    let _span = span("bit products");
    if party.is_server() {
        let flips = party.channel.recv(packed_bytes(bits.len() as u64) as usize)?;
        let offered = party.ots.offer(bits.len(), &flips)?;
        let (message, shares) = correct(party.ots, offered, ring_bits, |j| u64::from(bits[j]))?;
        party.channel.send(message)?;
        return Ok(shares);
    }
    let (chosen, flips) = party.ots.choose(bits.to_vec())?;
    party.channel.send(flips)?;
    let message = party.channel.recv(packed_bytes(bits.len() as u64 * u64::from(ring_bits)) as usize)?;
    open(party.ots, chosen, ring_bits, &message)
}

/// Shares of `bits[i] · values[i]` in Z_{2^ring_bits}, 1 to 64.
///
/// # Errors
/// [`Error::Config`] if the lengths differ; [`Error::Exhausted`]; those of the channel.
pub fn multiplex(
    party: &mut Party,
    bits: &[bool],
    values: &[u64],
    ring_bits: u32,
) -> Result<Vec<u64>, Error> {
    let _span = span("multiplex");
    same_length("values", bits.len(), values.len())?;
    let (chosen, flips) = party.ots.choose(bits.to_vec())?;
    let flips = party.channel.exchange(flips)?;
    let offered = party.ots.offer(bits.len(), &flips)?;
    let signed = |j: usize| if bits[j] { values[j].wrapping_neg() } else { values[j] };
    let (message, sent) = correct(party.ots, offered, ring_bits, signed)?;
    let message = party.channel.exchange(message)?;
    let received = open(party.ots, chosen, ring_bits, &message)?;
    let own = bits.iter().zip(values).map(|(&bit, &value)| u64::from(bit).wrapping_mul(value));
    let crossed = sent.iter().zip(&received).map(|(sent, received)| sent.wrapping_add(*received));
    Ok(own.zip(crossed).map(|(own, crossed)| own.wrapping_add(crossed)).collect())
}

/// The corrections of scalar COTs and the sender's shares.
fn correct(
    ots: &mut Ots,
    offered: OfferedOts,
    bits: u32,
    correlation: impl Fn(usize) -> u64,
) -> Result<(Vec<u8>, Vec<u64>), Error> {
    let mut message = BitWriter::with_capacity(offered.count() as u64 * u64::from(bits));
    let mut shares = Vec::with_capacity(offered.count());
    ots.offered_pads(
        offered,
        |_| CotShape { lanes: 1, bits },
        |j, zero, one| {
            message.put(zero[0].wrapping_sub(one[0]).wrapping_add(correlation(j)), bits);
            shares.push(zero[0].wrapping_neg());
            Ok(())
        },
    )?;
    Ok((message.finish(), shares))
}

/// The receiver's shares of scalar COTs.
fn open(ots: &mut Ots, chosen: ChosenOts, bits: u32, message: &[u8]) -> Result<Vec<u64>, Error> {
    let mut corrections = BitReader::new(message);
    let mut shares = Vec::with_capacity(chosen.choices().len());
    ots.chosen_pads(
        chosen,
        |_| CotShape { lanes: 1, bits },
        |_, choice, pad| {
            let correction = corrections.get(bits) & u64::from(choice).wrapping_neg();
            shares.push(pad[0].wrapping_add(correction));
            Ok(())
        },
    )?;
    Ok(shares)
}
