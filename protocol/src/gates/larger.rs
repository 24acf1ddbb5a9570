//! `[max(f, g)] <- Larger([f], [g])` for unsigned f and g of a bits, with everything prepared that doesn't depend on the server's
//! shares: a match of a max pooling.
//!
//! With the lead `D = f − g` in Z_{2^w}, w = a + 1, whose sign fits, `max(f, g) = f − b·D` with `b = [D < 0]`: the
//! [carry](super::compare) out of D's low a bits XOR the shares' top bits. b is opened under a random mask β, `d = b ⊕ β`, and
//! `b·D = d·D + (1 − 2d)·β·D`, where `β·D` is half prepared: the client knows its share of D offline, because
//! it knows its shares of f and g there. β is shared as the random choices of two unused OTs, so it costs no message.
//!
//! *Privacy*: d is uniform, since neither party knows β; leaves, ANDs and products as in their own gates.
//! *Cost* for n matches: [`eqo_checkpoints::cost`]; offline a + w bits each, online the leaves, the ANDs, w + 2 bits; at most D + 2
//! rounds for a tree of depth D. *Source*: the difference multiplexed by its sign is CrypTFlow2's (eprint 2020/1002, §5); the split
//! into phases is this project's.

use eqo_checkpoints::cost::Comparison;

use super::compare::{ChosenLeaves, OfferedLeaves, Section, leaf_choices, leaf_ots, merge, triples};
use super::multiplier::{
    Bits, Narrow, Pads, recv_client_part, recv_server_part, send_client_part, send_server_part,
};
use super::{Party, span};
use crate::Error;
use crate::ot::{BitTriples, ChosenOts, CotShape, OfferedOts};
use crate::ring::mask;
use crate::ring::pack::{pack_bits, packed_bytes, unpack_bits};

/// The public shape of some matches.
pub struct Larger {
    section: [Section; 1],
    act_bits: u8,
}

/// The server's, after the first step, which sends nothing.
pub struct ServerDrawn {
    levels: Vec<BitTriples>,
    multiplier: OfferedOts,
    betas: ChosenOts,
}

/// The client's, after the first step.
pub struct ClientDrawn {
    levels: Vec<BitTriples>,
    multiplier: ChosenOts,
    betas: OfferedOts,
}

/// Prepared; serves once.
pub struct ServerPrepared {
    leaves: OfferedLeaves,
    multiplier: Pads,
    common: Common,
}

/// Prepared; serves once.
pub struct ClientPrepared {
    leaves: ChosenLeaves,
    multiplier: Narrow,
    lead: Narrow,
    common: Common,
}

/// What both parties hold of prepared matches.
struct Common {
    levels: Vec<BitTriples>,
    /// β.
    mask: Bits,
    /// Share of β·D_c.
    client_part: Narrow,
}

impl Larger {
    /// Matches of `count` pairs of unsigned integers of `act_bits` bits, 1 to 8.
    pub fn new(act_bits: u8, count: usize) -> Self {
        let comparison = Comparison::carry_only(act_bits);
        Self { section: [Section { comparison, elements: count, saturation_bit: 0 }], act_bits }
    }

    /// w.
    fn width(&self) -> u32 {
        u32::from(self.act_bits) + 1
    }

    fn count(&self) -> usize {
        self.section[0].elements
    }

    /// Takes OTs out of the stock; no message.
    ///
    /// # Errors
    /// [`Error::Exhausted`].
    pub fn server_draw(&self, party: &mut Party) -> Result<ServerDrawn, Error> {
        let levels = triples(party.ots, &self.section)?;
        let multiplier = party.ots.offer_randomly(self.count())?;
        let betas = party.ots.choose_randomly(self.count())?;
        Ok(ServerDrawn { levels, multiplier, betas })
    }

    /// See [`Larger::server_draw`].
    ///
    /// # Errors
    /// [`Error::Exhausted`].
    pub fn client_draw(&self, party: &mut Party) -> Result<ClientDrawn, Error> {
        let levels = triples(party.ots, &self.section)?;
        let multiplier = party.ots.choose_randomly(self.count())?;
        let betas = party.ots.offer_randomly(self.count())?;
        Ok(ClientDrawn { levels, multiplier, betas })
    }

    /// To the server: choices by the client's shares of the lead `f − g`, and corrections for β·D_c.
    ///
    /// # Errors
    /// [`Error::Exhausted`]; those of the channel.
    pub fn client_choose(
        &self,
        party: &mut Party,
        drawn: ClientDrawn,
        lead: &[u64],
    ) -> Result<ClientPrepared, Error> {
        let _span = span("larger");
        let ClientDrawn { levels, multiplier, betas } = drawn;
        let (chosen, flips) = party.ots.choose(leaf_choices(&self.section, lead))?;
        party.channel.send(flips)?;
        let leaves = ChosenLeaves::new(party.ots, chosen, &self.section)?;
        let mask = Bits::new(multiplier.choices().to_vec());
        let mut pads = Narrow::new(Vec::with_capacity(self.count()));
        let shape = |_| CotShape { lanes: 1, bits: self.width() };
        party.ots.chosen_pads(multiplier, shape, |_, _, pad| {
            pads.push(pad[0] as u16);
            Ok(())
        })?;
        let lead = self.narrow(lead);
        let client_part = send_client_part(party, betas, (&mask, &lead), self.width())?;
        Ok(ClientPrepared { leaves, multiplier: pads, lead, common: Common { levels, mask, client_part } })
    }

    /// The server's side of [`Larger::client_choose`].
    ///
    /// # Errors
    /// [`Error::Exhausted`]; those of the channel.
    pub fn server_offer(&self, party: &mut Party, drawn: ServerDrawn) -> Result<ServerPrepared, Error> {
        let _span = span("larger");
        let ServerDrawn { levels, multiplier, betas } = drawn;
        let choices = leaf_ots(&self.section);
        let flips = party.channel.recv(packed_bytes(choices as u64) as usize)?;
        let offered = party.ots.offer(choices, &flips)?;
        let leaves = OfferedLeaves::new(party.ots, offered, &self.section)?;
        let mask = Bits::new(betas.choices().to_vec());
        let mut pads = Pads::new(Vec::with_capacity(self.count()));
        let shape = |_| CotShape { lanes: 1, bits: self.width() };
        party.ots.offered_pads(multiplier, shape, |_, zero, one| {
            pads.push([zero[0] as u16, one[0] as u16]);
            Ok(())
        })?;
        let client_part = recv_client_part(party, betas, self.width())?;
        Ok(ServerPrepared { leaves, multiplier: pads, common: Common { levels, mask, client_part } })
    }

    /// The server's shares of `f − max(f, g)` in Z_{2^w}, from its shares of the lead.
    ///
    /// # Errors
    /// Those of the channel.
    pub fn server_run(
        &self,
        party: &mut Party,
        prepared: ServerPrepared,
        lead: &[u64],
    ) -> Result<Vec<u64>, Error> {
        let _span = span("larger");
        let ServerPrepared { leaves, multiplier, common } = prepared;
        let narrow = self.narrow(lead);
        let part = send_server_part(party, &multiplier, (&common.mask, &narrow), self.width())?;
        let leaves = leaves.send(party, &self.section, lead)?;
        self.finish(party, common, &leaves, (&narrow, &part))
    }

    /// The client's shares of `f − max(f, g)`.
    ///
    /// # Errors
    /// Those of the channel.
    pub fn client_run(&self, party: &mut Party, prepared: ClientPrepared) -> Result<Vec<u64>, Error> {
        let _span = span("larger");
        let ClientPrepared { leaves, multiplier, lead, common } = prepared;
        let part = recv_server_part(party, &multiplier, &common.mask, self.width())?;
        let leaves = leaves.recv(party, &self.section)?;
        self.finish(party, common, &leaves, (&lead, &part))
    }

    fn narrow(&self, values: &[u64]) -> Narrow {
        Narrow::new(values.iter().map(|value| (value & mask(self.width())) as u16).collect())
    }

    fn finish(
        &self,
        party: &mut Party,
        common: Common,
        leaves: &[u8],
        (lead, server_part): (&Narrow, &Narrow),
    ) -> Result<Vec<u64>, Error> {
        let Common { levels, mask: betas, client_part } = common;
        let carries = merge(party, &self.section, leaves, levels)?.sign;
        let top = |lead: &u16| lead >> self.act_bits & 1 == 1;
        let bits = lead.iter().zip(carries).zip(betas.iter());
        let mut opened: Vec<bool> = bits.map(|((lead, carry), beta)| top(lead) ^ carry ^ beta).collect();
        let theirs = unpack_bits(&party.channel.exchange(pack_bits(&opened))?, opened.len());
        opened.iter_mut().zip(theirs).for_each(|(own, their)| *own ^= their);
        let share = |(i, &opened): (usize, &bool)| {
            let opened = u64::from(opened);
            let masked = u64::from(client_part[i]) + u64::from(server_part[i]);
            let signed = 1_u64.wrapping_sub(2 * opened).wrapping_mul(masked);
            (opened * u64::from(lead[i])).wrapping_add(signed) & mask(self.width())
        };
        Ok(opened.iter().enumerate().map(share).collect())
    }
}
