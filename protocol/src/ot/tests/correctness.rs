//! Every output is right.

use rand::{Rng, RngExt};

use super::super::*;
use super::{KINDS, choose, offer, with_ots};
use crate::ring::mask;
use crate::ring::pack::{BitReader, BitWriter};
use crate::testing::seeded;
use crate::transport::{MAX_FRAME, Scope, Traffic};

#[test]
fn every_random_ot_is_correlated_by_delta_in_both_directions() {
    for kind in KINDS {
        // Spans several batches, chunks and a partial batch, in two calls.
        let draw = |_: &mut Channel, mut ots: Ots| {
            let count = ots.left_as_sender();
            assert_eq!(count, ots.left_as_receiver());
            let (sender, receiver) = (ots.sender.draw(count)?, ots.receiver.draw(count)?);
            Ok((*ots.sender.delta, sender.q, receiver.choices().collect::<Vec<_>>(), receiver.t))
        };
        let twice = |channel: &mut Channel, mut ots: Ots| {
            ots.prepare(channel, 300, 300)?;
            draw(channel, ots)
        };
        let (server, client, _) = with_ots(kind, 70_001, twice, twice);
        for (sender, receiver) in [(&server, &client), (&client, &server)] {
            let mut extension = Extension::new(kind);
            let made = [70_001, 300].map(|count| extension.plan(count).made as usize).iter().sum::<usize>();
            assert_eq!(sender.1.len(), made, "{kind:?}");
            for ((q, r), t) in sender.1.iter().zip(receiver.2.iter()).zip(receiver.3.iter()) {
                assert_eq!(q ^ t, if *r { sender.0 } else { 0 }, "{kind:?}");
                assert_eq!(q & 1, 0, "{kind:?}");
            }
            let ones = receiver.2.iter().filter(|r| **r).count();
            assert!(
                made * 34 / 70 < ones && ones < made * 36 / 70,
                "{ones} ones in {made} choices of {kind:?}"
            );
            assert!((30..98).contains(&sender.0.count_ones()), "delta of {kind:?}");
            let weight: usize = sender.1.iter().map(|q| q.count_ones() as usize).sum();
            assert!((63 * made..65 * made).contains(&weight), "weight {weight} of q of {kind:?}");
        }
        assert_ne!(server.0, client.0);
        let mut rows: Vec<Block> = server.1.iter().chain(client.1.iter()).copied().collect();
        rows.sort_unstable();
        assert!(rows.is_sorted_by(|a, b| a < b), "no OT of either direction or call repeats another");
    }
}

#[test]
fn cot_shares_add_up_to_choice_times_value_at_every_width() {
    let lanes_of = |j: usize| [0, 1, 3, 16, 65, 300][j % 6];
    let count = 6 * 64;
    let mut rng = seeded(11);
    let rows: Vec<Vec<u64>> =
        (0..count).map(|j| (0..lanes_of(j)).map(|_| rng.next_u64()).collect()).collect();
    let choices: Vec<bool> = (0..count).map(|_| rng.random()).collect();
    let bits = |j: usize| (j / 6 + 1) as u32;
    for kind in KINDS {
        let (server, client, _) = with_ots(
            kind,
            count,
            |channel, mut ots| {
                let mut shares = Vec::new();
                let row = |j: usize| Correlation { values: &rows[j], bits: bits(j) };
                let offered = offer(channel, &mut ots, count)?;
                ots.cot_send(channel, offered, row, |_, share| shares.push(share.to_vec()))?;
                Ok(shares)
            },
            |channel, mut ots| {
                let mut shares = Vec::new();
                let shape = |j: usize| CotShape { lanes: lanes_of(j), bits: bits(j) };
                let chosen = choose(channel, &mut ots, &choices)?;
                ots.cot_recv(channel, chosen, shape, |_, share| shares.push(share.to_vec()))?;
                Ok(shares)
            },
        );
        for j in 0..count {
            assert_eq!((server[j].len(), client[j].len()), (lanes_of(j), lanes_of(j)));
            for ((s, c), x) in server[j].iter().zip(&client[j]).zip(&rows[j]) {
                let expected = u64::from(choices[j]).wrapping_mul(*x) & mask(bits(j));
                assert_eq!(s.wrapping_add(*c) & mask(bits(j)), expected, "{kind:?}, {} bits", bits(j));
                assert!((s | c) & !mask(bits(j)) == 0, "shares are reduced");
            }
        }
    }
}

#[test]
fn one_cot_may_be_longer_than_a_frame() {
    let values: Vec<u64> = (0..300_000u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
    let (server, client, _) = with_ots(
        KINDS[2],
        3,
        |channel, mut ots| {
            let mut shares = Vec::new();
            let row = |_| Correlation { values: &values, bits: 61 };
            let chosen = choose(channel, &mut ots, &[true])?;
            ots.cot_recv(channel, chosen, |_| CotShape { lanes: values.len(), bits: 61 }, |_, _| ())?;
            let offered = offer(channel, &mut ots, 2)?;
            ots.cot_send(channel, offered, row, |_, share| shares.push(share.to_vec()))?;
            Ok(shares)
        },
        |channel, mut ots| {
            let mut shares = Vec::new();
            let shape = |_| CotShape { lanes: values.len(), bits: 61 };
            let offered = offer(channel, &mut ots, 1)?;
            ots.cot_send(channel, offered, |_| Correlation { values: &values, bits: 61 }, |_, _| ())?;
            let chosen = choose(channel, &mut ots, &[true, false])?;
            ots.cot_recv(channel, chosen, shape, |_, share| shares.push(share.to_vec()))?;
            Ok(shares)
        },
    );
    assert!(values.len() * 61 / 8 > 2 * MAX_FRAME);
    for (i, value) in values.iter().enumerate() {
        assert_eq!(server[0][i].wrapping_add(client[0][i]) & mask(61), value & mask(61));
        assert_eq!(server[1][i].wrapping_add(client[1][i]) & mask(61), 0);
    }
}

#[test]
fn cots_run_in_both_directions_at_once() {
    let count = 1000;
    let mut rng = seeded(12);
    let values: [Vec<u64>; 2] = [0; 2].map(|_| (0..count).map(|_| rng.next_u64()).collect());
    let choices: [Vec<bool>; 2] = [0; 2].map(|_| (0..count).map(|_| rng.random()).collect());
    let bits = |j: usize| (j % 64 + 1) as u32;
    let shape = |j: usize| CotShape { lanes: 1, bits: bits(j) };
    let packed: u64 = (0..count).map(|j| u64::from(bits(j))).sum();
    let run = |me: usize| {
        let (values, choices) = (&values[me], &choices[me]);
        move |channel: &mut Channel, mut ots: Ots| {
            let (chosen, flips) = ots.choose(choices.clone())?;
            let flips = channel.exchange(flips)?;
            let offered = ots.offer(count, &flips)?;
            let (mut message, mut sent, mut received) = (BitWriter::default(), Vec::new(), Vec::new());
            ots.offered_pads(offered, shape, |j, zero, one| {
                message.put(zero[0].wrapping_sub(one[0]).wrapping_add(values[j]), bits(j));
                sent.push(zero[0].wrapping_neg());
                Ok(())
            })?;
            let message = channel.exchange_sized(message.finish(), packed.div_ceil(8) as usize)?;
            let mut corrections = BitReader::new(&message);
            ots.chosen_pads(chosen, shape, |j, choice, pad| {
                let correction = corrections.get(bits(j));
                received.push(pad[0].wrapping_add(u64::from(choice).wrapping_mul(correction)));
                Ok(())
            })?;
            Ok((sent, received))
        }
    };
    let (server, client, meters) = with_ots(KINDS[2], count, run(0), run(1));
    assert_eq!(meters[0].of(Scope::Node(0)).rounds, 2);
    for j in 0..count {
        let check = |sent: u64, received: u64, value: u64, choice: bool| {
            assert_eq!(
                sent.wrapping_add(received) & mask(bits(j)),
                u64::from(choice).wrapping_mul(value) & mask(bits(j))
            );
        };
        check(server.0[j], client.1[j], values[0][j], choices[1][j]);
        check(client.0[j], server.1[j], values[1][j], choices[0][j]);
    }
}

#[test]
fn both_products_of_bit_triples_are_right_and_balanced() {
    for kind in KINDS {
        let count = 4000;
        let take = |_: &mut Channel, mut ots: Ots| ots.bit_triples(count);
        let (server, client, meters) = with_ots(kind, count, take, take);
        assert_eq!(meters[0].of(Scope::Node(0)), Traffic::default());
        let mut seen = [[0; 8]; 3];
        for i in 0..count {
            let (a, b) = (server.a[i] ^ client.a[i], server.b[i] ^ client.b[i]);
            assert_eq!(server.c[i] ^ client.c[i], if b { a } else { 0 }, "{kind:?}");
            assert!((a | server.a[i] | server.c[i]) < 4);
            seen[0][usize::from(a) * 2 + usize::from(b)] += 1;
            // A party's own shares tell it nothing either.
            for (seen, party) in seen[1..].iter_mut().zip([&server, &client]) {
                seen[usize::from(party.a[i] ^ party.c[i]) * 2 + usize::from(party.b[i])] += 1;
            }
        }
        assert!(seen.as_flattened().iter().all(|n| (375..625).contains(n)), "{seen:?}");
    }
}
