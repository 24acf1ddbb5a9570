//! The client's requantization: prepared with its share of y, finished without it.

use eqo_checkpoints::arith::mask;
use eqo_checkpoints::cost::MASK_BITS;
use rand::RngExt;

use super::{Common, Masks, Online, Requantization, decide};
use crate::Error;
use crate::gates::compare::{ChosenLeaves, leaf_choices, merge, triples};
use crate::gates::multiplier::{Bits, Narrow, recv_server_part, send_client_part};
use crate::gates::{Party, span};
use crate::ot::{BitTriples, ChosenOts, CotShape, OfferedOts};
use crate::ring::pack::{BitReader, packed_bytes};

/// After the first message.
pub struct ClientDrawn {
    masks: BitTriples,
    levels: Vec<BitTriples>,
    wraps: ChosenOts,
    betas: OfferedOts,
}

/// After the second message.
pub struct ClientChosen {
    leaves: ChosenLeaves,
    mask_ots: ChosenOts,
    bits: Bits,
    levels: Vec<BitTriples>,
    client_part: Narrow,
    wraps: ChosenOts,
    high: Narrow,
    tops: Bits,
}

/// Prepared; serves once.
pub struct ClientPrepared {
    leaves: ChosenLeaves,
    /// The chosen pads of the COTs that multiply β by the server's T; the choices are the client's shares of β.
    multiplier: Narrow,
    high: Narrow,
    /// The top bits of its shares of y.
    tops: Bits,
    common: Common,
}

impl Requantization {
    /// First message, from the server.
    ///
    /// # Errors
    /// [`Error::Exhausted`]; those of the channel.
    pub fn client_draw(&self, party: &mut Party) -> Result<ClientDrawn, Error> {
        let masks = party.ots.bit_triples(self.elements())?;
        let levels = triples(party.ots, &self.sections)?;
        let wraps = self.widening().client_draw(party)?;
        let flips = party.channel.recv(packed_bytes(self.elements() as u64) as usize)?;
        let betas = party.ots.offer(self.elements(), &flips)?;
        Ok(ClientDrawn { masks, levels, wraps, betas })
    }

    /// Second message, to the server: choices by the client's shares of y and of the masks, and corrections for β·T_c.
    ///
    /// # Errors
    /// [`Error::Exhausted`]; those of the channel.
    pub fn client_choose(
        &self,
        party: &mut Party,
        drawn: ClientDrawn,
        shares: &[u64],
    ) -> Result<ClientChosen, Error> {
        let _span = span("requantize");
        let ClientDrawn { masks, levels, wraps, betas } = drawn;
        let saturated = Bits::new((0..self.elements()).map(|_| party.rng.random()).collect());
        let bits = Masks::bits(&masks, &saturated);
        let mut choices = leaf_choices(&self.sections, shares);
        let leaf_ots = choices.len();
        choices.extend_from_slice(&bits);
        let (mut chosen, flips) = party.ots.choose(choices)?;
        party.channel.send(flips)?;
        let mask_ots = chosen.split_off(leaf_ots);
        let leaves = ChosenLeaves::new(party.ots, chosen, &self.sections)?;
        let high = self.high(shares);
        let client_part = send_client_part(party, betas, (&bits, &high), u32::from(self.narrow()))?;
        let mut tops = Bits::new(Vec::with_capacity(shares.len()));
        self.for_each(shares, |group, share| tops.push(share >> (group.ring - 1) & 1 == 1));
        Ok(ClientChosen { leaves, mask_ots, bits, levels, client_part, wraps, high, tops })
    }

    /// Third message, from the server.
    ///
    /// # Errors
    /// Those of the channel.
    pub fn client_correct(&self, party: &mut Party, state: ClientChosen) -> Result<ClientPrepared, Error> {
        let _span = span("requantize");
        let ClientChosen { leaves, mask_ots, bits, levels, client_part, wraps, high, tops } = state;
        let (shares, multiplier) = self.recv_masks(party, mask_ots, &bits)?;
        let wraps = self.widening().client_correct(party, wraps)?;
        let masks = Masks::new(&bits, shares);
        let common = Common { levels, masks, client_part, wraps };
        Ok(ClientPrepared { leaves, multiplier, high, tops, common })
    }

    /// The client's shares of the activations.
    ///
    /// # Errors
    /// Those of the channel.
    pub fn client_run(&self, party: &mut Party, prepared: ClientPrepared) -> Result<Vec<u64>, Error> {
        let _span = span("requantize");
        let ClientPrepared { leaves, multiplier, high, tops, common } = prepared;
        let (betas, width) = (&common.masks.in_range, u32::from(self.narrow()));
        let server_part = recv_server_part(party, &multiplier, betas, width)?;
        let leaves = leaves.recv(party, &self.sections)?;
        let Common { levels, masks, client_part, wraps } = common;
        let carries = merge(party, &self.sections, &leaves, levels)?;
        let tops: Vec<[bool; 2]> = tops.iter().map(|&top| [top, top]).collect();
        let (in_range, saturated) = decide(&carries, &tops, false);
        let common = Common { levels: Vec::new(), masks, client_part, wraps };
        let online = Online { in_range, carry: carries.carry, saturated, high, server_part };
        self.finish(party, common, online)
    }

    fn recv_masks(
        &self,
        party: &mut Party,
        ots: ChosenOts,
        bits: &[bool],
    ) -> Result<(Narrow, Narrow), Error> {
        let (count, width) = (self.elements(), u32::from(self.narrow()));
        let total = MASK_BITS * count as u64 * u64::from(width - 1);
        let message = party.channel.recv(packed_bytes(total) as usize)?;
        let mut corrections = BitReader::new(&message);
        let mut shares = Narrow::new(Vec::with_capacity(bits.len()));
        let mut multiplier = Narrow::new(Vec::with_capacity(count));
        let shape = |j| CotShape { lanes: if j < count { 2 } else { 1 }, bits: width };
        party.ots.chosen_pads(ots, shape, |j, choice, pad| {
            let correction = corrections.get(width - 1) & u64::from(choice).wrapping_neg();
            let product = pad[0].wrapping_add(correction);
            shares.push((u64::from(bits[j]).wrapping_sub(product << 1) & mask(self.narrow())) as u16);
            if j < count {
                multiplier.push(pad[1] as u16);
            }
            Ok(())
        })?;
        Ok((shares, multiplier))
    }
}
