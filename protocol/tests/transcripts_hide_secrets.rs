//! Two transcripts of each gate: with two different secrets of the *other* party, what a party receives has the same
//! lengths in the same order and bits of the same frequencies, though the outputs differ. Besides, each message is uniform,
//! alone and together with those that the party sent or with its shares of the output, and so are these shares.

#![allow(clippy::unwrap_used, reason = "an Err is a failed test")]

mod common;

use common::statistic::{assert_alike, assert_uniform, assert_unrelated, notices_relation, tells_apart};
use common::transcript::{Message, mark, record};
use common::{first_conv, reveal, share};
use eqo_checkpoints::cost::{Comparison, Group};
use eqo_checkpoints::graph::Conv;
use eqo_checkpoints::testing::{Spec, random_checkpoint};
use eqo_protocol::gates::Party;
use eqo_protocol::gates::and::{Factors, and};
use eqo_protocol::gates::compare::{Section, carry};
use eqo_protocol::gates::convert::{bit_to_arithmetic, multiplex};
use eqo_protocol::gates::larger::Larger;
use eqo_protocol::gates::mask::{add_masked, send_masked};
use eqo_protocol::gates::maximum::argmax;
use eqo_protocol::gates::products::Products;
use eqo_protocol::gates::requantize::Requantization;
use eqo_protocol::gates::resize::{extend_known_msb, extend_signed};
use eqo_protocol::ot::{OtKind, Ots};
use eqo_protocol::ring::pack::{pack, pack_bits, unpack};
use eqo_protocol::testing::seeded;
use eqo_protocol::transport::Channel;
use eqo_protocol::{Error, PartyRng, Role};
use rand::Rng;

const RUNS: usize = 300;

/// The secrets of server and client in each section.
const SECRETS: [[usize; 2]; 3] = [[0, 0], [1, 0], [0, 1]];

/// A gate at either party with one of its two secrets; its shares of the output.
type Gate<'g> = dyn Fn(&mut Party, usize) -> Result<Vec<u64>, Error> + Sync + 'g;

/// What server and client hear in each section, and the outputs in Z_{2^ring}.
struct Heard {
    server: Vec<Vec<Message>>,
    client: Vec<Vec<Message>>,
    outputs: Vec<Vec<u64>>,
    /// The shares of the outputs of every run, packed.
    shares: [Vec<Message>; 2],
}

/// Runs a gate that takes at most `ots` OTs in each direction again and again.
fn hear(ots: usize, ring: u8, gate: &Gate) -> Heard {
    let run = |role: Role| {
        move |channel: &mut Channel, rng: &mut PartyRng| {
            let mut stock = Ots::setup(channel, role, OtKind::SoftSpoken4, rng)?;
            let mut outputs = Vec::new();
            for secrets in SECRETS {
                stock.prepare(channel, ots * RUNS, ots * RUNS)?;
                mark(channel)?;
                for _ in 0..RUNS {
                    let mut party = Party { role, channel, ots: &mut stock, rng };
                    outputs.push(gate(&mut party, secrets[role as usize])?);
                }
                mark(channel)?;
            }
            Ok(outputs)
        }
    };
    let (server, client, transcripts) = record([51, 52], run(Role::Server), run(Role::Client));
    let outputs: Vec<Vec<u64>> = server.iter().zip(&client).map(|(s, c)| reveal(s, c, ring)).collect();
    assert!(
        outputs.chunks(RUNS).all(|runs| runs.iter().all(|run| run == &runs[0])),
        "same secrets, same output"
    );
    // Every other section holds the OT extension.
    let gates = |sections: Vec<Vec<Message>>| sections.into_iter().skip(1).step_by(2).collect();
    let [to_server, to_client] = transcripts.map(|transcript| gates(transcript.0));
    let pack_all = |runs: Vec<Vec<u64>>| runs.iter().map(|shares| pack(shares, u32::from(ring))).collect();
    Heard {
        server: to_server,
        client: to_client,
        outputs: outputs.into_iter().step_by(RUNS).collect(),
        shares: [pack_all(server), pack_all(client)],
    }
}

/// Of the shares in Z_{2^ring} those bits are checked that aren't the lowest `kept` ones, which a gate may keep from its
/// inputs.
fn check(name: &str, ots: usize, (ring, kept): (u8, u8), gate: &Gate) {
    let heard = hear(ots, ring, gate);
    assert!(!heard.server[0].is_empty() || !heard.client[0].is_empty(), "{name} sends something");
    assert_ne!(heard.outputs[0], heard.outputs[1], "{name}: the server's secret matters");
    assert_ne!(heard.outputs[0], heard.outputs[2], "{name}: the client's secret matters");
    assert_alike(&heard.client[0], &heard.client[1], RUNS, &format!("the client of {name}"));
    assert_alike(&heard.server[0], &heard.server[2], RUNS, &format!("the server of {name}"));
    for (server, client) in heard.server.iter().zip(&heard.client) {
        assert_uniform(server, RUNS, &format!("the server of {name}"));
        assert_uniform(client, RUNS, &format!("the client of {name}"));
        assert_unrelated(server, client, RUNS, name);
    }
    let elements = heard.outputs[0].len();
    for (shares, (received, who)) in
        heard.shares.iter().zip([(&heard.server, "server"), (&heard.client, "client")])
    {
        let planes: Vec<Vec<Message>> =
            shares.iter().map(|shares| planes(&unpack(shares, u32::from(ring), elements), ring)).collect();
        for (planes, received) in planes.chunks(RUNS).zip(received) {
            let what = format!("the {who}'s shares of {name}");
            let fresh: Vec<Message> =
                planes.iter().flat_map(|planes| planes[usize::from(kept)..].to_vec()).collect();
            assert_uniform(&fresh, RUNS, &what);
            assert_unrelated(&planes.concat(), received, RUNS, &what);
        }
    }
}

/// Bit i of every share as message i.
fn planes(shares: &[u64], ring: u8) -> Vec<Message> {
    let plane = |bit: u8| pack_bits(&shares.iter().map(|share| share >> bit & 1 == 1).collect::<Vec<_>>());
    (0..ring).map(plane).collect()
}

/// Shares of either party for either of its secrets: `shares[role][secret]`. The values that they make together are
/// `values[i]` for [`SECRETS`] i.
fn shares_of(values: [Vec<i64>; 3]) -> [[Vec<u64>; 2]; 2] {
    let [server, client] = share(&values[0], 61);
    let rest = |values: &[i64], known: &[u64]| -> Vec<u64> {
        values.iter().zip(known).map(|(&value, share)| (value as u64).wrapping_sub(*share)).collect()
    };
    let other_server = rest(&values[1], &client);
    let other_client = rest(&values[2], &server);
    [[server, other_server], [client, other_client]]
}

/// Random values in `low..high`.
fn values_in(low: i64, high: i64, count: usize) -> [Vec<i64>; 3] {
    let mut rng = seeded(62);
    [0; 3].map(|_| (0..count).map(|_| low + (rng.next_u64() % (high - low) as u64) as i64).collect())
}

/// Random bits or words, of each party for each secret.
fn any_shares(count: usize) -> [[Vec<u64>; 2]; 2] {
    let mut rng = seeded(63);
    [0; 2].map(|_| [0; 2].map(|_| (0..count).map(|_| rng.next_u64()).collect()))
}

fn bits(words: &[u64]) -> Vec<bool> {
    words.iter().map(|word| word >> 40 & 1 == 1).collect()
}

#[test]
fn products() {
    // Shares of taps without bits are zeros, and those of a tap's lowest exponent's multiples aren't uniform either.
    let uniform = |conv: &Conv| (0..conv.positions()).all(|p| conv.exponents(p).first() == Some(&0));
    let checkpoints = (0..).map(|seed| random_checkpoint(seed, &Spec::new([1, 4, 4], 2, vec![])));
    let checkpoint = { checkpoints }.find(|checkpoint| uniform(first_conv(checkpoint).1)).unwrap();
    let (name, conv) = first_conv(&checkpoint);
    let codes = &checkpoint.weights().layers[name].codes;
    // -1 - w has every bit flipped.
    let codes = [codes.clone(), codes.iter().map(|code| !code).collect()];
    let products = Products::new(conv, 3);
    let rows = any_shares(conv.positions() * conv.in_channels * 3);
    check("products", conv.weight_bits(), (2, 0), &|party, secret| {
        if party.is_server() {
            let chosen = products.server_draw(party, &codes[secret])?;
            return products.server(party, chosen);
        }
        let offered = products.client_draw(party)?;
        products.client(party, offered, &rows[1][secret])
    });
}

#[test]
fn requantize_offline_and_online() {
    let groups = [(10, 4, 1), (14, 6, 2)].map(|(ring, shift, channels)| Group {
        ring,
        shift,
        channels: (0..channels).collect(),
    });
    for wide in [4, 11] {
        let gate = Requantization::new(groups.to_vec(), 3, 5, wide);
        let shares = shares_of(values_in(-380, 500, gate.elements()));
        check(&format!("requantize to {wide} bits"), gate.elements() * 80, (wide, 0), &|party, secret| {
            let share = &shares[party.role as usize][secret];
            if party.is_server() {
                let drawn = gate.server_draw(party)?;
                let offered = gate.server_offer(party, drawn)?;
                let prepared = gate.server_correct(party, offered)?;
                return gate.server_run(party, prepared, share);
            }
            let drawn = gate.client_draw(party)?;
            let chosen = gate.client_choose(party, drawn, share)?;
            let prepared = gate.client_correct(party, chosen)?;
            gate.client_run(party, prepared)
        });
    }
}

#[test]
fn matches_offline_and_online() {
    // A single digit, whose leaf decides, and a tree.
    for bits in [3, 6] {
        let gate = Larger::new(bits, 37);
        let most = (1 << bits) - 1;
        let leads = shares_of(values_in(-most, most + 1, 37));
        check(&format!("matches of {bits} bits"), 37 * 16, (bits + 1, 0), &|party, secret| {
            let lead = &leads[party.role as usize][secret];
            if party.is_server() {
                let drawn = gate.server_draw(party)?;
                let prepared = gate.server_offer(party, drawn)?;
                return gate.server_run(party, prepared, lead);
            }
            let drawn = gate.client_draw(party)?;
            let prepared = gate.client_choose(party, drawn, lead)?;
            gate.client_run(party, prepared)
        });
    }
}

#[test]
fn remask() {
    let shares = any_shares(21);
    check("remask", 0, (13, 0), &|party, secret| {
        let share = &shares[party.role as usize][secret];
        if party.is_server() {
            let mut masked = share.clone();
            add_masked(party, 13, &mut masked)?;
            return Ok(masked);
        }
        let mask: Vec<u64> = share.iter().map(|_| party.rng.next_u64()).collect();
        send_masked(party, 13, share, &mask)?;
        Ok(mask)
    });
}

#[test]
fn and_compare_and_convert() {
    let words = any_shares(37);
    check("and", 37, (1, 0), &|party, secret| {
        let words = &words[party.role as usize][secret];
        let y = words.iter().map(|word| *word as u8 & 3).collect();
        let triples = party.ots.bit_triples(37)?;
        let products = and(party, triples, &Factors { x: bits(words), y, pairs: 20 })?;
        let second = products[..20].iter().map(|product| product >> 1);
        Ok(products.iter().copied().chain(second).map(u64::from).collect())
    });
    // A single digit, whose leaf is the output, and a tree.
    for bits in [3, 11] {
        check(&format!("compare {bits} bits"), 37 * 16, (1, 0), &|party, secret| {
            let section =
                Section { comparison: Comparison::carry_only(bits), elements: 37, saturation_bit: 0 };
            let carries = carry(party, &[section], &words[party.role as usize][secret])?;
            Ok(carries.into_iter().map(u64::from).collect())
        });
    }
    check("convert", 37, (9, 1), &|party, secret| {
        bit_to_arithmetic(party, &bits(&words[party.role as usize][secret]), 9)
    });
}

#[test]
fn multiplex_and_extend() {
    let words = any_shares(37);
    check("multiplex", 37, (9, 0), &|party, secret| {
        let words = &words[party.role as usize][secret];
        multiplex(party, &bits(words), words, 9)
    });
    let small = shares_of(values_in(0, 32, 37));
    check("extend with a known top bit", 37, (17, 6), &|party, secret| {
        extend_known_msb(party, (6, 17), &small[party.role as usize][secret])
    });
    check("extend signed", 37 * 16, (12, 9), &|party, secret| {
        extend_signed(party, (&[(7, 30), (9, 7)], 12), &words[party.role as usize][secret])
    });
}

#[test]
fn argmax_of_rows() {
    let shares = shares_of(values_in(-60, 60, 8 * 5));
    check("argmax", 8 * 5 * 16, (3, 0), &|party, secret| {
        argmax(party, (8, 5), 3, &shares[party.role as usize][secret])
    });
}

#[test]
fn a_gate_without_masks_is_told_apart_by_its_transcripts() {
    let shares = shares_of(values_in(0, 32, 21));
    for (masked, told) in [(true, false), (false, true)] {
        let heard = hear(0, 13, &|party, secret| {
            let share = &shares[party.role as usize][secret];
            if party.is_server() {
                let mut sum = share.clone();
                add_masked(party, 13, &mut sum)?;
                return Ok(sum);
            }
            let mask: Vec<u64> =
                share.iter().map(|_| if masked { party.rng.next_u64() } else { 0 }).collect();
            send_masked(party, 13, share, &mask)?;
            Ok(mask)
        });
        assert_eq!(tells_apart(&heard.server[0], &heard.server[2], RUNS), told);
    }
}

#[test]
fn an_opened_bit_without_a_mask_is_noticed_though_each_message_is_uniform() {
    for (masked, noticed) in [(true, false), (false, true)] {
        let heard = hear(24, 1, &|party, secret| {
            // XOR shares of secret bits, fresh in every run: the lowest bits of products with 1.
            let ones = Factors { x: vec![party.is_server(); 24], y: vec![secret as u8; 24], pairs: 0 };
            let triples = party.ots.bit_triples(24)?;
            let shares = and(party, triples, &ones)?;
            let mask = |share: &u8| (share & 1 == 1) ^ (masked && party.rng.next_u32() & 1 == 1);
            let mine = shares.iter().map(mask).collect::<Vec<_>>();
            party.channel.exchange(pack_bits(&mine))?;
            Ok(shares.iter().map(|share| u64::from(share & 1)).collect())
        });
        assert_uniform(&heard.server[2], RUNS, "the server");
        assert_uniform(&heard.client[2], RUNS, "the client");
        assert_eq!(notices_relation(&heard.server[2], &heard.client[2], RUNS), noticed);
    }
}
