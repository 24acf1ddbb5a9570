//! Every gate equals its plain function, exhaustively at small widths.

#![allow(clippy::unwrap_used, reason = "an Err is a failed test")]

mod common;

use common::{both, larger, requantize, reveal, run_gate, run_priced, share};
use eqo_checkpoints::arith::{requantize as plain_requantize, to_signed};
use eqo_checkpoints::cost::{Comparison, Gate, Group, Scope};
use eqo_protocol::gates::and::{Factors, and};
use eqo_protocol::gates::convert::{bit_to_arithmetic, multiplex};
use eqo_protocol::gates::larger::Larger;
use eqo_protocol::gates::maximum::{argmax, max_pool, negative, relu};
use eqo_protocol::gates::open::open;
use eqo_protocol::gates::requantize::Requantization;
use eqo_protocol::gates::resize::{extend_known_msb, extend_signed, truncate_and_reduce};
use eqo_protocol::testing::seeded;
use rand::{Rng, RngExt};

#[test]
fn and_equals_plain_for_every_share_of_every_factor_and_pair() {
    let all = 0..64_u8;
    let factors = |shift: u8| Factors {
        x: all.clone().map(|i| i >> shift & 1 == 1).collect(),
        y: all.clone().map(|i| i >> (2 + 2 * shift) & 3).collect(),
        pairs: 40,
    };
    let gate = |shift: u8| {
        move |party: &mut eqo_protocol::gates::Party| {
            let triples = party.ots.bit_triples(64)?;
            and(party, triples, &factors(shift))
        }
    };
    let (server, client, [meter, _]) = run_gate(both(64), gate(0), gate(1));
    for i in 0..64 {
        let (x, y) = ((i & 1) ^ (i >> 1 & 1), (i >> 2 & 3) ^ (i >> 4 & 3));
        let products = if i < 40 { 3 } else { 1 };
        assert_eq!((server[i] ^ client[i]) & products, (if x == 1 { y as u8 } else { 0 }) & products);
    }
    assert_eq!(meter.of(Scope::Node(0)).rounds, 1);
}

#[test]
fn bit_to_arithmetic_equals_plain_for_every_share_and_ring() {
    for ring in 2..=64_u8 {
        let server_bits = [false, false, true, true];
        let client_bits = [false, true, false, true];
        let (server, client) = run_priced(
            &Gate::Convert { count: 4, ring: u64::from(ring) },
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
    for ring in [3_u8, 4, 9, 64] {
        let (server, client) = run_priced(
            &Gate::Multiplex { count: 256, ring: u64::from(ring) },
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
fn extension_with_known_top_bit_equals_plain_for_every_value_and_every_share() {
    for from in 3..=6_u8 {
        let modulus = 1_u64 << from;
        let (values, shares): (Vec<u64>, Vec<u64>) =
            (0..modulus / 2).flat_map(|x| (0..modulus).map(move |s| (x, s))).unzip();
        let others: Vec<u64> = values.iter().zip(&shares).map(|(x, s)| x.wrapping_sub(*s)).collect();
        for to in [from, from + 1, 17, 62] {
            let widths = (u32::from(from), u32::from(to));
            let count = values.len() as u64;
            let (server, client) = run_priced(
                &Gate::ExtendKnownMsb { count, from: u64::from(from), to: u64::from(to) },
                |party| extend_known_msb(party, widths, &shares),
                |party| extend_known_msb(party, widths, &others),
            );
            assert_eq!(reveal(&server, &client, to), values, "{from} to {to} bits");
        }
    }
}

/// Every share of every value of `bits` bits.
fn every_share(bits: u8) -> [Vec<u64>; 2] {
    let (server, client) = (0..1_u64 << bits).flat_map(|s| (0..1_u64 << bits).map(move |c| (s, c))).unzip();
    [server, client]
}

#[test]
fn signed_extension_truncation_sign_and_relu_equal_plain_for_every_share() {
    for bits in 3..=6_u8 {
        let [xs, xc] = every_share(bits);
        let count = xs.len() as u64;
        let values: Vec<i64> = xs.iter().zip(&xc).map(|(s, c)| to_signed(s + c, bits)).collect();
        let wide = bits + 1 + bits % 3;
        let from = [(u32::from(bits), xs.len())];
        let (server, client) = run_priced(
            &Gate::extend_signed(&[(bits, count)], wide),
            |party| extend_signed(party, (&from, u32::from(wide)), &xs),
            |party| extend_signed(party, (&from, u32::from(wide)), &xc),
        );
        let signed: Vec<i64> = reveal(&server, &client, wide).iter().map(|&x| to_signed(x, wide)).collect();
        assert_eq!(signed, values, "{bits} to {wide} bits");

        let shift = 1 + bits % 2;
        let widths = (u32::from(bits), u32::from(shift));
        let (server, client) = run_priced(
            &Gate::truncate_and_reduce(count, bits, shift),
            |party| truncate_and_reduce(party, widths, &xs),
            |party| truncate_and_reduce(party, widths, &xc),
        );
        let want: Vec<u64> =
            xs.iter().zip(&xc).map(|(s, c)| ((s + c) & ((1 << bits) - 1)) >> shift).collect();
        assert_eq!(reveal(&server, &client, bits - shift), want, "{bits} bits by {shift}");

        let ring = u32::from(bits);
        let (server, client) = run_priced(
            &Gate::sign(count, bits),
            |party| negative(party, ring, &xs),
            |party| negative(party, ring, &xc),
        );
        assert!((0..values.len()).all(|i| (server[i] ^ client[i]) == (values[i] < 0)), "{bits} bits");

        let (server, client) = run_priced(
            &Gate::relu(count, bits),
            |party| relu(party, ring, &xs),
            |party| relu(party, ring, &xc),
        );
        let want: Vec<u64> = values.iter().map(|&x| x.max(0) as u64).collect();
        assert_eq!(reveal(&server, &client, bits), want, "{bits} bits");
    }
}

#[test]
fn the_maximum_and_its_first_place_equal_plain_for_windows_of_every_size() {
    let mut rng = seeded(9);
    for size in 1..=11_usize {
        let rows = 40;
        // Few values, so that most windows have several largest ones; the extremes of 6 bits among them.
        let values: Vec<i64> =
            (0..rows * size).map(|_| [-32, -1, 0, 3, 31][rng.random_range(0..5)]).collect();
        let [xs, xc] = share(&values, 3);
        let windows = || values.chunks_exact(size);
        let (server, client) = run_priced(
            &Gate::maximum(rows as u64, size as u64, 7, 0),
            |party| max_pool(party, (7, size), &xs),
            |party| max_pool(party, (7, size), &xc),
        );
        let largest: Vec<u64> = windows().map(|w| *w.iter().max().unwrap() as u64 & 127).collect();
        assert_eq!(reveal(&server, &client, 7), largest, "windows of {size}");
        let (server, client) = run_priced(
            &Gate::maximum(rows as u64, size as u64, 7, 4),
            |party| argmax(party, (7, size), 4, &xs),
            |party| argmax(party, (7, size), 4, &xc),
        );
        let first = |w: &[i64]| w.iter().position(|x| x == w.iter().max().unwrap()).unwrap() as u64;
        assert_eq!(reveal(&server, &client, 4), windows().map(first).collect::<Vec<_>>(), "rows of {size}");
    }
}

#[test]
fn matches_equal_plain_for_every_pair_of_values() {
    for bits in 1..=8_u8 {
        let values = 0..1_i64 << bits;
        let pairs: Vec<(i64, i64)> =
            values.clone().flat_map(|f| values.clone().map(move |g| (f, g))).collect();
        let leads: Vec<i64> = pairs.iter().map(|(f, g)| f - g).collect();
        let gate = Larger::new(bits, pairs.len());
        let (server, client, [meter, _]) = larger(&gate, pairs.len() * 16, share(&leads, 11));
        let want: Vec<u64> =
            pairs.iter().map(|&(f, g)| (f - f.max(g)) as u64 & ((2_u64 << bits) - 1)).collect();
        assert_eq!(reveal(&server, &client, bits + 1), want, "{bits} bits");
        let levels = Comparison::carry_only(bits).levels() as u64;
        assert!(meter.of(Scope::Node(0)).rounds <= 2 + levels, "leaves, levels, the masked bit");
    }
}

/// Every y that the range proof admits for ring l, shift s and a activation bits.
fn reachable(ring: u8, shift: u8, act: u8) -> std::ops::Range<i64> {
    -(1 << (ring - 1)) + (1 << (act + shift))..(1 << (ring - 1)) - (1 << (shift - 1))
}

fn check_requantize(groups: &[Group], (act, wide): (u8, u8), lanes: usize, values: &[i64]) {
    let shares = share(values, 7);
    let gate = Requantization::new(groups.to_vec(), act, lanes, wide);
    let (server, client, [meter, _]) = requantize(&gate, values.len() * 140, shares);
    let shifts = groups.iter().flat_map(|group| vec![group.shift; group.channels.len() * lanes]);
    let want: Vec<u64> =
        values.iter().zip(shifts).map(|(&y, shift)| plain_requantize(y, shift, act) as u64).collect();
    assert_eq!(reveal(&server, &client, wide.max(act + 1)), want, "{groups:?}, {act} to {wide} bits");
    let levels = groups.iter().map(|group| group.comparison(act).levels()).max().unwrap() as u64;
    assert!(meter.of(Scope::Node(0)).rounds <= 3 + levels, "leaves, levels, masked bits, wrap");
}

#[test]
fn requantize_equals_plain_for_every_reachable_value() {
    for (ring, shift, act) in [(5, 1, 2), (5, 2, 2), (8, 3, 2), (9, 5, 3), (10, 1, 4), (12, 5, 6), (13, 3, 8)]
    {
        let values: Vec<i64> = reachable(ring, shift, act).collect();
        let group = Group { ring, shift, channels: vec![0] };
        for wide in [act, act + 2, 17] {
            check_requantize(std::slice::from_ref(&group), (act, wide), values.len(), &values);
        }
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
    check_requantize(&groups, (act, 62), lanes, &values);
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
