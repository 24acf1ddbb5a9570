//! 1-of-2^n OTs: the chosen pad is right, the others look random.

use rand::RngExt;

use super::super::*;
use super::{KINDS, choose, offer, one_of, with_ots};
use crate::ring::mask;
use crate::testing::seeded;

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
