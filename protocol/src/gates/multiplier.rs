//! `[β·T] <- <β>, [T]` for random bits β, with all of it prepared that doesn't need the server's share of T.
//!
//! `β·T = β·T_c + β·T_s`, and each party's part is its own bit times its value plus a COT in which the other's bit chooses:
//! `β·T_c = β_c·T_c + β_s·(1 − 2β_c)·T_c`, whose correction the client sends as soon as it knows `T_c`, offline;
//! `β·T_s = β_s·T_s + β_c·(1 − 2β_s)·T_s`, whose choice is fixed offline, so that only a correction is sent online.
//!
//! *Privacy*: a correction is masked by the pad that the other party's choice leaves unknown to it.
//! *Cost* for n values of w bits: `ceil(nw / 8)` bytes to the server offline, as many to the client online; one OT sent by each party.

use zeroize::Zeroizing;

use super::Party;
use crate::Error;
use crate::ot::{ChosenOts, CotShape, OfferedOts};
use crate::ring::mask;
use crate::ring::pack::{BitReader, BitWriter, packed_bytes};

/// A bit for each element, wiped when dropped.
pub(super) type Bits = Zeroizing<Vec<bool>>;

/// Elements of rings of at most 16 bits.
pub(super) type Narrow = Zeroizing<Vec<u16>>;

/// Both pads of each OT.
pub(super) type Pads = Zeroizing<Vec<[u16; 2]>>;

/// The client's shares of β·T_c: `bits` are its β, `values` its T.
pub(super) fn send_client_part(
    party: &mut Party,
    ots: OfferedOts,
    (bits, values): (&[bool], &[u16]),
    width: u32,
) -> Result<Narrow, Error> {
    let mut corrections = BitWriter::with_capacity(values.len() as u64 * u64::from(width));
    let mut shares = Narrow::new(Vec::with_capacity(values.len()));
    party.ots.offered_pads(
        ots,
        |_| CotShape { lanes: 1, bits: width },
        |j, zero, one| {
            let value = u64::from(values[j]);
            let (signed, own) = if bits[j] { (value.wrapping_neg(), value) } else { (value, 0) };
            corrections.put(zero[0].wrapping_sub(one[0]).wrapping_add(signed), width);
            shares.push((own.wrapping_sub(zero[0]) & mask(width)) as u16);
            Ok(())
        },
    )?;
    party.channel.send(corrections.finish())?;
    Ok(shares)
}

/// The server's shares of β·T_c, its β being the choices.
pub(super) fn recv_client_part(party: &mut Party, ots: ChosenOts, width: u32) -> Result<Narrow, Error> {
    let count = ots.choices().len();
    let message = party.channel.recv(packed_bytes(count as u64 * u64::from(width)) as usize)?;
    let mut corrections = BitReader::new(&message);
    let mut shares = Narrow::new(Vec::with_capacity(count));
    party.ots.chosen_pads(
        ots,
        |_| CotShape { lanes: 1, bits: width },
        |_, choice, pad| {
            let correction = corrections.get(width) & u64::from(choice).wrapping_neg();
            shares.push((pad[0].wrapping_add(correction) & mask(width)) as u16);
            Ok(())
        },
    )?;
    Ok(shares)
}

/// The server's shares of β·T_s: `bits` are its β, `values` its T, `pads` those that the client's β choose from.
pub(super) fn send_server_part(
    party: &mut Party,
    pads: &Pads,
    (bits, values): (&[bool], &[u16]),
    width: u32,
) -> Result<Narrow, Error> {
    let mut corrections = BitWriter::with_capacity(values.len() as u64 * u64::from(width));
    let mut shares = Narrow::new(Vec::with_capacity(values.len()));
    for ((&[zero, one], &value), &bit) in pads.iter().zip(values).zip(bits) {
        let (signed, own) = if bit { (value.wrapping_neg(), value) } else { (value, 0) };
        corrections.put(u64::from(zero.wrapping_sub(one).wrapping_add(signed)), width);
        shares.push(own.wrapping_sub(zero) & mask(width) as u16);
    }
    party.channel.send(corrections.finish())?;
    Ok(shares)
}

/// The client's shares of β·T_s: `bits` are its β, `pads` those they chose.
pub(super) fn recv_server_part(
    party: &mut Party,
    pads: &Narrow,
    bits: &[bool],
    width: u32,
) -> Result<Narrow, Error> {
    let message = party.channel.recv(packed_bytes(pads.len() as u64 * u64::from(width)) as usize)?;
    let mut corrections = BitReader::new(&message);
    let open = |(pad, choice): (&u16, &bool)| {
        let correction = corrections.get(width) & u64::from(*choice).wrapping_neg();
        (u64::from(*pad).wrapping_add(correction) & mask(width)) as u16
    };
    Ok(Narrow::new(pads.iter().zip(bits).map(open).collect()))
}
