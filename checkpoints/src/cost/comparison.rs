//! The fused comparison of a requantization: which digits, which ANDs, in which order.
//!
//! `clamp((y + 2^(s-1)) >> s, 0, 2^a - 1)` of a value shared in Z_{2^l} needs three carries of the addition of its two
//! shares: out of the low s bits (the shift), out of the low l-1 bits (the sign), and out of the low l-1 bits of the value
//! minus 2^(a+s) (saturation). Subtracting 2^(a+s) leaves the bits below a+s alone, so one tree serves all three:
//!
//! ```text
//!   bits      0 .. s        s .. a+s       a+s .. l-1
//!             low           mid            top (plain and shifted)
//!   carry    = low
//!   sign     = top     ∘ (mid ∘ low)
//!   saturate = top_shifted ∘ (mid ∘ low)
//! ```
//!
//! A wire carries `(lt, eq)`: the server's complemented bits are smaller than, or equal to, the client's; then `lt` is
//! the carry and `high ∘ low = (lt_h ⊕ eq_h·lt_l, eq_h·eq_l)` (CrypTFlow2, eprint 2020/1002, §3). A wire whose segment
//! starts at bit 0 needs no `eq`, which nobody would read.

use std::cmp::Reverse;

/// Largest number of bits in a digit: leaves are 1-of-16 OTs (CrypTFlow2's choice of m = 4).
const DIGIT_BITS: usize = 4;

/// What a leaf's OT message holds for each value of the client's digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leaf {
    /// `lt`: the digit at bit 0.
    Lowest,
    /// `lt, eq`.
    Inner,
    /// `lt, eq` of the plain and of the shifted value.
    Double,
}

impl Leaf {
    /// Bits of one message.
    pub fn message_bits(self) -> usize {
        match self {
            Self::Lowest => 1,
            Self::Inner => 2,
            Self::Double => 4,
        }
    }
}

/// Up to four consecutive bits of the two shares, compared by one 1-of-2^bits OT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digit {
    /// Its lowest bit.
    pub offset: u8,
    /// Its width, 1 to 4.
    pub bits: u8,
    /// What the OT delivers.
    pub leaf: Leaf,
    /// The wire of its comparison; [`Leaf::Double`] fills `wire` and `wire + 1` (the shifted one).
    pub wire: usize,
}

/// `out = high ∘ low`: one AND, or two when `eq` is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merge {
    /// The wire of the more significant segment.
    pub high: usize,
    /// The wire of the less significant segment.
    pub low: usize,
    /// The wire that this merge fills.
    pub out: usize,
    /// Whether `eq` is computed as well.
    pub with_eq: bool,
    /// The exchange in which its ANDs are opened, from 0.
    pub level: usize,
}

impl Merge {
    /// ANDs per element.
    pub fn ands(&self) -> usize {
        1 + usize::from(self.with_eq)
    }
}

/// The comparison of one kind of accumulator (ring, shift, activation bits).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Leaves, least significant first.
    pub digits: Vec<Digit>,
    /// Merges in order of level.
    pub merges: Vec<Merge>,
    /// How many wires there are.
    pub wires: usize,
    /// The wire of the carry out of the low s bits.
    pub carry: usize,
    /// The wire of the carry into the sign bit.
    pub sign: usize,
    /// The wire of the carry into the shifted value's sign bit.
    pub saturation: usize,
}

/// A wire while the tree is being built.
#[derive(Clone, Copy)]
struct Wire {
    index: usize,
    /// The first level whose merges may read it.
    ready: usize,
    /// Whether its segment starts at bit 0, so that only `lt` exists.
    lowest: bool,
}

impl Comparison {
    /// The tree for ring `ring` (l), shift `shift` (s) and `act_bits` (a); `shift >= 1`, `act_bits >= 1` and
    /// `shift + act_bits < ring`, which [`crate::graph::Graph::check`] grants.
    pub fn new(ring: u8, shift: u8, act_bits: u8) -> Self {
        let (low_end, mid_end, top_end) =
            (usize::from(shift), usize::from(shift + act_bits), usize::from(ring) - 1);
        let mut tree =
            Self { digits: Vec::new(), merges: Vec::new(), wires: 0, carry: 0, sign: 0, saturation: 0 };
        let [low, _] = tree.leaves(0, low_end, Leaf::Inner);
        let [mid, _] = tree.leaves(low_end, mid_end, Leaf::Inner);
        let [top, shifted] = tree.leaves(mid_end, top_end, Leaf::Double);
        let carry = tree.fold(low);
        let mid = tree.fold(mid);
        let below = tree.merge(mid, carry);
        tree.carry = carry.index;
        tree.sign = tree.above(top, below).index;
        tree.saturation = tree.above(shifted, below).index;
        tree.merges.sort_by_key(|merge| (merge.level, Reverse(merge.high)));
        tree
    }

    /// Exchanges that the ANDs take.
    pub fn levels(&self) -> usize {
        self.merges.last().map_or(0, |merge| merge.level + 1)
    }

    /// ANDs per element at a level.
    pub fn ands_at(&self, level: usize) -> usize {
        self.merges.iter().filter(|merge| merge.level == level).map(Merge::ands).sum()
    }

    /// ANDs per element.
    pub fn ands(&self) -> usize {
        self.merges.iter().map(Merge::ands).sum()
    }

    /// Random OTs that the leaves of one element take: one for each bit of the client's share below the sign.
    pub fn leaf_ots(&self) -> usize {
        self.digits.iter().map(|digit| usize::from(digit.bits)).sum()
    }

    /// Bits of the server's leaf messages for one element.
    pub fn leaf_message_bits(&self) -> usize {
        self.digits.iter().map(|digit| digit.leaf.message_bits() << digit.bits).sum()
    }

    /// Cuts bits `start..end` into equal digits of at most four bits: two 3-bit leaves are cheaper than a 4-bit and a
    /// 2-bit one. Returns their plain and their shifted wires.
    fn leaves(&mut self, start: usize, end: usize, leaf: Leaf) -> [Vec<Wire>; 2] {
        let mut wires = [Vec::new(), Vec::new()];
        let mut offset = start;
        for left in (1..=(end - start).div_ceil(DIGIT_BITS)).rev() {
            let bits = (end - offset).div_ceil(left);
            let leaf = if offset == 0 { Leaf::Lowest } else { leaf };
            let digit = Digit { offset: offset as u8, bits: bits as u8, leaf, wire: self.wires };
            self.digits.push(digit);
            let outputs = if leaf == Leaf::Double { 2 } else { 1 };
            for (output, list) in wires.iter_mut().enumerate().take(outputs) {
                list.push(Wire { index: self.wires + output, ready: 0, lowest: offset == 0 });
            }
            self.wires += outputs;
            offset += bits;
        }
        wires
    }

    /// Merges neighbours until one wire is left; `wires` isn't empty.
    fn fold(&mut self, mut wires: Vec<Wire>) -> Wire {
        while wires.len() > 1 {
            wires = wires
                .chunks(2)
                .map(|pair| if let [low, high] = *pair { self.merge(high, low) } else { pair[0] })
                .collect();
        }
        wires[0]
    }

    fn above(&mut self, top: Vec<Wire>, below: Wire) -> Wire {
        if top.is_empty() {
            return below;
        }
        let top = self.fold(top);
        self.merge(top, below)
    }

    fn merge(&mut self, high: Wire, low: Wire) -> Wire {
        let level = high.ready.max(low.ready);
        let out = Wire { index: self.wires, ready: level + 1, lowest: low.lowest };
        self.wires += 1;
        let with_eq = !low.lowest;
        self.merges.push(Merge { high: high.index, low: low.index, out: out.index, with_eq, level });
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the tree in the clear on `server + client` (mod 2^ring), as the gate does on shares.
    fn run(tree: &Comparison, server: u64, shifted: u64, client: u64) -> [u64; 3] {
        let mut wires = vec![(0, 0); tree.wires];
        for digit in &tree.digits {
            let mask = (1 << digit.bits) - 1;
            let pick = |share: u64| (share >> digit.offset) & mask;
            let values: &[u64] = if digit.leaf == Leaf::Double { &[server, shifted] } else { &[server] };
            for (output, &value) in values.iter().enumerate() {
                let complement = mask - pick(value);
                wires[digit.wire + output] =
                    (u64::from(complement < pick(client)), u64::from(complement == pick(client)));
            }
        }
        for merge in &tree.merges {
            let (high, low): ((u64, u64), (u64, u64)) = (wires[merge.high], wires[merge.low]);
            wires[merge.out] = (high.0 ^ (high.1 & low.0), high.1 & low.1);
        }
        [tree.carry, tree.sign, tree.saturation].map(|wire| wires[wire].0)
    }

    #[test]
    fn the_three_carries_are_those_of_integer_addition_for_every_small_ring_shift_and_share() {
        for (ring, shift, act) in [(4, 1, 2), (5, 2, 2), (8, 3, 2), (9, 1, 2), (9, 5, 3), (8, 2, 4)] {
            let tree = Comparison::new(ring, shift, act);
            let low = (1_u64 << (ring - 1)) - 1;
            for server in 0..1_u64 << ring {
                let shifted = server.wrapping_sub(1 << (shift + act)) & ((1 << ring) - 1);
                for client in 0..1_u64 << ring {
                    let fraction = (1 << shift) - 1;
                    let mut want = [
                        ((server & fraction) + (client & fraction)) >> shift,
                        ((server & low) + (client & low)) >> (ring - 1),
                        ((shifted & low) + (client & low)) >> (ring - 1),
                    ];
                    assert_eq!(shifted & ((1 << (shift + act)) - 1), server & ((1 << (shift + act)) - 1));
                    if ring == shift + act + 1 {
                        want[2] = want[1];
                    }
                    assert_eq!(run(&tree, server, shifted, client), want, "{ring} {shift} {act}");
                }
            }
        }
    }

    #[test]
    fn merges_read_only_wires_of_earlier_levels_and_depth_is_logarithmic() {
        for ring in 4..=62 {
            for shift in 1..ring - 2 {
                for act in 2..=8.min(ring - 1 - shift) {
                    let tree = Comparison::new(ring, shift, act);
                    let mut ready = vec![0; tree.wires];
                    for merge in &tree.merges {
                        assert!(ready[merge.high].max(ready[merge.low]) <= merge.level);
                        ready[merge.out] = merge.level + 1;
                    }
                    assert_eq!(tree.leaf_ots(), usize::from(ring) - 1);
                    assert!(tree.levels() <= 7, "{ring} {shift} {act}");
                }
            }
        }
    }
}
