//! Millionaires': `<b > a>` and `<b = a>` for the server's a and the client's b, and what follows from it: carries, wraps, signs.
//!
//! The server offers, for each digit of 4 bits and each value of the client's, whether that is more than its own and whether it is equal,
//! masked by bits that are its shares. A tree joins digits: `gt = gt_high ⊕ eq_high·gt_low`, `eq = eq_high·eq_low`.

use eqo_checkpoints::cost::{DIGIT_BITS, comparison_levels};
use rand::Rng;
use zeroize::Zeroizing;

use super::{OneOfN, Peer};
use crate::Error;
use crate::gates::convert::bit_products;
use crate::ring::mask;
use crate::ring::pack::{pack_bits, unpack_bits};

/// A share of (more, equal) for each element.
pub(super) type Order = Zeroizing<Vec<[bool; 2]>>;

/// Factors of shared ANDs.
type Pairs = Zeroizing<Vec<[bool; 2]>>;

impl Peer<'_> {
    /// XOR shares of "the client's is more than the server's", and of equality if asked for (else it means nothing), of integers
    /// of `bits` bits.
    pub(super) fn compare(&mut self, bits: u32, own: &[u64], equality: bool) -> Result<Order, Error> {
        if bits == 1 && !equality {
            return self.compare_bits(own);
        }
        if bits <= DIGIT_BITS {
            return self.leaves(bits, own, 1 + u32::from(equality));
        }
        let digits = bits.div_ceil(DIGIT_BITS) as usize;
        let own: Zeroizing<Vec<u64>> = Zeroizing::new(
            own.iter().flat_map(|&value| (0..digits).map(move |digit| value >> (4 * digit) & 15)).collect(),
        );
        let leaves = self.leaves(DIGIT_BITS, &own, 2)?;
        self.join(leaves, digits, equality)
    }

    /// `b > a` of single bits is `b·(1 − a)`.
    fn compare_bits(&mut self, own: &[u64]) -> Result<Order, Error> {
        self.draw(own.len(), 0)?;
        let flip = u64::from(self.is_server());
        let bits: Vec<bool> = own.iter().map(|value| (value ^ flip) & 1 == 1).collect();
        let products = bit_products(&mut self.party, &bits, 1)?;
        Ok(Zeroizing::new(products.into_iter().map(|product| [product & 1 == 1, false]).collect()))
    }

    fn leaves(&mut self, bits: u32, own: &[u64], messages: u32) -> Result<Order, Error> {
        let options = 1 << bits;
        let order = |flags: u8| [flags & 1 == 1, flags & 2 == 2];
        match &mut self.one_of_n {
            OneOfN::Sender(sender) => {
                let masks = random_pairs(self.party.rng, own.len());
                let low = mask(bits);
                sender.send(self.party.channel, own.len(), (options, messages), |j, theirs| {
                    let (theirs, own) = (theirs as u64, own[j] & low);
                    u8::from(theirs > own) ^ u8::from(theirs == own) << 1 ^ masks[j]
                })?;
                Ok(Zeroizing::new(masks.iter().map(|&mask| order(mask)).collect()))
            }
            OneOfN::Receiver(receiver) => {
                let choices =
                    Zeroizing::new(own.iter().map(|value| (value & mask(bits)) as u8).collect::<Vec<_>>());
                let flags = receiver.recv(self.party.channel, &choices, (options, messages))?;
                Ok(Zeroizing::new(flags.iter().map(|&flags| order(flags)).collect()))
            }
        }
    }

    /// From `[element][digit]`, lowest digit first, to elements.
    fn join(&mut self, mut nodes: Order, digits: usize, equality: bool) -> Result<Order, Error> {
        let elements = nodes.len() / digits;
        let levels: Vec<usize> = levels(digits, equality);
        let mut triples = self.triples(elements * levels.iter().sum::<usize>())?;
        let mut width = digits;
        for ands in levels {
            let mut factors = Pairs::new(Vec::with_capacity(elements * ands));
            for element in nodes.chunks_exact(width) {
                for (pair, nodes) in element.chunks_exact(2).enumerate() {
                    let ([low_more, low_equal], [_, high_equal]) = (nodes[0], nodes[1]);
                    factors.push([high_equal, low_more]);
                    if pair > 0 || equality {
                        factors.push([high_equal, low_equal]);
                    }
                }
            }
            let rest = triples.split_off(factors.len());
            let products = self.open_ands(&triples, &factors)?;
            triples = Triples(Zeroizing::new(rest));
            nodes = joined(&nodes, width, equality, &products);
            width = width.div_ceil(2);
        }
        Ok(nodes)
    }

    /// Shares of `x·y` by triples: both parties open `x ⊕ a` and `y ⊕ b`.
    fn open_ands(&mut self, triples: &Triples, factors: &[[bool; 2]]) -> Result<Zeroizing<Vec<bool>>, Error> {
        let masked =
            |(factor, triple): (&[bool; 2], &[bool; 3])| [factor[0] ^ triple[0], factor[1] ^ triple[1]];
        let mut opened: Vec<bool> = factors.iter().zip(triples.0.iter()).flat_map(masked).collect();
        let theirs = unpack_bits(&self.party.channel.exchange(pack_bits(&opened))?, opened.len());
        opened.iter_mut().zip(theirs).for_each(|(own, their)| *own ^= their);
        let server = self.is_server();
        let product = |(triple, opened): (&[bool; 3], &[bool])| {
            let ([a, b, c], d, e) = (*triple, opened[0], opened[1]);
            c ^ d & b ^ e & a ^ server & d & e
        };
        Ok(Zeroizing::new(triples.0.iter().zip(opened.chunks_exact(2)).map(product).collect()))
    }

    /// Random bits a, b and c = a·b, shared; two by one 1-of-16 OT.
    fn triples(&mut self, count: usize) -> Result<Triples, Error> {
        let random = random_pairs(self.party.rng, count);
        let factors: Pairs =
            Zeroizing::new(random.iter().map(|bits| [bits & 1 == 1, bits & 2 == 2]).collect());
        let products = self.multiply_bits(&factors)?;
        let triple = |(factor, &product): (&[bool; 2], &bool)| [factor[0], factor[1], product];
        Ok(Triples(Zeroizing::new(factors.iter().zip(products.iter()).map(triple).collect())))
    }

    /// Shares of `x·y` straight by 1-of-16 OTs, two products each: the server's share is a random bit.
    pub(super) fn multiply_bits(&mut self, factors: &[[bool; 2]]) -> Result<Zeroizing<Vec<bool>>, Error> {
        let calls = factors.len().div_ceil(2);
        let factor = |index: usize| factors.get(index).copied().unwrap_or_default();
        let mut shares = Zeroizing::new(Vec::with_capacity(2 * calls));
        let both = |bits: u8| [bits & 1 == 1, bits & 2 == 2];
        match &mut self.one_of_n {
            OneOfN::Sender(sender) => {
                let masks = random_pairs(self.party.rng, calls);
                let product =
                    |[x, y]: [bool; 2], theirs: usize| (x ^ (theirs & 1 == 1)) & (y ^ (theirs & 2 == 2));
                sender.send(self.party.channel, calls, (16, 2), |j, theirs| {
                    let low = product(factor(2 * j), theirs);
                    let high = product(factor(2 * j + 1), theirs >> 2);
                    u8::from(low) ^ u8::from(high) << 1 ^ masks[j]
                })?;
                masks.iter().for_each(|&mask| shares.extend(both(mask)));
            }
            OneOfN::Receiver(receiver) => {
                let choice = |[x, y]: [bool; 2]| u8::from(x) | u8::from(y) << 1;
                let choices = (0..calls).map(|j| choice(factor(2 * j)) | choice(factor(2 * j + 1)) << 2);
                let choices = Zeroizing::new(choices.collect::<Vec<u8>>());
                let bits = receiver.recv(self.party.channel, &choices, (16, 2))?;
                bits.iter().for_each(|&bits| shares.extend(both(bits)));
            }
        }
        shares.truncate(factors.len());
        Ok(shares)
    }

    /// Shares of the carry out of the low `bits` bits when the two shares are added: with all their bits, of their wrap.
    pub(super) fn carry(&mut self, bits: u32, shares: &[u64]) -> Result<Zeroizing<Vec<bool>>, Error> {
        let own = self.addends(bits, shares);
        let order = self.compare(bits, &own, false)?;
        Ok(Zeroizing::new(order.iter().map(|[more, _]| *more).collect()))
    }

    /// What is compared so that "more" says that the low bits of the shares carry: `x_c > 2^bits − 1 − x_s`.
    pub(super) fn addends(&self, bits: u32, shares: &[u64]) -> Zeroizing<Vec<u64>> {
        let flip = if self.is_server() { mask(bits) } else { 0 };
        Zeroizing::new(shares.iter().map(|share| (share & mask(bits)) ^ flip).collect())
    }

    /// Shares of the wrap of integers whose top bit of `bits` is known to be 0, by 1-of-4 OT: the shares wrap if one of them has its
    /// top bit set.
    pub(super) fn known_wrap(&mut self, bits: u32, shares: &[u64]) -> Result<Zeroizing<Vec<bool>>, Error> {
        let top = |share: &u64| (share >> (bits - 1) & 1) as u8;
        match &mut self.one_of_n {
            OneOfN::Sender(sender) => {
                let masks = random_pairs(self.party.rng, shares.len());
                sender.send(self.party.channel, shares.len(), (4, 1), |j, theirs| {
                    // Bit 1 is the client's share of the top bit of the sum, which is 0 at both parties here.
                    let [own, theirs, sum] = [top(&shares[j]), theirs as u8 & 1, theirs as u8 >> 1];
                    let carry = own ^ theirs ^ sum;
                    (own & theirs | carry & (own | theirs)) ^ masks[j]
                })?;
                Ok(Zeroizing::new(masks.iter().map(|mask| mask & 1 == 1).collect()))
            }
            OneOfN::Receiver(receiver) => {
                let choices = Zeroizing::new(shares.iter().map(top).collect::<Vec<u8>>());
                let wraps = receiver.recv(self.party.channel, &choices, (4, 1))?;
                Ok(Zeroizing::new(wraps.iter().map(|wrap| wrap & 1 == 1).collect()))
            }
        }
    }

    /// Shares of `x < 0` for signed integers of Z_{2^bits}, 2 bits or more.
    pub(super) fn negative(&mut self, bits: u32, shares: &[u64]) -> Result<Zeroizing<Vec<bool>>, Error> {
        let mut carries = self.carry(bits - 1, shares)?;
        carries.iter_mut().zip(shares).for_each(|(carry, share)| *carry ^= share >> (bits - 1) & 1 == 1);
        Ok(carries)
    }
}

/// Shares of (a, b, a·b).
struct Triples(Zeroizing<Vec<[bool; 3]>>);

impl Triples {
    fn split_off(&mut self, at: usize) -> Vec<[bool; 3]> {
        self.0.split_off(at)
    }
}

/// The next level's nodes from the products of this one's.
fn joined(nodes: &[[bool; 2]], width: usize, equality: bool, products: &[bool]) -> Order {
    let mut products = products.iter().copied();
    let mut take = || products.next().unwrap_or_default();
    let mut next = Order::new(Vec::with_capacity(nodes.len().div_ceil(2)));
    for element in nodes.chunks_exact(width) {
        for (pair, nodes) in element.chunks(2).enumerate() {
            next.push(match nodes {
                [_, [high_more, _]] => {
                    let more = high_more ^ take();
                    [more, if pair > 0 || equality { take() } else { false }]
                }
                alone => alone[0],
            });
        }
    }
    next
}

fn levels(digits: usize, equality: bool) -> Vec<usize> {
    comparison_levels(digits as u64, equality).into_iter().map(|ands| ands as usize).collect()
}

/// Two random bits for each element.
fn random_pairs(rng: &mut crate::PartyRng, count: usize) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(vec![0; count]);
    rng.fill_bytes(&mut bytes);
    bytes.iter_mut().for_each(|byte| *byte &= 3);
    bytes
}
