//! Every OT has a serial number of its own, whatever draws or splits it.

use super::super::*;
use super::{KINDS, one_of, with_ots};

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
fn serial_numbers_never_repeat_in_a_direction_whatever_draws_them() {
    let draws = |as_server: bool| {
        move |channel: &mut Channel, mut ots: Ots| {
            let (mut offered, mut chosen) = (Vec::new(), Vec::new());
            for round in 0..3 {
                let mut one = ots.offer_randomly(100 + round)?;
                let tail = one.split_off(60);
                let two = ots.offer(7, &[0xff])?;
                let empty = ots.offer_randomly(0)?;
                offered.extend([&one, &tail, &two, &empty].map(|ots| (ots.first_serial, ots.count())));
                let mut one = ots.choose_randomly(100 + round)?;
                let tail = one.split_off(1);
                let (two, _) = ots.choose(vec![true; 7])?;
                chosen.extend([&one, &tail, &two].map(|ots| (ots.first_serial, ots.choices().len())));
                // Triples take OTs of both directions and say nothing about them: a gap.
                ots.bit_triples(11)?;
                // More OTs in between don't start over.
                let more = if as_server { (200, 300) } else { (300, 200) };
                ots.prepare(channel, more.0, more.1)?;
            }
            let spent = [ots.offer_randomly(1)?.first_serial, ots.choose_randomly(1)?.first_serial];
            Ok((offered, chosen, spent))
        }
    };
    let (server, client, _) = with_ots(KINDS[2], 1024, draws(true), draws(false));
    for (offered, chosen, spent) in [server, client] {
        assert_eq!(spent, [3 * (101 + 7 + 11), 3 * (101 + 7 + 11)], "one number for each OT drawn");
        for ranges in [offered, chosen] {
            let mut serials: Vec<u64> =
                ranges.iter().flat_map(|&(first, count)| first..first + count as u64).collect();
            assert_eq!(serials.len(), 3 * (101 + 7));
            serials.sort_unstable();
            assert!(serials.is_sorted_by(|a, b| a < b));
        }
    }
}
