//! Every gate against its meaning in the clear, on shares that neither party knew before.

use eqo_checkpoints::baseline::{Multiplexer, Range};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha20Rng;

use super::{OneOfN, Peer};
use crate::gates::Party;
use crate::layers::Shares;
use crate::ot::{KkotReceiver, KkotSender, OtKind, Ots};
use crate::ring::mask;
use crate::testing::two_party;
use crate::transport::Channel;
use crate::{Error, PartyRng, Role};

fn with_peer<T>(
    channel: &mut Channel,
    rng: &mut PartyRng,
    role: Role,
    gate: impl FnOnce(&mut Peer) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut ots = Ots::setup(channel, role, OtKind::SoftSpoken1, rng)?;
    let one_of_n = match role {
        Role::Server => OneOfN::Sender(Box::new(KkotSender::setup(channel, rng)?)),
        Role::Client => OneOfN::Receiver(Box::new(KkotReceiver::setup(channel, rng)?)),
    };
    gate(&mut Peer { party: Party { role, channel, ots: &mut ots, rng }, one_of_n })
}

/// Runs `gate` on random shares of `values` in Z_{2^from}; the sums of its outputs in Z_{2^to}.
fn on_shares(
    values: &[u64],
    (from, to): (u32, u32),
    gate: impl Fn(&mut Peer, &[u64]) -> Result<Shares, Error> + Sync,
) -> Vec<u64> {
    let mut rng = ChaCha20Rng::seed_from_u64(u64::from(from) << 8 | u64::from(to));
    let client: Vec<u64> = values.iter().map(|_| rng.random()).collect();
    let server: Vec<u64> =
        values.iter().zip(&client).map(|(value, share)| value.wrapping_sub(*share)).collect();
    let low = |shares: &[u64]| shares.iter().map(|share| share & mask(from)).collect::<Vec<u64>>();
    let (server, client) = (low(&server), low(&client));
    let (server, client, _) = two_party(
        |channel, rng| with_peer(channel, rng, Role::Server, |peer| gate(peer, &server)),
        |channel, rng| with_peer(channel, rng, Role::Client, |peer| gate(peer, &client)),
    );
    server.iter().zip(client.iter()).map(|(server, client)| server.wrapping_add(*client) & mask(to)).collect()
}

/// All values of small rings, edges and random ones of large rings.
fn values(bits: u32) -> Vec<u64> {
    if bits <= 8 {
        return (0..1 << bits).collect();
    }
    let mut rng = ChaCha20Rng::seed_from_u64(u64::from(bits));
    let half = 1 << (bits - 1);
    let edges = [0, 1, half - 1, half, half + 1, mask(bits), mask(bits) - 1];
    edges.into_iter().chain((0..200).map(|_| rng.random::<u64>() & mask(bits))).collect()
}

fn signed(value: u64, bits: u32) -> i64 {
    eqo_checkpoints::arith::to_signed(value, bits as u8)
}

const WIDTHS: [u32; 7] = [2, 3, 5, 6, 9, 16, 37];

#[test]
fn extensions_keep_the_integer() {
    for from in WIDTHS {
        for to in [from + 1, from + 19] {
            let all = values(from);
            let unsigned = on_shares(&all, (from, to), |peer, x| peer.extend((from, to), x, Range::Unsigned));
            assert_eq!(unsigned, all);
            let found = on_shares(&all, (from, to), |peer, x| peer.extend((from, to), x, Range::Signed));
            let want: Vec<u64> = all.iter().map(|&x| signed(x, from) as u64 & mask(to)).collect();
            assert_eq!(found, want);
            let small: Vec<u64> = all.iter().map(|x| x & mask(from - 1)).collect();
            let known =
                on_shares(&small, (from, to), |peer, x| peer.extend((from, to), x, Range::TopBitZero));
            assert_eq!(known, small);
        }
    }
}

#[test]
fn truncations_are_exact() {
    for bits in WIDTHS {
        for shift in [1, 2, bits / 2, bits - 1].into_iter().filter(|&shift| 0 < shift && shift < bits) {
            let all = values(bits);
            let found =
                on_shares(&all, (bits, bits - shift), |peer, x| peer.truncate_and_reduce((bits, shift), x));
            assert_eq!(
                found,
                all.iter().map(|x| x >> shift).collect::<Vec<_>>(),
                "reduced {bits} by {shift}"
            );
            let found =
                on_shares(&all, (bits, bits), |peer, x| peer.truncate((bits, shift), x, Range::Signed));
            let want: Vec<u64> =
                all.iter().map(|&x| (signed(x, bits) >> shift) as u64 & mask(bits)).collect();
            assert_eq!(found, want, "{bits} by {shift}");
            let small: Vec<u64> = all.iter().map(|x| x & mask(bits - 1)).collect();
            let found =
                on_shares(&small, (bits, bits), |peer, x| peer.truncate((bits, shift), x, Range::TopBitZero));
            assert_eq!(
                found,
                small.iter().map(|x| x >> shift).collect::<Vec<_>>(),
                "{bits} by {shift}, known"
            );
        }
    }
}

#[test]
fn relu_and_clamp_equal_their_definitions() {
    for bits in WIDTHS {
        let all = values(bits);
        for kind in [Multiplexer::Chosen, Multiplexer::Correlated] {
            let found = on_shares(&all, (bits, bits), |peer, x| peer.relu(bits, x, kind));
            let want: Vec<u64> = all.iter().map(|&x| signed(x, bits).max(0) as u64).collect();
            assert_eq!(found, want, "{bits} bits");
        }
        let small: Vec<u64> = all.iter().map(|x| x & mask(bits - 1)).collect();
        for top in 1..(bits - 1).min(7) {
            let found = on_shares(&small, (bits, bits), |peer, x| peer.clamp((bits, top), x));
            assert_eq!(found, small.iter().map(|&x| x.min(mask(top))).collect::<Vec<_>>(), "{bits} to {top}");
        }
    }
}

#[test]
fn comparisons_tell_more_and_equal_for_every_pair_of_small_integers() {
    for bits in [1, 2, 4, 5, 7] {
        for equality in [false, true] {
            let all: Vec<[u64; 2]> =
                (0..1 << bits).flat_map(|a| (0..1 << bits).map(move |b| [a, b])).collect();
            let own = |side: usize| all.iter().map(|pair| pair[side]).collect::<Vec<u64>>();
            let (server, client) = (own(0), own(1));
            let (server, client, _) = two_party(
                |channel, rng| {
                    with_peer(channel, rng, Role::Server, |peer| peer.compare(bits, &server, equality))
                },
                |channel, rng| {
                    with_peer(channel, rng, Role::Client, |peer| peer.compare(bits, &client, equality))
                },
            );
            for ((server, client), [a, b]) in server.iter().zip(client.iter()).zip(&all) {
                assert_eq!(server[0] ^ client[0], b > a, "{bits} bits: {b} > {a}");
                assert!(!equality || (server[1] ^ client[1]) == (a == b), "{bits} bits: {b} = {a}");
            }
        }
    }
}

/// A party's own share says nothing: for one value, shares of every gate's output are as often 0 as 1 in each bit.
#[test]
fn outputs_are_fresh_shares() {
    let same = vec![5_u64; 4000];
    let share = |shares: &[u64], bits: u32| {
        for bit in 0..bits {
            let ones = shares.iter().filter(|share| *share >> bit & 1 == 1).count();
            // Seven standard deviations of a fair coin.
            assert!((2000_i64 - ones as i64).abs() < 222, "bit {bit}: {ones} of 4000");
        }
    };
    for side in [0, 1] {
        // The other party's input share is constant, so only the gate can make outputs uniform.
        let gate = |peer: &mut Peer, x: &[u64]| peer.relu(6, x, Multiplexer::Chosen);
        let truncated = |peer: &mut Peer, x: &[u64]| peer.truncate((6, 2), x, Range::Signed);
        let zero = vec![0_u64; 4000];
        let inputs = if side == 0 { [&same, &zero] } else { [&zero, &same] };
        for gate in [&gate as &(dyn Fn(&mut Peer, &[u64]) -> Result<Shares, Error> + Sync), &truncated] {
            let (server, client, _) = two_party(
                |channel, rng| with_peer(channel, rng, Role::Server, |peer| gate(peer, inputs[0])),
                |channel, rng| with_peer(channel, rng, Role::Client, |peer| gate(peer, inputs[1])),
            );
            share(&server, 6);
            share(&client, 6);
        }
    }
}
