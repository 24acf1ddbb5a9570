//! A smoke test of privacy: whatever the secret, each party's shares alone are uniform. The proofs are in the gates' docs.

#![allow(clippy::unwrap_used, reason = "an Err is a failed test")]

mod common;

use common::{both, first_conv, requantize, reveal, run_gate, share};
use eqo_checkpoints::cost::Group;
use eqo_checkpoints::graph::Conv;
use eqo_checkpoints::testing::{Spec, random_checkpoint};
use eqo_protocol::gates::products::Products;
use eqo_protocol::gates::requantize::Requantization;
use eqo_protocol::gates::resize::extend_known_msb;

/// Counts of each residue must be within six standard deviations of their mean.
fn assert_uniform(shares: &[u64], bits: u32, what: &str) {
    let mut counts = vec![0_f64; 1 << bits];
    shares.iter().for_each(|share| counts[(share & ((1 << bits) - 1)) as usize] += 1.0);
    let mean = shares.len() as f64 / counts.len() as f64;
    for (residue, count) in counts.iter().enumerate() {
        assert!(
            (count - mean).abs() < 6.0 * mean.sqrt(),
            "{what}: residue {residue} occurs {count} times, not {mean}"
        );
    }
}

#[test]
fn requantized_shares_of_one_value_are_uniform_at_both_parties_in_the_narrow_and_the_wide_ring() {
    let elements = 1 << 13;
    let group = Group { ring: 9, shift: 3, channels: vec![0] };
    for y in [-100_i64, 0, 20, 200] {
        for (wide, high_bits) in [(3, 0), (8, 5)] {
            let gate = Requantization::new(vec![group.clone()], 2, elements, wide);
            let (server, client, _) = requantize(&gate, elements * 40, share(&vec![y; elements], 9));
            for shares in [server, client] {
                assert_uniform(&shares, 3, &format!("requantized {y} to {wide} bits"));
                let top: Vec<u64> = shares.iter().map(|share| share >> 3).collect();
                assert_uniform(&top, high_bits, &format!("high bits of requantized {y}"));
            }
        }
    }
}

#[test]
fn extended_shares_of_one_value_are_uniform_at_both_parties() {
    let elements = 1 << 13;
    for x in [0_i64, 3] {
        let [server, client] = share(&vec![x; elements], 9);
        let (server, client, _) = run_gate(
            both(elements),
            |party| extend_known_msb(party, (3, 8), &server),
            |party| extend_known_msb(party, (3, 8), &client),
        );
        for shares in [server, client] {
            let top: Vec<u64> = shares.iter().map(|share| share >> 3).collect();
            assert_uniform(&top, 5, &format!("high bits of extended {x}"));
        }
    }
}

/// What no OT contributes to is public: taps without bits have no product, and a tap's lowest exponent divides its products.
#[test]
fn product_shares_are_uniform_at_both_parties_whatever_weights_and_inputs() {
    for seed in 0..12 {
        let spec = Spec::new([1, 4, 4], 2, vec![]);
        let spec = if seed % 2 == 0 { spec } else { spec.with_mid_rise() };
        let checkpoint = random_checkpoint(seed, &spec);
        let (name, conv) = first_conv(&checkpoint);
        let lanes = 1 << 9;
        let [server, client] = products_of_zeros(conv, &checkpoint.weights().layers[name].codes, lanes);
        assert!(reveal(&server, &client, 2).iter().all(|&product| product == 0), "zero times anything");
        for shares in [server, client] {
            for (tap, shares) in shares.chunks(conv.out_channels * lanes).enumerate() {
                let what = format!("seed {seed}, tap {tap}");
                let Some(&lowest) = conv.exponents(tap).first() else {
                    assert!(shares.iter().all(|&share| share == 0), "{what} has no bits");
                    continue;
                };
                let bits: Vec<u64> = shares.iter().map(|share| share >> lowest).collect();
                assert_uniform(&bits, 2, &what);
            }
        }
    }
}

/// Both parties' shares `[taps][out][lanes]` of a Winograd convolution's products with rows of zeros.
fn products_of_zeros(conv: &Conv, codes: &[i8], lanes: usize) -> [Vec<u64>; 2] {
    let products = Products::new(conv, lanes);
    let zeros = vec![0; conv.positions() * conv.in_channels * lanes];
    let (server, client, _) = run_gate(
        both(conv.weight_bits()),
        |party| {
            let chosen = products.server_draw(party, codes)?;
            products.server(party, chosen)
        },
        |party| {
            let offered = products.client_draw(party)?;
            products.client(party, offered, &zeros)
        },
    );
    [server, client]
}
