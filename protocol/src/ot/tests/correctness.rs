//! Every output is right.

use rand::{Rng, RngExt};

use super::super::*;
use super::{KINDS, one_of, with_ots};
use crate::ring::mask;
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
                ots.cot_send(channel, count, row, |_, share| shares.push(share.to_vec()))?;
                Ok(shares)
            },
            |channel, mut ots| {
                let mut shares = Vec::new();
                let shape = |j: usize| CotShape { lanes: lanes_of(j), bits: bits(j) };
                ots.cot_recv(channel, &choices, shape, |_, share| shares.push(share.to_vec()))?;
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
            ots.cot_recv(channel, &[true], |_| CotShape { lanes: values.len(), bits: 61 }, |_, _| ())?;
            ots.cot_send(channel, 2, row, |_, share| shares.push(share.to_vec()))?;
            Ok(shares)
        },
        |channel, mut ots| {
            let mut shares = Vec::new();
            let shape = |_| CotShape { lanes: values.len(), bits: 61 };
            ots.cot_send(channel, 1, |_| Correlation { values: &values, bits: 61 }, |_, _| ())?;
            ots.cot_recv(channel, &[true, false], shape, |_, share| shares.push(share.to_vec()))?;
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
fn scalar_cots_run_in_both_directions_at_once() {
    let count = 1000;
    let mut rng = seeded(12);
    let values: [Vec<u64>; 2] = [0; 2].map(|_| (0..count).map(|_| rng.next_u64()).collect());
    let choices: [Vec<bool>; 2] = [0; 2].map(|_| (0..count).map(|_| rng.random()).collect());
    let bits = |j: usize| (j % 64 + 1) as u32;
    let run = |me: usize| {
        let (values, choices) = (&values[me], &choices[me]);
        move |channel: &mut Channel, mut ots: Ots| ots.cot_exchange_scalars(channel, values, choices, bits)
    };
    let (server, client, meters) = with_ots(KINDS[2], count, run(0), run(1));
    assert_eq!(meters[0].of(Scope::Node(0)).rounds, 2);
    for j in 0..count {
        let check = |sent: u64, received: u64, value: u64, choice: bool| {
            assert_eq!(
                sent.wrapping_add(received) & mask(bits(j)),
                (u64::from(choice) * value) & mask(bits(j))
            );
        };
        check(server.0[j], client.1[j], values[0][j], choices[1][j]);
        check(client.0[j], server.1[j], values[1][j], choices[0][j]);
    }
}

#[test]
fn one_of_n_opens_exactly_the_chosen_message_for_every_size() {
    for digit_bits in 1..=4u32 {
        for message_bits in 1..=8u32 {
            let size = 1 << digit_bits;
            // Every digit with 20 random message tables: over one group of instances.
            let digits: Vec<u8> = (0..20 * size).map(|i| (i % size) as u8).collect();
            let mut messages = vec![0; digits.len() * size];
            seeded(13).fill_bytes(&mut messages);
            let kind = KINDS[(digit_bits + message_bits) as usize % 4];
            let runs = one_of(digits.len(), digit_bits, message_bits);
            let (_, received, _) = with_ots(
                kind,
                digits.len() * digit_bits as usize,
                |channel, mut ots| ots.one_of_n_send(channel, &runs, &messages),
                |channel, mut ots| ots.one_of_n_recv(channel, &runs, &digits),
            );
            for (j, digit) in digits.iter().enumerate() {
                let chosen = messages[j * size + usize::from(*digit)] & (u8::MAX >> (8 - message_bits));
                assert_eq!(
                    received[j], chosen,
                    "instance {j} of 2^{digit_bits} messages of {message_bits} bits"
                );
            }
        }
    }
}

#[test]
fn the_messages_not_chosen_look_random() {
    // All messages are zero, so the wire carries the pads: 16 of them for each of 256 instances, 8 bits each.
    let (_, wire, _) = with_ots(
        KINDS[3],
        1024,
        |channel, mut ots| ots.one_of_n_send(channel, &one_of(256, 4, 8), &[0; 4096]),
        |channel, mut ots| {
            let drawn = ots.receiver.draw(1024)?;
            channel.send(vec![0; 128])?;
            drop(drawn);
            channel.recv(4096)
        },
    );
    let mut counts = [0u32; 256];
    wire.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
    assert!(counts.iter().all(|count| (1..48).contains(count)), "{counts:?}");
    let four_related = wire.chunks(16).filter(|pads| pads[0] ^ pads[1] ^ pads[2] ^ pads[3] == 0).count();
    assert!(four_related < 10, "pads of messages 0 to 3 must not cancel: {four_related} of 256 do");
}

#[test]
fn bit_triples_multiply_and_are_balanced() {
    for kind in KINDS {
        let count = 4000;
        let take = |_: &mut Channel, mut ots: Ots| ots.bit_triples(count);
        let (server, client, meters) = with_ots(kind, count, take, take);
        assert_eq!(meters[0].of(Scope::Node(0)), Traffic::default());
        let mut seen = [0; 4];
        for i in 0..count {
            let (a, b) = (server.a[i] ^ client.a[i], server.b[i] ^ client.b[i]);
            assert_eq!(server.c[i] ^ client.c[i], a & b, "{kind:?}");
            seen[usize::from(a) * 2 + usize::from(b)] += 1;
        }
        assert!(seen.iter().all(|n| (850..1150).contains(n)), "{seen:?}");
    }
}
