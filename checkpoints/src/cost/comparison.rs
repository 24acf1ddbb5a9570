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
//!   sign     = top         ∘ mid ∘ low
//!   saturate = top_shifted ∘ mid ∘ low
//! ```
//!
//! A segment of bits carries `(lt, eq)`: the server's complemented bits are smaller than, or equal to, the client's; then
//! `lt` is the carry and `high ∘ low = (lt_h ⊕ eq_h·lt_l, eq_h·eq_l)` (CrypTFlow2, eprint 2020/1002, §3). A segment that
//! starts at bit 0 needs no `eq`, which nobody would read. `∘` is associative: the merges are placed for the smallest
//! depth, then for the fewest opened bits, which leaves `⌈log2 digits⌉` levels unless the low part alone is too deep.

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
    /// The first of the wires that it fills, one for each bit of its message.
    pub wire: usize,
}

/// One or two ANDs with a common factor: `out = add ⊕ factor·other` for each term. A joint AND opens one bit for the factor
/// and one for each term, and takes one random OT in each direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joint {
    /// The exchange in which its bits are opened, from 0.
    pub level: usize,
    /// The wire of the common factor.
    pub factor: usize,
    /// The products, one or two.
    pub terms: Vec<Term>,
}

/// One product of a [`Joint`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// The wire of the other factor.
    pub other: usize,
    /// The wire that is added to the product.
    pub add: Option<usize>,
    /// The wire that receives the result.
    pub out: usize,
}

/// The comparison of one kind of accumulator (ring, shift, activation bits). A wire is one XOR-shared bit of an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Leaves, least significant first.
    pub digits: Vec<Digit>,
    /// ANDs in order of level.
    pub joints: Vec<Joint>,
    /// How many wires there are.
    pub wires: usize,
    /// The wire of the carry out of the low s bits.
    pub carry: usize,
    /// The wire of the carry into the sign bit.
    pub sign: usize,
    /// The wire of the carry into the shifted value's sign bit.
    pub saturation: usize,
}

/// `(lt, eq)` of a segment as wires; no `eq` if the segment starts at bit 0.
#[derive(Clone, Copy)]
struct Pair {
    lt: usize,
    eq: Option<usize>,
}

/// A segment while the tree is being built.
#[derive(Clone, Copy)]
struct Segment {
    plain: Pair,
    /// Of the shifted value, if the segment reaches into the top.
    shifted: Option<Pair>,
    /// The first level whose ANDs may read it.
    ready: usize,
}

impl Comparison {
    /// The tree for ring `ring` (l), shift `shift` (s) and `act_bits` (a); `shift >= 1`, `act_bits >= 1` and
    /// `shift + act_bits < ring`, which [`crate::graph::Graph::check`] grants.
    pub fn new(ring: u8, shift: u8, act_bits: u8) -> Self {
        let (low_end, mid_end, top_end) =
            (usize::from(shift), usize::from(shift + act_bits), usize::from(ring) - 1);
        let mut tree = Self::empty();
        let low = tree.leaves(0, low_end, Leaf::Inner);
        let mid = tree.leaves(low_end, mid_end, Leaf::Inner);
        let top = tree.leaves(mid_end, top_end, Leaf::Double);
        let low = tree.fold(&low);
        let all: Vec<Segment> = [low].into_iter().chain(mid).chain(top).collect();
        let all = tree.fold(&all);
        tree.carry = low.plain.lt;
        tree.sign = all.plain.lt;
        tree.saturation = all.shifted.unwrap_or(all.plain).lt;
        tree.joints.sort_by_key(|joint| joint.level);
        tree
    }

    /// The carry out of the low `bits` bits alone, at [`Comparison::carry`] (and the other two): the tree of a sign
    /// (`bits = l − 1`), of a truncation (`bits = s`) or of an extension (`bits = l`).
    pub fn carry_only(bits: u8) -> Self {
        let mut tree = Self::empty();
        let leaves = tree.leaves(0, usize::from(bits), Leaf::Inner);
        let carry = tree.fold(&leaves).plain.lt;
        (tree.carry, tree.sign, tree.saturation) = (carry, carry, carry);
        tree.joints.sort_by_key(|joint| joint.level);
        tree
    }

    /// Exchanges that the ANDs take.
    pub fn levels(&self) -> usize {
        self.joints.last().map_or(0, |joint| joint.level + 1)
    }

    /// Joint ANDs of `terms` terms (1 or 2) per element at a level, in order.
    pub fn joints_at(&self, level: usize, terms: usize) -> impl Iterator<Item = &Joint> {
        self.joints.iter().filter(move |joint| joint.level == level && joint.terms.len() == terms)
    }

    /// Bits of an element that each party opens at a level.
    pub fn opened_at(&self, level: usize) -> usize {
        [1, 2].map(|terms| self.joints_at(level, terms).count() * (1 + terms)).iter().sum()
    }

    /// Random OTs that the leaves of one element take: one for each bit that is compared.
    pub fn leaf_ots(&self) -> usize {
        self.digits.iter().map(|digit| usize::from(digit.bits)).sum()
    }

    /// Bits of the server's leaf messages for one element.
    pub fn leaf_message_bits(&self) -> usize {
        self.digits.iter().map(|digit| digit.leaf.message_bits() << digit.bits).sum()
    }

    fn empty() -> Self {
        Self { digits: Vec::new(), joints: Vec::new(), wires: 0, carry: 0, sign: 0, saturation: 0 }
    }

    /// Cuts bits `start..end` into equal digits of at most four bits: two 3-bit leaves are cheaper than a 4-bit and a
    /// 2-bit one.
    fn leaves(&mut self, start: usize, end: usize, leaf: Leaf) -> Vec<Segment> {
        let mut segments = Vec::new();
        let mut offset = start;
        for left in (1..=(end - start).div_ceil(DIGIT_BITS)).rev() {
            let bits = (end - offset).div_ceil(left);
            let leaf = if offset == 0 { Leaf::Lowest } else { leaf };
            let wire = self.wires;
            self.digits.push(Digit { offset: offset as u8, bits: bits as u8, leaf, wire });
            let plain = Pair { lt: wire, eq: (leaf != Leaf::Lowest).then_some(wire + 1) };
            let shifted = (leaf == Leaf::Double).then_some(Pair { lt: wire + 2, eq: Some(wire + 3) });
            segments.push(Segment { plain, shifted, ready: 0 });
            self.wires += leaf.message_bits();
            offset += bits;
        }
        segments
    }

    /// Merges neighbours until one segment is left; `segments` isn't empty.
    fn fold(&mut self, segments: &[Segment]) -> Segment {
        let splits = splits(segments);
        self.fold_range(segments, &splits, 0, segments.len())
    }

    fn fold_range(&mut self, segments: &[Segment], splits: &Splits, start: usize, end: usize) -> Segment {
        if end - start == 1 {
            return segments[start];
        }
        let middle = splits[start][end - 1].split;
        let low = self.fold_range(segments, splits, start, middle);
        let high = self.fold_range(segments, splits, middle, end);
        self.merge(high, low)
    }

    fn merge(&mut self, high: Segment, low: Segment) -> Segment {
        let level = high.ready.max(low.ready);
        let merged = match (high.shifted, low.shifted, low.plain.eq) {
            (Some(high_shifted), None, None) => {
                // No eq is needed and both products have the carry from below as a factor.
                let products =
                    [high.plain, high_shifted].map(|pair| (pair.eq.unwrap_or(pair.lt), Some(pair.lt)));
                let outs = self.joint(level, low.plain.lt, &products);
                let pair = |lt| Pair { lt, eq: None };
                (pair(outs[0]), Some(pair(outs[1])))
            }
            (shifted, low_shifted, _) => {
                let plain = self.merge_pair(level, high.plain, low.plain);
                let low = low_shifted.unwrap_or(low.plain);
                (plain, shifted.map(|high| self.merge_pair(level, high, low)))
            }
        };
        Segment { plain: merged.0, shifted: merged.1, ready: level + 1 }
    }

    fn merge_pair(&mut self, level: usize, high: Pair, low: Pair) -> Pair {
        // A high segment never starts at bit 0, so it has an eq.
        let factor = high.eq.unwrap_or(high.lt);
        let products: Vec<_> =
            [Some((low.lt, Some(high.lt))), low.eq.map(|eq| (eq, None))].into_iter().flatten().collect();
        let outs = self.joint(level, factor, &products);
        Pair { lt: outs[0], eq: outs.get(1).copied() }
    }

    /// Adds a joint AND of `(other, add)` products; returns their wires.
    fn joint(&mut self, level: usize, factor: usize, products: &[(usize, Option<usize>)]) -> Vec<usize> {
        let first = self.wires;
        self.wires += products.len();
        let term = |(out, &(other, add)): (usize, &(usize, Option<usize>))| Term { other, add, out };
        let terms: Vec<Term> = (first..).zip(products).map(term).collect();
        let outs = terms.iter().map(|term| term.out).collect();
        self.joints.push(Joint { level, factor, terms });
        outs
    }
}

/// How to merge `start..=end`: `[start][end]`.
type Splits = Vec<Vec<Split>>;

#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Split {
    depth: usize,
    opened: usize,
    split: usize,
}

/// The best merges of all neighbouring segments, by dynamic programming over intervals: least depth, then fewest bits
/// opened by a party.
fn splits(segments: &[Segment]) -> Splits {
    let count = segments.len();
    let mut best = vec![vec![Split::default(); count]; count];
    for (at, segment) in segments.iter().enumerate() {
        best[at][at] = Split { depth: segment.ready, opened: 0, split: at };
    }
    for length in 2..=count {
        for start in 0..=count - length {
            let end = start + length - 1;
            let lowest = segments[start].plain.eq.is_none();
            let double = segments[end].shifted.is_some();
            let opened = |split: usize| match (lowest, double, segments[split - 1].shifted.is_some()) {
                (true, false, _) => 2,
                (true, true, false) => 3,
                (true, true, true) => 4,
                (false, double, _) => 3 * (1 + usize::from(double)),
            };
            let candidate = |split: usize| {
                let (low, high) = (best[start][split - 1], best[split][end]);
                let depth = 1 + low.depth.max(high.depth);
                Split { depth, opened: low.opened + high.opened + opened(split), split }
            };
            best[start][end] = (start + 1..=end).map(candidate).min().unwrap_or_default();
        }
    }
    best
}

#[cfg(test)]
mod tests;
