//! Every gate equals its plain function, exhaustively at small widths.

#![allow(clippy::unwrap_used, reason = "an Err is a failed test")]

mod common;

use common::{both, reveal, run_gate, share};
use eqo_checkpoints::arith::{requantize as plain_requantize, to_signed};
use eqo_checkpoints::cost::Group;
use eqo_checkpoints::cost::Scope;
use eqo_protocol::gates::and::and;
use eqo_protocol::gates::convert::bit_to_arithmetic;
use eqo_protocol::gates::extend::extend;
use eqo_protocol::gates::multiplex::multiplex;
use eqo_protocol::gates::open::open;
use eqo_protocol::gates::requantize::requantize;
use eqo_protocol::testing::seeded;
use rand::Rng;

#[test]
fn and_equals_plain_for_every_share_of_every_pair_of_bits() {
    let bits = |shift: usize| (0..16 * 5).map(|i| i >> shift & 1 == 1).collect::<Vec<bool>>();
    let [xs, xc, ys, yc] = [0, 1, 2, 3].map(bits);
    let (server, client, [meter, _]) =
        run_gate(both(xs.len()), |party| and(party, &xs, &ys), |party| and(party, &xc, &yc));
    for i in 0..xs.len() {
        assert_eq!(server[i] ^ client[i], (xs[i] ^ xc[i]) & (ys[i] ^ yc[i]));
    }
    assert_eq!(meter.of(Scope::Node(0)).rounds, 1);
}

#[test]
fn bit_to_arithmetic_equals_plain_for_every_share_and_ring() {
    for ring in 2..=64 {
        let server_bits = [false, false, true, true];
        let client_bits = [false, true, false, true];
        let (server, client, _) = run_gate(
            both(4),
            |party| bit_to_arithmetic(party, &server_bits, u32::from(ring)),
            |party| bit_to_arithmetic(party, &client_bits, u32::from(ring)),
        );
        assert_eq!(reveal(&server, &client, ring), [0, 1, 1, 0], "ring of {ring} bits");
    }
}

#[test]
fn multiplex_equals_plain_for_every_bit_and_4_bit_share() {
    // Every combination of both bits and both 3-bit shares.
    let all = || 0..256_u64;
    let (bits_s, bits_c): (Vec<bool>, Vec<bool>) = all().map(|i| (i & 1 == 1, i & 2 == 2)).unzip();
    let (xs, xc): (Vec<u64>, Vec<u64>) = all().map(|i| (i >> 2 & 7, i >> 5 & 7)).unzip();
    for ring in [3, 4, 9, 64] {
        let (server, client, _) = run_gate(
            both(256),
            |party| multiplex(party, &bits_s, &xs, u32::from(ring)),
            |party| multiplex(party, &bits_c, &xc, u32::from(ring)),
        );
        let mask = u64::MAX >> (64 - ring);
        let want: Vec<u64> =
            (0..256).map(|i| u64::from(bits_s[i] ^ bits_c[i]) * ((xs[i] + xc[i]) & mask)).collect();
        assert_eq!(reveal(&server, &client, ring), want, "ring of {ring} bits");
    }
}

#[test]
fn extend_equals_plain_for_every_activation_and_every_share() {
    for act in 2..=5_u8 {
        let modulus = 1_u64 << (act + 1);
        let pairs: Vec<(u64, u64)> = (0..modulus / 2)
            .flat_map(|x| (0..modulus).map(move |s| (s, (x + modulus - s) % modulus)))
            .collect();
        let (xs, xc): (Vec<u64>, Vec<u64>) = pairs.into_iter().unzip();
        for ring in [act + 1, act + 2, 17, 62] {
            let (server, client, _) = run_gate(
                both(xs.len()),
                |party| extend(party, act, ring, xs.clone()),
                |party| extend(party, act, ring, xc.clone()),
            );
            let want: Vec<u64> = xs.iter().zip(&xc).map(|(s, c)| (s + c) % modulus).collect();
            assert_eq!(reveal(&server, &client, ring), want, "{act} to {ring} bits");
        }
    }
}

/// Every y that the range proof admits for ring l, shift s and a activation bits.
fn reachable(ring: u8, shift: u8, act: u8) -> std::ops::Range<i64> {
    -(1 << (ring - 1)) + (1 << (act + shift))..(1 << (ring - 1)) - (1 << (shift - 1))
}

fn check_requantize(groups: &[Group], act: u8, lanes: usize, values: &[i64]) {
    let [server, client] = share(values, 7);
    let needed = both(values.len() * 140);
    let (server, client, [meter, _]) = run_gate(
        needed,
        |party| requantize(party, groups, act, lanes, server),
        |party| requantize(party, groups, act, lanes, client),
    );
    let shifts = groups.iter().flat_map(|group| vec![group.shift; group.channels.len() * lanes]);
    let want: Vec<u64> =
        values.iter().zip(shifts).map(|(&y, shift)| plain_requantize(y, shift, act) as u64).collect();
    assert_eq!(reveal(&server, &client, act + 1), want, "{groups:?}, {act} bits");
    let levels = groups.iter().map(|group| group.comparison(act).levels()).max().unwrap();
    // Exchanges whose halves travel at different depths may save one.
    assert!((5..=6).contains(&(meter.of(Scope::Node(0)).rounds - levels as u64)));
}

#[test]
fn requantize_equals_plain_for_every_reachable_value() {
    for (ring, shift, act) in [(5, 1, 2), (5, 2, 2), (8, 3, 2), (9, 5, 3), (10, 1, 4), (12, 5, 6), (13, 3, 8)]
    {
        let values: Vec<i64> = reachable(ring, shift, act).collect();
        let group = Group { ring, shift, channels: vec![0] };
        check_requantize(&[group], act, values.len(), &values);
    }
}

#[test]
fn groups_of_mixed_widths_are_requantized_together() {
    let mut rng = seeded(3);
    let act = 6;
    let lanes = 13;
    let groups: Vec<Group> =
        [(9, 1, 1), (14, 7, 2), (18, 9, 3), (25, 12, 1), (40, 33, 2), (62, 20, 1), (62, 55, 2)]
            .map(|(ring, shift, channels)| Group { ring, shift, channels: (0..channels).collect() })
            .to_vec();
    let mut values = Vec::new();
    for group in &groups {
        let range = reachable(group.ring, group.shift, act);
        let near =
            [range.start, range.end - 1, 0, -1, 1 << (group.shift + act), (1 << (group.shift + act)) - 1];
        let width = range.end.wrapping_sub(range.start) as u64;
        for i in 0..group.channels.len() * lanes {
            let random = range.start.wrapping_add((rng.next_u64() % width) as i64);
            values.push(near.get(i).copied().filter(|y| range.contains(y)).unwrap_or(random));
        }
    }
    check_requantize(&groups, act, lanes, &values);
}

#[test]
fn only_the_client_opens_logits_of_any_sign_and_ring() {
    let rings = [2_u8, 5, 17, 33, 62];
    let values = [-2_i64, 15, -65536, -1, (1 << 61) - 1];
    let [server, client] = share(&values, 5);
    let (nothing, opened, _) = run_gate(
        both(1),
        |party| open(party, |j| rings[j], &server),
        |party| open(party, |j| rings[j], &client),
    );
    assert_eq!(nothing, None);
    let want: Vec<i64> =
        values.iter().zip(rings).map(|(&value, ring)| to_signed(value as u64, ring)).collect();
    assert_eq!(opened, Some(want));
}
