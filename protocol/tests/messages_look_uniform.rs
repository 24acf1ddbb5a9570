//! A smoke test of privacy: with fixed secrets and fresh randomness, every message that a party receives is uniform, bit by
//! bit and byte by byte. The proofs are in the gates' docs; this would see a mask that is missing, biased or used twice.

#![allow(clippy::unwrap_used, reason = "an Err is a failed test")]

mod common;

use common::statistic::{Place, assert_uniform, assert_unrelated, notices_bias};
use common::transcript::{Message, Transcript, mark, record};
use eqo_checkpoints::Checkpoint;
use eqo_checkpoints::cost::{self, Ots as OtCount};
use eqo_checkpoints::testing::{Block, Spec, random_checkpoint, random_image};
use eqo_protocol::gates::Party;
use eqo_protocol::gates::mask::{add_masked, send_masked};
use eqo_protocol::gates::open::open;
use eqo_protocol::layers::{Client, Server, logit_ring};
use eqo_protocol::ot::{OtKind, Ots};
use eqo_protocol::ring::pack::BitWriter;
use eqo_protocol::testing::seeded;
use eqo_protocol::transport::Channel;
use eqo_protocol::{Error, PartyRng, Role};
use rand::Rng;

const RUNS: usize = 400;

/// What the client ends with: its shares and the logits.
type Opened = (Vec<u64>, Vec<i64>);

/// Set-up, then `RUNS` times random OTs and an inference of the same image, opened. Sections: set-up, inferences.
fn same_image_again_and_again(checkpoint: &Checkpoint) -> (Vec<Opened>, [Transcript; 2]) {
    let graph = checkpoint.graph();
    let mut needed = OtCount::default();
    (0..graph.nodes().len()).for_each(|node| needed += cost::ots(graph, node, 1));
    // As many for every run, so that its messages have the same lengths.
    let [server_sends, client_sends] =
        [needed.server_sends, needed.client_sends].map(|ots| ots.next_multiple_of(128) as usize);
    let server = |channel: &mut Channel, rng: &mut PartyRng| {
        let mut ots = Ots::setup(channel, Role::Server, OtKind::SoftSpoken4, rng)?;
        mark(channel)?;
        let server = Server::new(graph, checkpoint.weights());
        for _ in 0..RUNS {
            ots.prepare(channel, server_sends, client_sends)?;
            let mut party = Party { role: Role::Server, channel, ots: &mut ots, rng };
            let mut prepared = server.begin(1);
            server.prepare(&mut party, &mut prepared, &mut |_| ())?;
            let material = prepared.finish()?;
            let shares = server.infer(&mut party, material, &mut |_| ())?;
            open(&mut party, |element| logit_ring(graph, element), &shares)?;
        }
        mark(channel)
    };
    let input = graph.input();
    let image = random_image(1, checkpoint).into_iter().map(i64::from);
    let pixels: Vec<u64> = image.map(|pixel| (pixel - i64::from(input.offsets[0])) as u64).collect();
    let client = |channel: &mut Channel, rng: &mut PartyRng| {
        let mut ots = Ots::setup(channel, Role::Client, OtKind::SoftSpoken4, rng)?;
        mark(channel)?;
        let client = Client { graph };
        let mut opened = Vec::new();
        for _ in 0..RUNS {
            ots.prepare(channel, client_sends, server_sends)?;
            let mut party = Party { role: Role::Client, channel, ots: &mut ots, rng };
            let mut prepared = client.begin(1);
            client.prepare(&mut party, &mut prepared, &mut |_| ())?;
            let material = prepared.finish()?;
            let shares = client.infer(&mut party, material, &pixels, &mut |_| ())?;
            let logits = open(&mut party, |element| logit_ring(graph, element), &shares)?;
            opened.push((shares.to_vec(), logits.unwrap()));
        }
        mark(channel)?;
        Ok(opened)
    };
    let ((), opened, transcripts) = record([21, 22], server, client);
    (opened, transcripts)
}

#[test]
fn every_message_of_an_inference_is_uniform_though_image_weights_and_logits_are_the_same() {
    let winograd = Block::Winograd { padding: 1 };
    let pool = Block::MaxPool { kernel: 3, stride: 1, padding: 1 };
    for block in [winograd, pool] {
        every_message_is_uniform(&random_checkpoint(3, &Spec::new([1, 4, 4], 2, vec![block])));
    }
}

fn every_message_is_uniform(checkpoint: &Checkpoint) {
    let (opened, [to_server, to_client]) = same_image_again_and_again(checkpoint);
    assert!(opened.iter().all(|(_, logits)| logits == &opened[0].1));
    let ([_, to_server], [_, to_client]) = (to_server.0.as_slice(), to_client.0.as_slice()) else {
        panic!("two sections each")
    };
    assert_uniform(to_server, RUNS, "the server");
    // The last message opens the logits. It isn't uniform: a share's lowest bits are zero where taps are shifted. But the
    // client could write it itself.
    let each = to_client.len() / RUNS;
    for (run, (shares, logits)) in to_client.chunks(each).zip(&opened) {
        let mut simulated = BitWriter::default();
        for (element, (share, logit)) in shares.iter().zip(logits).enumerate() {
            let ring = logit_ring(checkpoint.graph(), element);
            simulated.put((*logit as u64).wrapping_sub(*share), u32::from(ring));
        }
        assert_eq!(run[each - 1], simulated.finish());
    }
    let masked: Vec<Message> = to_client.chunks(each).flat_map(|run| run[..each - 1].to_vec()).collect();
    assert!(each > 12 && to_server.len() / RUNS > 12, "a network of several messages");
    assert_uniform(&masked, RUNS, "the client");
    assert_unrelated(to_server, &masked, RUNS, "an inference");
}

#[test]
fn set_up_messages_are_uniform_but_for_what_every_canonical_point_has() {
    const SETUPS: u64 = 48;
    let heard: Vec<[Transcript; 2]> = (0..SETUPS)
        .map(|seed| {
            let party = |role| {
                move |channel: &mut Channel, rng: &mut PartyRng| -> Result<(), Error> {
                    Ots::setup(channel, role, OtKind::SoftSpoken4, rng)?;
                    mark(channel)
                }
            };
            record([2 * seed, 2 * seed + 1], party(Role::Server), party(Role::Client)).2
        })
        .collect();
    let messages: Vec<&[Message]> =
        heard.iter().flatten().map(|transcript| transcript.0[0].as_slice()).collect();
    let parts = |part: fn(&[Message]) -> &[u8]| messages.iter().map(|run| part(run)).collect::<Vec<_>>();
    let nonces = Place::new(parts(|run| &run[0][..32])).bias();
    let corrections = Place::new(parts(|run| &run[2])).bias();
    assert!(nonces < 7.5 && corrections < 7.5, "nonces {nonces:.1}, corrections {corrections:.1}");
    // Points of both messages, without the lowest bit (0: non-negative) and the highest one (0: below 2^255 − 19).
    let points = messages.iter().flat_map(|run| [&run[0][32..64]].into_iter().chain(run[1].chunks(32)));
    let mut points: Vec<Message> = points.map(<[u8]>::to_vec).collect();
    for point in &mut points {
        assert!(point[0] & 1 == 0 && point[31] & 0x80 == 0, "a canonical encoding");
        let low = point[0] >> 1;
        point[0] = low | (point[31] << 1 & 0x80);
        point[31] &= 0x3f;
    }
    let bias = Place::new(points.iter().map(|point| &point[1..31]).collect()).bias();
    let ends: Vec<Message> = points.iter().map(|point| vec![point[0], point[31]]).collect();
    let ends_bias = Place::new(ends.iter().map(Vec::as_slice).collect()).bias();
    assert!(bias < 7.5 && ends_bias < 7.5, "{bias:.1}, ends {ends_bias:.1}");
    points.sort_unstable();
    assert!(points.is_sorted_by(|a, b| a < b), "no point is sent twice in any session");
}

#[test]
fn ferrets_messages_are_uniform() {
    let party = |role| {
        move |channel: &mut Channel, rng: &mut PartyRng| -> Result<(), Error> {
            let mut ots = Ots::setup(channel, role, OtKind::Ferret, rng)?;
            mark(channel)?;
            let (send, receive) = if role == Role::Server { (1, 0) } else { (0, 1) };
            ots.prepare(channel, send, receive)?;
            mark(channel)
        }
    };
    let (_, _, transcripts) = record([31, 32], party(Role::Server), party(Role::Client));
    for transcript in transcripts {
        assert!(!transcript.0[1].is_empty());
        assert_uniform(&transcript.0[1], 1, "a party of Ferret");
    }
}

/// The messages of `RUNS` remaskings of the same share, with masks as `mask` makes them.
fn remaskings(ring: u8, mut mask_of: impl FnMut(&mut PartyRng) -> Vec<u64> + Send) -> Vec<Message> {
    let share: Vec<u64> = (0..40).map(|i| i * i).collect();
    let party = |role, channel: &mut Channel, rng: &mut PartyRng, run: &mut dyn FnMut(&mut Party) -> _| {
        let mut ots = Ots::setup(channel, role, OtKind::SoftSpoken1, rng)?;
        mark(channel)?;
        for _ in 0..RUNS {
            run(&mut Party { role, channel, ots: &mut ots, rng })?;
        }
        mark(channel)
    };
    let (_, _, [to_server, _]) = record(
        [41, 42],
        |channel, rng| {
            party(Role::Server, channel, rng, &mut |party| add_masked(party, ring, &mut vec![0; 40]))
        },
        |channel, rng| {
            party(Role::Client, channel, rng, &mut |party| {
                let mask = mask_of(party.rng);
                send_masked(party, ring, &share, &mask)
            })
        },
    );
    to_server.0.into_iter().next_back().unwrap()
}

#[test]
fn a_mask_that_is_missing_constant_too_short_or_biased_is_noticed() {
    let ring = 12;
    let uniform = |rng: &mut PartyRng| -> Vec<u64> { (0..40).map(|_| rng.next_u64()).collect() };
    assert!(!notices_bias(&remaskings(ring, uniform), RUNS), "a sound mask isn't");
    assert!(notices_bias(&remaskings(ring, |_| vec![0; 40]), RUNS), "no mask");
    let kept = uniform(&mut seeded(1));
    assert!(notices_bias(&remaskings(ring, |_| kept.clone()), RUNS), "the same mask every time");
    let short = |rng: &mut PartyRng| uniform(rng).iter().map(|mask| mask & 0x7ff).collect();
    assert!(notices_bias(&remaskings(ring, short), RUNS), "one bit of each element in the clear");
    let one_clear = |rng: &mut PartyRng| {
        let mut mask = uniform(rng);
        mask[17] &= !1;
        mask
    };
    assert!(notices_bias(&remaskings(ring, one_clear), RUNS), "a single bit of a message in the clear");
    // Every bit is one with a probability of 9/16.
    let biased = |rng: &mut PartyRng| {
        let rare = |rng: &mut PartyRng| rng.next_u64() & rng.next_u64() & rng.next_u64();
        (0..40_u64).map(|i| (i * i).wrapping_sub(rng.next_u64() | rare(rng))).collect()
    };
    assert!(notices_bias(&remaskings(ring, biased), RUNS), "all bits slightly biased");
    // Every bit is uniform, but each nibble of the message repeats the one before.
    let related = |rng: &mut PartyRng| {
        let nibbles = |rng: &mut PartyRng| (rng.next_u64() & 15) * 0x111;
        (0..40_u64).map(|i| (i * i).wrapping_sub(nibbles(rng))).collect()
    };
    assert!(notices_bias(&remaskings(ring, related), RUNS), "bits that depend on each other");
}
