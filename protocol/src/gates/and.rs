//! `<z> <- And(<x>, <y>)`: bit products by Beaver triples (Beaver 1991; bits as in GMW), with one or two products for each
//! factor x.
//!
//! With random triples `<a_m>, <b>, <c_m = a_m·b>` both parties open `e = x ⊕ b` and `d_m = y_m ⊕ a_m`, and
//! `z_m = c_m ⊕ d_m·b ⊕ e·a_m ⊕ d_m·e`, the last term added by the server.
//!
//! *Privacy*: `a_m` and `b` are uniform, used once, and unknown to either party, so everything opened is uniform.
//! *Cost* for n factors with t products in all: an exchange of `ceil((n + t) / 8)` bytes each way, 1 round, n OTs in each
//! direction before.

use super::{Party, span};
use crate::Error;
use crate::ot::{BitTriples, spread};
use crate::ring::pack::{pack_bits, unpack_bits};

/// Factors and what they are multiplied by.
#[derive(Default)]
pub struct Factors {
    /// The common factors; the first `pairs` of them have two products.
    pub x: Vec<bool>,
    /// Bit m is the other factor of product m.
    pub y: Vec<u8>,
    /// How many factors have two products.
    pub pairs: usize,
}

/// Shares of the products: bit m of element i is that of `x[i] & y[i]` bit m, for the bits that there are.
///
/// # Errors
/// Those of the channel; [`Error::Config`] if there aren't as many triples as factors.
pub fn and(party: &mut Party, triples: BitTriples, factors: &Factors) -> Result<Vec<u8>, Error> {
    let _span = span("and");
    let Factors { x, y, pairs } = factors;
    let count = x.len();
    super::same_length("triples", count, triples.b.len())?;
    super::same_length("factors", count, y.len())?;
    let mut opened: Vec<bool> = Vec::with_capacity(2 * count + pairs);
    opened.extend(x.iter().zip(&triples.b).map(|(x, b)| x ^ b));
    opened.extend(y.iter().zip(&triples.a).map(|(y, a)| (y ^ a) & 1 == 1));
    opened.extend(y.iter().zip(&triples.a).take(*pairs).map(|(y, a)| (y ^ a) & 2 == 2));
    let theirs = unpack_bits(&party.channel.exchange(pack_bits(&opened))?, opened.len());
    opened.iter_mut().zip(theirs).for_each(|(own, their)| *own ^= their);
    let server = spread(party.is_server());
    let product = |i: usize| {
        let second = if i < *pairs { u8::from(opened[2 * count + i]) << 1 } else { 0 };
        let (e, d) = (spread(opened[i]), u8::from(opened[count + i]) | second);
        triples.c[i] ^ (d & spread(triples.b[i])) ^ (e & triples.a[i]) ^ (server & d & e)
    };
    Ok((0..count).map(product).collect())
}
