//! `<z> <- And(<x>, <y>)`: bit products by Beaver triples (Beaver 1991; bits as in GMW).
//!
//! With a random triple `<a>, <b>, <c = a·b>` both parties open `d = x ⊕ a` and `e = y ⊕ b`, and
//! `z = c ⊕ d·b ⊕ e·a ⊕ d·e`, the last term added by the server.
//!
//! *Privacy*: `a` and `b` are uniform, used once, and unknown to either party, so `d` and `e` are uniform.
//! *Cost* for n ANDs: one exchange of `ceil(2n / 8)` bytes each way, 1 round, n OTs in each direction.

use super::Party;
use crate::Error;
use crate::ring::pack::{pack_bits, unpack_bits};

/// Shares of `x[i] & y[i]`; `x` and `y` have the same length.
///
/// # Errors
/// Those of the channel and of an empty stock of OTs.
pub fn and(party: &mut Party, x: &[bool], y: &[bool]) -> Result<Vec<bool>, Error> {
    let count = x.len();
    let triples = party.ots.bit_triples(count)?;
    let mut opened: Vec<bool> = Vec::with_capacity(2 * count);
    opened.extend(x.iter().zip(&triples.a).map(|(x, a)| x ^ a));
    opened.extend(y.iter().zip(&triples.b).map(|(y, b)| y ^ b));
    let theirs = unpack_bits(&party.channel.exchange(pack_bits(&opened))?, 2 * count);
    let server = party.is_server();
    let product = |i: usize| {
        let (d, e) = (opened[i] ^ theirs[i], opened[count + i] ^ theirs[count + i]);
        triples.c[i] ^ (d & triples.b[i]) ^ (e & triples.a[i]) ^ (server & d & e)
    };
    Ok((0..count).map(product).collect())
}
