//! 1-of-N OTs by extension: the chosen message arrives, the others stay hidden, and the traffic is as predicted.

use std::time::Duration;

use cpu_time::ThreadTime;
use eqo_checkpoints::cost::{
    Flow, KKOT_HELLO, KKOT_REPLIES, frame_count, kkot_from_receiver, kkot_from_sender, kkot_request_bytes,
};
use rand::RngExt;

use super::super::*;
use crate::PartyRng;
use crate::ring::mask;
use crate::testing::{Outcome, TEST_TIMEOUT, run_parties, seeded, two_party};
use crate::transport::{MAX_FRAME, Meter, Scope, Traffic, wire_bytes};

/// Any function of the OT, the option and the call.
fn message(call: usize, j: usize, w: usize) -> u8 {
    ((j * 16 + w + call) as u32).wrapping_mul(0x9e37_79b9).to_be_bytes()[0]
}

/// Set-up, then a call for each of (choices, (options, bits)).
fn exchange(calls: &[(Vec<u8>, (usize, u32))]) -> (Vec<Vec<u8>>, [Meter; 2]) {
    let (_, received, meters) = two_party(
        |channel, rng| {
            let mut sender = KkotSender::setup(channel, rng)?;
            for (call, (choices, shape)) in calls.iter().enumerate() {
                channel.set_scope(Scope::Node(call));
                sender.send(channel, choices.len(), *shape, |j, w| message(call, j, w))?;
            }
            Ok(())
        },
        |channel, rng| {
            let mut receiver = KkotReceiver::setup(channel, rng)?;
            let mut received = Vec::new();
            for (call, (choices, shape)) in calls.iter().enumerate() {
                channel.set_scope(Scope::Node(call));
                received.push(receiver.recv(channel, choices, *shape)?.to_vec());
            }
            Ok(received)
        },
    );
    (received, meters)
}

fn choices(count: usize, options: usize, seed: u64) -> Vec<u8> {
    let mut rng = seeded(seed);
    (0..count).map(|_| rng.random_range(0..options) as u8).collect()
}

fn assert_chosen(calls: &[(Vec<u8>, (usize, u32))], received: &[Vec<u8>]) {
    for (call, ((choices, (options, bits)), received)) in calls.iter().zip(received).enumerate() {
        assert_eq!(received.len(), choices.len());
        for (j, (choice, found)) in choices.iter().zip(received).enumerate() {
            let expected = message(call, j, usize::from(*choice)) & mask(*bits) as u8;
            assert_eq!(*found, expected, "OT {j}, choice {choice} of {options}, {bits} bits");
        }
    }
}

#[test]
fn every_choice_of_every_size_gets_its_message() {
    let mut calls = Vec::new();
    for options in 2..=16 {
        for bits in 1..=8 {
            calls.push(((0..3 * options).map(|j| (j % options) as u8).collect(), (options, bits)));
        }
    }
    assert_chosen(&calls, &exchange(&calls).0);
}

#[test]
fn every_count_of_ots_gets_its_messages_call_after_call() {
    let counts = [0, 1, 127, 128, 129, 4096, 4097, 5000, 16_384, 16_385, 40_000];
    let calls: Vec<_> = counts.into_iter().map(|count| (choices(count, 16, count as u64), (16, 2))).collect();
    assert_chosen(&calls, &exchange(&calls).0);
}

#[test]
fn measured_bytes_frames_and_rounds_are_the_predicted_ones() {
    // The last one's answer takes more than one frame.
    let shapes = [(0, (2, 1)), (1, (16, 2)), (1000, (8, 1)), (16_384, (4, 2)), (140_001, (16, 8))];
    let calls: Vec<_> =
        shapes.into_iter().map(|(count, shape)| (choices(count, shape.0, 1), shape)).collect();
    let (received, [server, client]) = exchange(&calls);
    assert_chosen(&calls, &received);
    let flow = |up: &[(u64, u64)], down: u64| Flow {
        to_server: up.iter().map(|(bytes, times)| wire_bytes(*bytes) * times).sum(),
        to_client: wire_bytes(down),
        frames: up.iter().map(|(bytes, times)| frame_count(*bytes) * times).sum::<u64>() + frame_count(down),
        rounds: 2 * u64::from(down > 0),
    };
    let measured = |scope| {
        let (server, client) = (server.of(scope), client.of(scope));
        assert_eq!((server.bytes_sent, server.rounds), (client.bytes_received, client.rounds));
        assert_eq!(server.bytes_received, client.bytes_sent);
        Flow {
            to_server: client.bytes_sent,
            to_client: server.bytes_sent,
            frames: client.frames,
            rounds: client.rounds,
        }
    };
    let setup = flow(&[(KKOT_HELLO as u64, 1)], KKOT_REPLIES as u64);
    assert_eq!(measured(Scope::BaseOt), setup);
    for (call, (count, (options, bits))) in shapes.into_iter().enumerate() {
        let down = kkot_from_sender(count as u64, options as u64, bits.into());
        let expected = flow(&kkot_from_receiver(count as u64), down);
        assert_eq!(measured(Scope::Node(call)), expected, "{count} OTs");
    }
}

#[test]
fn the_pads_of_options_not_chosen_look_random_and_never_repeat() {
    const COUNT: usize = 4096;
    let choices = choices(COUNT, 16, 7);
    let (_, (own, all), _) = two_party(
        |channel, rng| KkotSender::setup(channel, rng)?.send(channel, COUNT, (16, 8), |_, _| 0),
        |channel, rng| {
            let own = KkotReceiver::setup(channel, rng)?.request(channel, &choices)?;
            Ok((own.to_vec(), channel.recv(16 * COUNT)?))
        },
    );
    let mut counts = [0u32; 256];
    let (mut agree, mut cancel) = (0, 0);
    for ((own, pads), choice) in own.iter().zip(all.chunks(16)).zip(&choices) {
        let choice = usize::from(*choice);
        assert_eq!(pads[choice], *own, "of a zero message the pad is what is sent");
        let others = || (0..16).filter(|w| *w != choice);
        others().for_each(|w| counts[usize::from(pads[w])] += 1);
        agree += others().filter(|w| pads[*w] == *own).count();
        // Codewords whose sum is zero: a linear hash's pads would cancel.
        cancel +=
            (0..16).step_by(4).filter(|w| pads[*w..w + 4].iter().fold(0, |sum, pad| sum ^ pad) == 0).count();
    }
    // Expected: 240 each, 240 and 64.
    assert!(counts.iter().all(|count| (150..340).contains(count)), "{counts:?}");
    assert!((150..340).contains(&agree) && (25..120).contains(&cancel), "{agree}, {cancel}");
    let mut rows: Vec<&[u8]> = all.chunks(16).collect();
    rows.sort_unstable();
    assert!(rows.is_sorted_by(|a, b| a < b), "no OT repeats the pads of another");
}

#[test]
fn equal_choices_and_messages_are_sent_differently_each_time() {
    let (_, calls, _) = two_party(
        |channel, rng| {
            let mut sender = KkotSender::setup(channel, rng)?;
            (0..3).try_for_each(|_| sender.send(channel, 100, (4, 8), |_, _| 0))
        },
        |channel, rng| {
            let mut receiver = KkotReceiver::setup(channel, rng)?;
            (0..3)
                .map(|_| Ok((receiver.request(channel, &[3; 100])?.to_vec(), channel.recv(400)?)))
                .collect::<Result<Vec<_>, Error>>()
        },
    );
    for (i, one) in calls.iter().enumerate() {
        assert!(calls[..i].iter().all(|other| one.0 != other.0 && one.1 != other.1));
    }
}

#[test]
fn sizes_and_choices_that_the_code_does_not_have_are_config_errors_and_send_nothing() {
    let shapes = [(0, 1), (1, 1), (17, 1), (16, 0), (16, 9), (2, u32::MAX), (usize::MAX, 2)];
    let (_, _, [server, client]) = two_party(
        |channel, rng| {
            let mut sender = KkotSender::setup(channel, rng)?;
            channel.set_scope(Scope::Node(0));
            for shape in shapes {
                let result = sender.send(channel, 5, shape, |_, _| 0);
                assert!(matches!(result, Err(Error::Config { .. })), "{shape:?}");
            }
            Ok(())
        },
        |channel, rng| {
            let mut receiver = KkotReceiver::setup(channel, rng)?;
            channel.set_scope(Scope::Node(0));
            for shape in shapes {
                let result = receiver.recv(channel, &[0; 5], shape);
                assert!(matches!(result, Err(Error::Config { .. })), "{shape:?}");
            }
            for (options, choice) in [(2, 2), (3, 3), (15, 15), (16, 16), (16, 255)] {
                let result = receiver.recv(channel, &[0, choice], (options, 2));
                assert!(matches!(result, Err(Error::Config { .. })), "{choice} of {options}");
            }
            Ok(())
        },
    );
    assert!([server, client].iter().all(|meter| meter.of(Scope::Node(0)) == Traffic::default()));
}

#[test]
fn points_that_are_none_and_wrong_lengths_are_refused_in_setup() {
    let wait = Duration::from_secs(5);
    let refused = |result: Result<(), Error>| {
        matches!(result, Err(Error::PeerData { .. } | Error::PeerLength { .. } | Error::PeerClosed { .. }))
    };
    let hellos =
        [vec![0xff; KKOT_HELLO], vec![0; KKOT_HELLO], vec![1; KKOT_HELLO - 1], vec![], vec![0; MAX_FRAME]];
    for hello in hellos {
        let len = hello.len();
        let server = |channel: &mut Channel, rng: &mut PartyRng| KkotSender::setup(channel, rng).map(drop);
        let outcome: Outcome<(), ()> = run_parties(64, wait, server, |channel, _| channel.send(hello));
        assert!(refused(outcome.server), "a hello of {len} bytes");
    }
    for replies in [vec![0xff; KKOT_REPLIES], vec![0; KKOT_REPLIES], vec![1; KKOT_REPLIES + 1], vec![]] {
        let len = replies.len();
        let client = |channel: &mut Channel, rng: &mut PartyRng| KkotReceiver::setup(channel, rng).map(drop);
        let server = |channel: &mut Channel, _: &mut PartyRng| {
            channel.recv(KKOT_HELLO)?;
            channel.send(replies)
        };
        let outcome: Outcome<(), ()> = run_parties(64, wait, server, client);
        assert!(refused(outcome.client), "replies of {len} bytes");
    }
}

#[test]
fn a_peer_with_another_count_or_size_is_noticed_by_its_length() {
    // What the server expects and what the client asks for; 100 and 128 differ in the answer only.
    let cases = [((128, (4, 2)), (129, (4, 2))), ((20_000, (4, 2)), (40_000, (4, 2)))];
    for ((count, shape), (asked, asked_shape)) in cases {
        let outcome = both(count, shape, asked, asked_shape);
        assert!(
            matches!(outcome.server, Err(Error::PeerLength { .. } | Error::PeerClosed { .. })),
            "{count}"
        );
    }
    for (count, shape, asked, asked_shape) in
        [(100, (4, 2), 128, (4, 2)), (100, (4, 2), 100, (8, 2)), (100, (4, 2), 100, (4, 3))]
    {
        let outcome = both(count, shape, asked, asked_shape);
        assert!(matches!(outcome.client, Err(Error::PeerLength { .. })), "{count} {shape:?}");
    }
    assert_eq!(kkot_request_bytes(128), 4096);
}

/// The server offers `count` OTs, the client asks for `asked`.
fn both(count: usize, shape: (usize, u32), asked: usize, asked_shape: (usize, u32)) -> Outcome<(), ()> {
    run_parties(
        1 << 10,
        Duration::from_secs(5),
        |channel, rng| KkotSender::setup(channel, rng)?.send(channel, count, shape, |_, _| 1),
        |channel, rng| {
            KkotReceiver::setup(channel, rng)?.recv(channel, &vec![1; asked], asked_shape).map(drop)
        },
    )
}

#[test]
fn many_chunks_through_a_narrow_pipe_do_not_deadlock() {
    const COUNT: usize = 300_000;
    let outcome = run_parties(
        8 << 10,
        TEST_TIMEOUT,
        |channel, rng| KkotSender::setup(channel, rng)?.send(channel, COUNT, (16, 8), |_, w| w as u8),
        |channel, rng| KkotReceiver::setup(channel, rng)?.recv(channel, &vec![9; COUNT], (16, 8)),
    );
    assert!(outcome.server.is_ok());
    assert!(outcome.client.is_ok_and(|received| received.iter().all(|message| *message == 9)));
}

/// `cargo test --release -p eqo-protocol --lib kkot::cpu_time -- --ignored --nocapture`
#[test]
#[ignore = "prints CPU times"]
fn cpu_time_of_each_party() {
    const COUNT: usize = 1 << 18;
    for shape in [(2, 1), (4, 2), (16, 2), (16, 8)] {
        let choices = choices(COUNT, shape.0, 3);
        let nanoseconds = |start: ThreadTime| start.elapsed().as_nanos() as f64 / COUNT as f64;
        let (server, client, _) = two_party(
            |channel, rng| {
                let mut sender = KkotSender::setup(channel, rng)?;
                let mut best = f64::INFINITY;
                for _ in 0..10 {
                    let start = ThreadTime::now();
                    sender.send(channel, COUNT, shape, |j, w| (j ^ w) as u8)?;
                    best = best.min(nanoseconds(start));
                }
                Ok(best)
            },
            |channel, rng| {
                let mut receiver = KkotReceiver::setup(channel, rng)?;
                let mut best = f64::INFINITY;
                for _ in 0..10 {
                    let start = ThreadTime::now();
                    receiver.recv(channel, &choices, shape)?;
                    best = best.min(nanoseconds(start));
                }
                Ok(best)
            },
        );
        println!(
            "1 of {} x {} bits: {server:.1} ns an OT as sender, {client:.1} as receiver",
            shape.0, shape.1
        );
    }
}
