//! `[x] in Z_{2^L} <- Requantize([y])`, `x = clamp((y + 2^(s−1)) >> s, 0, 2^a − 1)`, with everything prepared that doesn't
//! depend on y, or depends on the client's share of y only.
//!
//! The server adds 2^(s−1) to its share. [`compare`](super::compare) gives the carry k of the low s bits, the sign, and the
//! sign of `y − 2^(a+s)`; p = not negative, q = saturated, and u = p ⊕ q = in range, since q implies p. With
//! `T = (y >> s)` of each share and w = a + 1,
//!
//! ```text
//! x = u·(T_s + T_c) + u·k + (2^a − 1)·q   in Z_{2^w}
//! ```
//!
//! The three bits are opened under random masks β, κ, γ, of which additive shares exist in Z_{2^w} (offline):
//! `u = d_u + (1 − 2d_u)·β` and so on, so `u·k` needs `β·κ`, and `u·T` needs `β·T`: its client part is prepared, its server part
//! is one COT whose choice (the client's share of β) is fixed beforehand and whose correction travels with the leaves.
//! Then the shares are [widened](super::widen) to Z_{2^L}, x being less than 2^a.
//!
//! *Range*: `−2^(l−1) + 2^(a+s) <= y < 2^(l−1) − 2^(s−1)`, which the range proof grants; `s + a < l`.
//! *Privacy*: everything opened is masked by a uniform bit used once; corrections by unknown pads.
//! *Cost*: [`eqo_checkpoints::cost`]; online at most D + 3 rounds for a tree of depth D. *Source*: the fusion and its split are this
//! project's (DESIGN §4); the comparison is CrypTFlow2's, masked conversion after Rotaru and Wood (eprint 2019/207),
//! the known top bit after Cheetah (eprint 2022/207, §4).

mod client;
mod server;

pub use client::{ClientChosen, ClientDrawn, ClientPrepared};
use eqo_checkpoints::arith::mask;
use eqo_checkpoints::cost::{Group, MASK_BITS, OPENED_BITS};
pub use server::{ServerCorrecting, ServerDrawn, ServerPrepared};

use super::Party;
use super::compare::{Carries, Section};
use super::multiplier::{Bits, Narrow};
use super::widen::{Widening, Wraps};
use crate::Error;
use crate::ot::BitTriples;
use crate::ring::pack::{pack_bits, unpack_bits};

/// The public shape of one requantization.
pub struct Requantization {
    groups: Vec<Group>,
    sections: Vec<Section>,
    act_bits: u8,
    /// Elements of a channel.
    lanes: usize,
    /// L.
    wide: u8,
}

/// What both parties hold of a prepared requantization.
struct Common {
    levels: Vec<BitTriples>,
    masks: Masks,
    /// Share of β·T_c.
    client_part: Narrow,
    wraps: Wraps,
}

/// Random bits, XOR-shared, and what is needed of them in Z_{2^w}.
struct Masks {
    /// β: masks "in range".
    in_range: Bits,
    /// κ: masks the carry.
    carry: Bits,
    /// γ: masks "saturated".
    saturated: Bits,
    /// Additive shares of β, κ, β·κ, γ, one after the other.
    shares: Narrow,
}

/// XOR shares of the three bits of every element that decide its activation, and the shares of T and β·T.
struct Online {
    in_range: Vec<bool>,
    carry: Vec<bool>,
    saturated: Vec<bool>,
    /// This party's T.
    high: Narrow,
    /// Share of β·T_s.
    server_part: Narrow,
}

impl Requantization {
    /// Requantizes the accumulators of `groups`, which follow each other, each channel with `lanes` elements, to
    /// activations of `act_bits` bits (1 to 8) shared in Z_{2^wide} (in Z_{2^(act_bits + 1)} if that is no narrower).
    pub fn new(groups: Vec<Group>, act_bits: u8, lanes: usize, wide: u8) -> Self {
        let section = |group: &Group| Section {
            comparison: group.comparison(act_bits),
            elements: group.channels.len() * lanes,
            saturation_bit: group.shift + act_bits,
        };
        let sections = groups.iter().map(section).collect();
        Self { groups, sections, act_bits, lanes, wide }
    }

    /// How many elements it takes.
    pub fn elements(&self) -> usize {
        self.sections.iter().map(|section| section.elements).sum()
    }

    /// The public groups.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// w.
    fn narrow(&self) -> u8 {
        self.act_bits + 1
    }

    fn widening(&self) -> Widening {
        Widening { elements: self.elements(), narrow: self.narrow(), wide: self.wide }
    }

    /// `T = (y mod 2^l) >> s` of a party's shares.
    fn high(&self, shares: &[u64]) -> Narrow {
        let narrow = mask(self.narrow());
        let mut high = Narrow::new(Vec::with_capacity(shares.len()));
        self.for_each(shares, |group, share| {
            high.push(((share & mask(group.ring)) >> group.shift & narrow) as u16);
        });
        high
    }

    fn for_each(&self, shares: &[u64], mut each: impl FnMut(&Group, u64)) {
        let mut rest = shares;
        for group in &self.groups {
            let (own, tail) = rest.split_at(group.channels.len() * self.lanes);
            own.iter().for_each(|&share| each(group, share));
            rest = tail;
        }
    }

    /// From the three bits to activations.
    fn finish(&self, party: &mut Party, common: Common, online: Online) -> Result<Vec<u64>, Error> {
        let count = self.elements();
        let masks = &common.masks;
        let mut opened = Vec::with_capacity(OPENED_BITS as usize * count);
        opened.extend(xor(&online.in_range, &masks.in_range));
        opened.extend(xor(&online.carry, &masks.carry));
        opened.extend(xor(&online.saturated, &masks.saturated));
        let theirs = unpack_bits(&party.channel.exchange(pack_bits(&opened))?, opened.len());
        opened.iter_mut().zip(theirs).for_each(|(own, their)| *own ^= their);
        let bits = |i: usize, which: usize| u64::from(opened[which * count + i]);
        let share = |i: usize, which: usize| u64::from(masks.shares[which * count + i]);
        let (server, largest) = (u64::from(party.is_server()), mask(self.act_bits));
        let activation = |i: usize| {
            let [u, k, q] = [0, 1, 2].map(|which| bits(i, which));
            let [beta, kappa, both, gamma] = [0, 1, 2, 3].map(|which| share(i, which));
            let sign = |bit: u64| 1_u64.wrapping_sub(2 * bit);
            let beta_t = u64::from(common.client_part[i]) + u64::from(online.server_part[i]);
            let scaled = (u * u64::from(online.high[i])).wrapping_add(sign(u).wrapping_mul(beta_t));
            let carried = (server * u * k)
                .wrapping_add((u * kappa).wrapping_mul(sign(k)))
                .wrapping_add((k * beta).wrapping_mul(sign(u)))
                .wrapping_add(both.wrapping_mul(sign(u)).wrapping_mul(sign(k)));
            let saturated = (server * q).wrapping_add(gamma.wrapping_mul(sign(q))).wrapping_mul(largest);
            scaled.wrapping_add(carried).wrapping_add(saturated) & mask(self.narrow())
        };
        let narrow = (0..count).map(activation).collect();
        self.widening().run(party, common.wraps, narrow)
    }
}

impl Masks {
    /// The shared bits in the order of `shares`: β, κ, β·κ, γ.
    fn bits(triples: &BitTriples, saturated: &[bool]) -> Bits {
        let mut bits = Bits::new(Vec::with_capacity(MASK_BITS as usize * saturated.len()));
        bits.extend_from_slice(&triples.b);
        bits.extend(triples.a.iter().map(|a| a & 1 == 1));
        bits.extend(triples.c.iter().map(|c| c & 1 == 1));
        bits.extend_from_slice(saturated);
        bits
    }

    fn new(bits: &[bool], shares: Narrow) -> Self {
        let part = |which: usize| Bits::new(bits[which * (bits.len() / 4)..][..bits.len() / 4].to_vec());
        Self { in_range: part(0), carry: part(1), saturated: part(3), shares }
    }
}

fn xor<'a>(a: &'a [bool], b: &'a [bool]) -> impl Iterator<Item = bool> + 'a {
    a.iter().zip(b).map(|(a, b)| a ^ b)
}

/// Shares of "in range" and "saturated" from the carries and the top bits of this party's shares of y and of
/// `y − 2^(a+s)`. Both parties' bits XOR to `sign ⊕ sign'` and, negated by the server, to `¬sign'`.
fn decide(carries: &Carries, tops: &[[bool; 2]], server: bool) -> (Vec<bool>, Vec<bool>) {
    let signs = carries.sign.iter().zip(&carries.saturation).zip(tops);
    signs
        .map(|((sign, saturation), [top, shifted_top])| {
            (sign ^ saturation ^ top ^ shifted_top, saturation ^ shifted_top ^ server)
        })
        .unzip()
}
