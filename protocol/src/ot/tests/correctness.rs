//! Every output is right.

use rand::{Rng, RngExt};

use super::super::*;
use super::{KINDS, choose, offer, one_of, with_ots};
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
fn one_of_n_opens_exactly_the_chosen_pad_for_every_size() {
    for digit_bits in 1..=4u32 {
        for message_bits in 1..=4u32 {
            let size = 1 << digit_bits;
            // Every digit 20 times: over one group of instances.
            let digits: Vec<usize> = (0..20 * size).map(|i| i % size).collect();
            let choices: Vec<bool> = digits
                .iter()
                .flat_map(|digit| (0..digit_bits).map(move |bit| digit >> bit & 1 == 1))
                .collect();
            let kind = KINDS[(digit_bits + message_bits) as usize % 4];
            let runs = one_of(digits.len(), digit_bits, message_bits);
            let (offered, received, _) = with_ots(
                kind,
                choices.len(),
                |channel, mut ots| {
                    let offered = offer(channel, &mut ots, choices.len())?;
                    let mut words = Vec::new();
                    ots.offered_messages(offered, &runs, |_, pads| words.extend_from_slice(pads))?;
                    Ok(words)
                },
                |channel, mut ots| {
                    let chosen = choose(channel, &mut ots, &choices)?;
                    ots.chosen_messages(chosen, &runs)
                },
            );
            assert_eq!((offered.len(), received.len()), (digits.len(), digits.len()));
            let used = mask(message_bits);
            for ((digit, word), pad) in digits.iter().zip(&offered).zip(&received) {
                let chosen = word >> (*digit as u32 * message_bits) & used;
                assert_eq!(u64::from(*pad), chosen, "2^{digit_bits} messages of {message_bits} bits");
                assert!(word & !mask(runs[0].width()) == 0, "words are reduced");
            }
        }
    }
}

#[test]
fn runs_of_different_sizes_share_one_batch_of_ots() {
    let runs = [(70, 4, 2), (3, 1, 4), (0, 2, 1), (65, 3, 1)]
        .map(|(count, digit_bits, message_bits)| OneOfN { count, digit_bits, message_bits });
    let ots: usize = runs.iter().map(|run| run.count * run.digit_bits as usize).sum();
    let mut rng = seeded(14);
    let choices: Vec<bool> = (0..ots).map(|_| rng.random()).collect();
    let (offered, received, _) = with_ots(
        KINDS[1],
        ots,
        |channel, mut ots| {
            let offered = offer(channel, &mut ots, choices.len())?;
            let mut words = Vec::new();
            ots.offered_messages(offered, &runs, |run, pads| {
                words.extend(pads.iter().map(|pad| (*run, *pad)))
            })?;
            Ok(words)
        },
        |channel, mut ots| {
            let chosen = choose(channel, &mut ots, &choices)?;
            ots.chosen_messages(chosen, &runs)
        },
    );
    let mut rest = choices.as_slice();
    for ((run, word), pad) in offered.iter().zip(&received) {
        let (own, tail) = rest.split_at(run.digit_bits as usize);
        rest = tail;
        let digit = own.iter().rev().fold(0, |digit, bit| digit << 1 | u32::from(*bit));
        assert_eq!(u64::from(*pad), word >> (digit * run.message_bits) & mask(run.message_bits), "{run:?}");
    }
    assert!(rest.is_empty() && offered.len() == received.len());
}

#[test]
fn the_pads_not_chosen_look_random() {
    let (words, _, _) = with_ots(
        KINDS[3],
        4096,
        |_, mut ots| {
            let offered = ots.offer_randomly(4096)?;
            let mut words = Vec::new();
            ots.offered_messages(offered, &one_of(1024, 4, 4), |_, pads| words.extend_from_slice(pads))?;
            Ok(words)
        },
        |_, _| Ok(()),
    );
    let mut counts = [0u32; 256];
    words.iter().flat_map(|word| word.to_le_bytes()).for_each(|byte| counts[usize::from(byte)] += 1);
    assert!(counts.iter().all(|count| (4..70).contains(count)), "{counts:?}");
    let four = |word: &u64| (0..4).fold(0, |sum, message| sum ^ word >> (4 * message)) & 15;
    let related = words.iter().filter(|word| four(word) == 0).count();
    assert!((25..120).contains(&related), "messages 0 to 3 must not cancel: {related} of 1024 do, not 64");
    let mut sorted = words.clone();
    sorted.sort_unstable();
    assert!(sorted.is_sorted_by(|a, b| a < b), "no instance repeats the pads of another");
}

#[test]
fn ots_split_at_one_party_only_keep_their_serial_numbers() {
    let (count, at) = (500, 123);
    let shape = |_| CotShape { lanes: 3, bits: 64 };
    let (whole, parts, _) = with_ots(
        KINDS[2],
        count,
        |_, mut ots| {
            let offered = ots.offer_randomly(count)?;
            let mut pads = Vec::new();
            ots.offered_pads(offered, shape, |_, zero, one| {
                pads.push([zero.to_vec(), one.to_vec()]);
                Ok(())
            })?;
            Ok(pads)
        },
        |_, mut ots| {
            let mut first = ots.choose_randomly(count)?;
            let mut last = first.split_off(at);
            let middle = last.split_off(0);
            assert_eq!(
                (first.choices().len(), middle.choices().len(), last.choices().len()),
                (at, count - at, 0)
            );
            let mut pads = vec![(false, Vec::new()); count];
            // The later part first: nothing may depend on the order.
            for (offset, part) in [(at, middle), (0, first), (count, last)] {
                ots.chosen_pads(part, shape, |j, choice, pad| {
                    pads[offset + j] = (choice, pad.to_vec());
                    Ok(())
                })?;
            }
            Ok(pads)
        },
    );
    for (sent, (choice, pad)) in whole.iter().zip(&parts) {
        assert_eq!(&sent[usize::from(*choice)], pad);
        assert_ne!(&sent[usize::from(!choice)], pad);
    }
    let mut lanes: Vec<u64> = whole.iter().flatten().flatten().copied().collect();
    lanes.sort_unstable();
    assert!(lanes.is_sorted_by(|a, b| a < b), "no pad of 64 bits repeats another");
}

#[test]
fn offered_ots_split_at_one_party_only_keep_their_serial_numbers() {
    let (count, at) = (96, 40);
    let (offered, chosen, _) = with_ots(
        KINDS[0],
        count,
        |_, mut ots| {
            let mut first = ots.offer_randomly(count)?;
            let last = first.split_off(at);
            assert_eq!((first.count(), last.count()), (at, count - at));
            let mut words = [Vec::new(), Vec::new()];
            ots.offered_messages(last, &one_of((count - at) / 4, 4, 4), |_, pads| {
                words[1].extend_from_slice(pads)
            })?;
            ots.offered_messages(first, &one_of(at / 4, 4, 4), |_, pads| words[0].extend_from_slice(pads))?;
            Ok(words.concat())
        },
        |_, mut ots| {
            let chosen = ots.choose_randomly(count)?;
            let choices = chosen.choices().to_vec();
            Ok((choices, ots.chosen_messages(chosen, &one_of(count / 4, 4, 4))?))
        },
    );
    for ((word, bits), pad) in offered.iter().zip(chosen.0.chunks_exact(4)).zip(chosen.1) {
        let digit = bits.iter().rev().fold(0, |digit, bit| digit << 1 | u32::from(*bit));
        assert_eq!(word >> (4 * digit) & 15, u64::from(pad));
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
