//! Random OTs without base OTs, for tests: both parties' seeds come from a dealer whom everybody can see through.

use rand::RngExt;

use super::hash::OtHash;
use super::pprf::grow;
use super::setup::{Sessions, hash_key, punctured_sender, sources};
use super::softspoken::SoftSpokenReceiver;
use super::stock::{ReceiverStock, SenderStock};
use super::{Block, OtKind, Ots};
use crate::{PartyRng, Role};

/// The base OTs of one direction.
struct Deal {
    choices: [bool; 128],
    pairs: Vec<[Block; 2]>,
}

impl Deal {
    fn new(sender: Role, kind: OtKind, seed: u64) -> Self {
        let mut rng = PartyRng::seeded(2 * seed + sender as u64);
        let mut choices: [bool; 128] = rng.random();
        // As in `Ots::setup`: the lowest bit of delta is 1.
        choices[kind.k() as usize - 1] = false;
        Self { choices, pairs: (0..128).map(|_| rng.random()).collect() }
    }
}

impl Ots {
    /// What [`Ots::setup`] makes, without a message and without a secret: the same for the same seed, and one role's fits the
    /// other's.
    pub fn dealt(role: Role, kind: OtKind, seed: u64) -> Self {
        let k = kind.k() as usize;
        let (sending, receiving) = (Deal::new(role, kind, seed), Deal::new(role.peer(), kind, seed));
        let known: Vec<Block> = sending
            .pairs
            .iter()
            .zip(sending.choices)
            .map(|(pair, choice)| pair[usize::from(choice)])
            .collect();
        let corrections: Vec<u8> = sending.pairs.chunks_exact(k).flat_map(|keys| grow(keys).1).collect();
        let trees: Vec<_> = receiving.pairs.chunks_exact(k).map(|keys| grow(keys).0).collect();
        let sessions = Sessions::of(role, &[Role::Server as u8], &[Role::Server as u8]);
        let (as_sender, as_receiver) =
            (OtHash::new(hash_key(&sessions.as_sender)), OtHash::new(hash_key(&sessions.as_receiver)));
        let sender = punctured_sender(kind, &sending.choices, &known, &corrections);
        let (sender, receiver) = sources(kind, sender, SoftSpokenReceiver::new(kind, &trees), &sessions);
        Self {
            sender: SenderStock::new(kind, sender, as_sender),
            receiver: ReceiverStock::new(kind, receiver, as_receiver),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::two_party;

    #[test]
    fn what_is_dealt_to_both_roles_is_correlated_like_what_they_set_up() {
        for kind in OtKind::ALL {
            let (server, client, _) = two_party(
                |channel, _| {
                    let mut ots = Ots::dealt(Role::Server, kind, 5);
                    ots.prepare(channel, 200, 0)?;
                    Ok((ots.sender.draw(200)?.q.to_vec(), *ots.sender.delta))
                },
                |channel, _| {
                    let mut ots = Ots::dealt(Role::Client, kind, 5);
                    ots.prepare(channel, 0, 200)?;
                    Ok(ots.receiver.draw(200)?.t.to_vec())
                },
            );
            let (q, delta) = server;
            let ones = client.iter().filter(|t| *t & 1 == 1).count();
            assert!((50..150).contains(&ones), "{kind:?}: {ones} choices of 1");
            for (q, t) in q.iter().zip(&client) {
                assert_eq!(*t, q ^ ((t & 1) * delta), "{kind:?}");
            }
        }
    }
}
