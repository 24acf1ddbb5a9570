//! Base OTs: Chou and Orlandi, "The Simplest Protocol for Oblivious Transfer" (LATINCRYPT 2015), on ristretto255.
//!
//! The sender publishes S = yG. For choice c the receiver answers R = xG + cS, and the keys are hashes of yR and y(R - S),
//! of which it knows the one at xS. The hash is bound to the session, the direction, the OT's index and both points.

use curve25519_dalek::Scalar;
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::traits::{Identity, IsIdentity};
use rand::Rng;
use subtle::{Choice, ConditionallySelectable};
use zeroize::Zeroizing;

use super::Block;
use crate::transport::Scope;
use crate::{Error, PartyRng};

/// Bytes of a compressed point.
pub(super) const POINT: usize = 32;

/// A public string that no two batches of base OTs share.
pub(super) type Session = [u8; 32];

/// The sender between its two messages.
pub(super) struct BaseSender {
    secret: Zeroizing<Scalar>,
    point: RistrettoPoint,
}

impl BaseSender {
    pub(super) fn new(rng: &mut PartyRng) -> Self {
        let secret = random_scalar(rng);
        let point = RistrettoPoint::mul_base(&secret);
        Self { secret, point }
    }

    /// S, for the receiver.
    pub(super) fn hello(&self) -> [u8; POINT] {
        self.point.compress().to_bytes()
    }

    /// Both keys of each OT, from the receiver's `replies`, [`POINT`] bytes each.
    pub(super) fn keys(&self, session: &Session, replies: &[u8]) -> Result<Vec<[Block; 2]>, Error> {
        let hello = self.hello();
        let shift = self.point * *self.secret;
        let both = |(index, reply): (usize, &[u8])| {
            let shared = decompress(reply)? * *self.secret;
            Ok([shared, shared - shift].map(|point| derive(session, index, [&hello, reply], &point)))
        };
        replies.chunks(POINT).enumerate().map(both).collect()
    }
}

/// The receiver: its replies to `hello`, [`POINT`] bytes for each choice, and the key of each choice.
pub(super) fn receive(
    session: &Session,
    hello: &[u8],
    choices: &[bool],
    rng: &mut PartyRng,
) -> Result<(Vec<u8>, Vec<Block>), Error> {
    let sender = decompress(hello)?;
    // Of their full size from the start: growing would leave copies of keys behind.
    let (mut replies, mut keys) =
        (Vec::with_capacity(choices.len() * POINT), Vec::with_capacity(choices.len()));
    for (index, choice) in choices.iter().enumerate() {
        let secret = random_scalar(rng);
        let choice = Choice::from(u8::from(*choice));
        let offset = RistrettoPoint::conditional_select(&RistrettoPoint::identity(), &sender, choice);
        let reply = (RistrettoPoint::mul_base(&secret) + offset).compress().to_bytes();
        keys.push(derive(session, index, [hello, &reply], &(sender * *secret)));
        replies.extend_from_slice(&reply);
    }
    Ok((replies, keys))
}

fn random_scalar(rng: &mut PartyRng) -> Zeroizing<Scalar> {
    let mut wide = Zeroizing::new([0; 64]);
    rng.fill_bytes(wide.as_mut());
    Zeroizing::new(Scalar::from_bytes_mod_order_wide(&wide))
}

/// The peer's point, if it is a canonical encoding and not the identity.
fn decompress(bytes: &[u8]) -> Result<RistrettoPoint, Error> {
    let point = CompressedRistretto::from_slice(bytes).ok().and_then(|point| point.decompress());
    point.filter(|point| !point.is_identity()).ok_or_else(|| Error::PeerData {
        scope: Scope::BaseOt,
        what: "a base OT's point",
        expected: "a ristretto point other than the identity",
        found: format!("{} bytes that encode none", bytes.len()),
    })
}

fn derive(session: &Session, index: usize, messages: [&[u8]; 2], shared: &RistrettoPoint) -> Block {
    let mut hasher = blake3::Hasher::new_derive_key("eqo base OT key, version 1");
    hasher.update(session).update(&(index as u64).to_le_bytes());
    hasher.update(messages[0]).update(messages[1]).update(shared.compress().as_bytes());
    let mut key = [0; 16];
    hasher.finalize_xof().fill(&mut key);
    Block::from_le_bytes(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_receiver_gets_the_key_of_its_choice_and_no_other() {
        let mut rng = PartyRng::seeded(5);
        let choices: Vec<bool> = (0..32).map(|i| i % 3 == 0).collect();
        let sender = BaseSender::new(&mut rng);
        let (replies, keys) = receive(&[9; 32], &sender.hello(), &choices, &mut rng).unwrap();
        let pairs = sender.keys(&[9; 32], &replies).unwrap();
        for ((choice, key), pair) in choices.iter().zip(keys).zip(pairs) {
            assert_eq!(key, pair[usize::from(*choice)]);
            assert_ne!(pair[0], pair[1]);
        }
    }

    #[test]
    fn keys_of_another_session_differ() {
        let mut rng = PartyRng::seeded(6);
        let sender = BaseSender::new(&mut rng);
        let (replies, _) = receive(&[1; 32], &sender.hello(), &[true], &mut rng).unwrap();
        assert_ne!(sender.keys(&[1; 32], &replies).unwrap(), sender.keys(&[2; 32], &replies).unwrap());
    }

    #[test]
    fn bytes_that_are_no_point_are_refused() {
        let mut rng = PartyRng::seeded(7);
        let sender = BaseSender::new(&mut rng);
        for bad in [[0; POINT], [0xff; POINT]] {
            assert!(matches!(sender.keys(&[0; 32], &bad), Err(Error::PeerData { .. })));
            assert!(matches!(receive(&[0; 32], &bad, &[true], &mut rng), Err(Error::PeerData { .. })));
        }
    }
}
