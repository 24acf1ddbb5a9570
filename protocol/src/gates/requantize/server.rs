//! The server's requantization: prepared without a share of y, finished with it.

use eqo_checkpoints::arith::mask;
use eqo_checkpoints::cost::MASK_BITS;
use rand::RngExt;
use zeroize::Zeroizing;

use super::{Common, Masks, Online, Requantization, decide};
use crate::Error;
use crate::gates::compare::{OfferedLeaves, leaf_ots, merge, triples};
use crate::gates::multiplier::{Bits, Narrow, Pads, recv_client_part, send_server_part};
use crate::gates::{Party, span};
use crate::ot::{BitTriples, ChosenOts, CotShape, OfferedOts};
use crate::ring::pack::{BitWriter, packed_bytes};

/// After the first message.
pub struct ServerDrawn {
    masks: BitTriples,
    levels: Vec<BitTriples>,
    wraps: OfferedOts,
    betas: ChosenOts,
}

/// After the second message.
pub struct ServerCorrecting {
    leaves: OfferedLeaves,
    /// What gives the client its shares of the masks.
    corrections: Vec<u8>,
    /// Both pads of the COTs that multiply β by the server's T.
    multiplier: Pads,
    levels: Vec<BitTriples>,
    masks: Masks,
    client_part: Narrow,
    wraps: OfferedOts,
}

/// Prepared; serves once.
pub struct ServerPrepared {
    leaves: OfferedLeaves,
    multiplier: Pads,
    common: Common,
}

impl Requantization {
    /// First message, to the client: how the server's shares of β choose.
    ///
    /// # Errors
    /// [`Error::Exhausted`]; those of the channel.
    pub fn server_draw(&self, party: &mut Party) -> Result<ServerDrawn, Error> {
        let masks = party.ots.bit_triples(self.elements())?;
        let levels = triples(party.ots, &self.sections)?;
        let wraps = self.widening().server_draw(party)?;
        let (betas, flips) = party.ots.choose(masks.b.clone())?;
        party.channel.send(flips)?;
        Ok(ServerDrawn { masks, levels, wraps, betas })
    }

    /// Second message, from the client: its choices and the corrections for β·T_c.
    ///
    /// # Errors
    /// [`Error::Exhausted`]; those of the channel.
    pub fn server_offer(&self, party: &mut Party, drawn: ServerDrawn) -> Result<ServerCorrecting, Error> {
        let _span = span("requantize");
        let count = self.elements();
        let leaf_ots = leaf_ots(&self.sections);
        let choices = leaf_ots + MASK_BITS as usize * count;
        let flips = party.channel.recv(packed_bytes(choices as u64) as usize)?;
        let mut offered = party.ots.offer(choices, &flips)?;
        let mask_ots = offered.split_off(leaf_ots);
        let leaves = OfferedLeaves::new(party.ots, offered, &self.sections)?;

        let saturated = Bits::new((0..count).map(|_| party.rng.random()).collect());
        let bits = Masks::bits(&drawn.masks, &saturated);
        let (corrections, shares, multiplier) = self.correct_masks(party, mask_ots, &bits)?;
        let client_part = recv_client_part(party, drawn.betas, u32::from(self.narrow()))?;
        let masks = Masks::new(&bits, shares);
        let ServerDrawn { levels, wraps, .. } = drawn;
        Ok(ServerCorrecting { leaves, corrections, multiplier, levels, masks, client_part, wraps })
    }

    /// Third message, to the client: corrections for the masks and the wraps.
    ///
    /// # Errors
    /// Those of the channel.
    pub fn server_correct(
        &self,
        party: &mut Party,
        state: ServerCorrecting,
    ) -> Result<ServerPrepared, Error> {
        let _span = span("requantize");
        let ServerCorrecting { leaves, corrections, multiplier, levels, masks, client_part, wraps } = state;
        party.channel.send(corrections)?;
        let wraps = self.widening().server_correct(party, wraps)?;
        Ok(ServerPrepared { leaves, multiplier, common: Common { levels, masks, client_part, wraps } })
    }

    /// The server's shares of the activations from its shares of y.
    ///
    /// # Errors
    /// Those of the channel.
    pub fn server_run(
        &self,
        party: &mut Party,
        prepared: ServerPrepared,
        shares: &[u64],
    ) -> Result<Vec<u64>, Error> {
        let _span = span("requantize");
        let ServerPrepared { leaves, multiplier, common } = prepared;
        let mut rounded = Zeroizing::new(Vec::with_capacity(shares.len()));
        self.for_each(shares, |group, share| rounded.push(share.wrapping_add(1 << (group.shift - 1))));
        let high = self.high(&rounded);
        let (betas, width) = (&common.masks.in_range, u32::from(self.narrow()));
        let server_part = send_server_part(party, &multiplier, (betas, &high), width)?;
        let leaves = leaves.send(party, &self.sections, &rounded)?;
        let mut tops = Vec::with_capacity(rounded.len());
        self.for_each(&rounded, |group, share| {
            let top = |share: u64| share >> (group.ring - 1) & 1 == 1;
            tops.push([top(share), top(share.wrapping_sub(1 << (group.shift + self.act_bits)))]);
        });
        let Common { levels, masks, client_part, wraps } = common;
        let carries = merge(party, &self.sections, &leaves, levels)?;
        let (in_range, saturated) = decide(&carries, &tops, true);
        let common = Common { levels: Vec::new(), masks, client_part, wraps };
        let online = Online { in_range, carry: carries.carry, saturated, high, server_part };
        self.finish(party, common, online)
    }

    /// Additive shares of shared bits: `b = s + c − 2sc`, where `sc` mod 2^(w−1) is a COT with the server's bit as correlation
    /// (F_B2A of CrypTFlow2). The pads of the β have a second lane for the multiplier.
    fn correct_masks(
        &self,
        party: &mut Party,
        ots: OfferedOts,
        bits: &[bool],
    ) -> Result<(Vec<u8>, Narrow, Pads), Error> {
        let (count, width) = (self.elements(), u32::from(self.narrow()));
        let mut corrections = BitWriter::with_capacity(bits.len() as u64 * u64::from(width - 1));
        let mut shares = Narrow::new(Vec::with_capacity(bits.len()));
        let mut multiplier = Pads::new(Vec::with_capacity(count));
        let shape = |j| CotShape { lanes: if j < count { 2 } else { 1 }, bits: width };
        party.ots.offered_pads(ots, shape, |j, zero, one| {
            let bit = u64::from(bits[j]);
            corrections.put(zero[0].wrapping_sub(one[0]).wrapping_add(bit), width - 1);
            shares.push((bit.wrapping_add(zero[0] << 1) & mask(self.narrow())) as u16);
            if j < count {
                multiplier.push([zero[1] as u16, one[1] as u16]);
            }
            Ok(())
        })?;
        Ok((corrections.finish(), shares, multiplier))
    }
}
