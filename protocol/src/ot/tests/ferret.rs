//! Claims that only Ferret makes.

use std::fs;

use eqo_checkpoints::cost::LpnSet;

use super::super::*;
use crate::testing::{TEST_TIMEOUT, run_parties, two_party};
use crate::transport::{Scope, wire_bytes};
use crate::{PartyRng, Role};

const GAINS: [usize; 3] =
    [LpnSet::ALL[0].gain() as usize, LpnSet::ALL[1].gain() as usize, LpnSet::ALL[2].gain() as usize];

/// What both parties hold after the server prepared each of `counts` OTs as sender: delta, q and t.
fn drawn(counts: &[usize], threads: [usize; 2]) -> (Block, Secrets, Secrets) {
    let (server, client, _) = two_party(
        |channel, rng| {
            let mut ots = Ots::setup(channel, Role::Server, OtKind::Ferret, rng)?;
            ots.set_threads(threads[0]);
            counts.iter().try_for_each(|&count| ots.prepare(channel, count, 0))?;
            Ok((*ots.sender.delta, ots.sender.draw(ots.left_as_sender())?.q))
        },
        |channel, rng| {
            let mut ots = Ots::setup(channel, Role::Client, OtKind::Ferret, rng)?;
            ots.set_threads(threads[1]);
            counts.iter().try_for_each(|&count| ots.prepare(channel, 0, count))?;
            Ok(ots.receiver.draw(ots.left_as_receiver())?.t)
        },
    );
    (server.0, server.1, client)
}

/// The statistic is near its 255 degrees of freedom for uniform bytes; its standard deviation is 23.
fn chi_square_of_choice_bytes(t: &[Block]) -> f64 {
    let (whole, _) = t.as_chunks::<8>();
    let mut counts = [0u64; 256];
    whole.iter().for_each(|ots| {
        counts[ots.iter().fold(0, |byte, t| byte << 1 | (t & 1) as usize)] += 1;
    });
    let expected = whole.len() as f64 / 256.0;
    counts.iter().map(|&count| (count as f64 - expected).powi(2) / expected).sum()
}

#[test]
fn every_ot_of_several_iterations_of_every_set_is_correlated_by_delta() {
    // Bootstrap and smallest; two smallest, of which one steps up; middle; middle that steps up, and largest.
    let (delta, q, t) = drawn(&[1, GAINS[0] + 1, GAINS[1], GAINS[2]], [1, 1]);
    let made: usize = 4 * GAINS[0] + 2 * GAINS[1] + GAINS[2];
    assert!(q.len() == t.len() && q.len() > made / 2, "{}", q.len());
    assert_eq!(delta & 1, 1);
    for (index, (q, t)) in q.iter().zip(t.iter()).enumerate() {
        assert!(q & 1 == 0 && q ^ t == (t & 1) * delta, "OT {index}");
    }
    let statistic = chi_square_of_choice_bytes(&t);
    assert!((120.0..420.0).contains(&statistic), "chi-square of the choices: {statistic}");
    let mut rows = q.to_vec();
    rows.sort_unstable();
    assert!(rows.is_sorted_by(|a, b| a < b), "a row repeats");
}

#[test]
fn any_number_of_threads_makes_the_same_ots() {
    let one = drawn(&[1], [1, 1]);
    assert!(one == drawn(&[1], [3, 2]));
    assert!(one == drawn(&[1], [0, 64]));
}

#[test]
fn seeds_cross_first_and_later_iterations_take_one_round() {
    let (_, _, [server, client]) = two_party(
        |channel, rng| {
            let mut ots = Ots::setup(channel, Role::Server, OtKind::Ferret, rng)?;
            ots.prepare(channel, 1000, 1000)?;
            let first = channel.meter().of(Scope::OtExtension);
            ots.prepare(channel, 1000, 1000)?;
            Ok(first)
        },
        |channel, rng| {
            let mut ots = Ots::setup(channel, Role::Client, OtKind::Ferret, rng)?;
            ots.prepare(channel, 1000, 1000)?;
            ots.prepare(channel, 1000, 1000)
        },
    );
    let trees = wire_bytes(LpnSet::SMALLEST.message_bytes());
    let first = Extension::new(OtKind::Ferret).plan(1000).from_receiver();
    assert_eq!(first.map(|(bytes, times)| bytes * times).iter().sum::<u64>(), 15 * 74_112 / 8);
    let seeds: u64 = first.map(|(bytes, times)| wire_bytes(bytes) * times).iter().sum();
    for meter in [server, client] {
        let all = meter.of(Scope::OtExtension);
        assert_eq!(
            (all.bytes_sent, all.bytes_received, all.rounds),
            (seeds + 2 * trees, seeds + 2 * trees, 3)
        );
    }
}

#[test]
fn several_iterations_both_ways_through_a_narrow_pipe_do_not_deadlock() {
    let party = |role| {
        move |channel: &mut Channel, rng: &mut PartyRng| {
            let (one, other) = if role == Role::Server { (GAINS[0] + 1, 1) } else { (1, GAINS[0] + 1) };
            let mut ots = Ots::setup(channel, role, OtKind::Ferret, rng)?;
            ots.prepare(channel, GAINS[0] + 1, GAINS[0] + 1)?;
            ots.prepare(channel, one, other)
        }
    };
    let outcome = run_parties(4 << 10, TEST_TIMEOUT, party(Role::Server), party(Role::Client));
    assert!(outcome.server.is_ok() && outcome.client.is_ok());
}

#[test]
fn a_message_of_another_length_is_an_error() {
    for length in [1, LpnSet::SMALLEST.message_bytes() as usize - 1, LpnSet::ALL[1].message_bytes() as usize]
    {
        let outcome = run_parties(
            1 << 20,
            TEST_TIMEOUT,
            |channel, rng| Ots::setup(channel, Role::Server, OtKind::Ferret, rng)?.prepare(channel, 0, 1),
            |channel, rng| {
                let mut ots = Ots::setup(channel, Role::Client, OtKind::Ferret, rng)?;
                let plan = ots.sender.plan(1);
                ots.run_soft_spoken(channel, &plan, &Extension::new(OtKind::Ferret).plan(0))?;
                channel.send(vec![0; length])
            },
        );
        assert!(matches!(outcome.server, Err(Error::PeerLength { .. })), "{length}");
    }
}

/// Both parties make the first seeds, then run `iterations` with the server as sender: delta, q, t.
fn iterated(iterations: &[Iteration]) -> (Block, Secrets, Secrets) {
    let none = Extension::new(OtKind::Ferret).plan(0);
    let (server, client, _) = two_party(
        |channel, rng| {
            let mut ots = Ots::setup(channel, Role::Server, OtKind::Ferret, rng)?;
            let plan = ots.sender.plan(1);
            ots.run_soft_spoken(channel, &plan, &none)?;
            iterations.iter().try_for_each(|&step| ots.sender.extend(channel, Step::Ferret(step)))?;
            Ok((*ots.sender.delta, ots.sender.draw(ots.left_as_sender())?.q))
        },
        |channel, rng| {
            let mut ots = Ots::setup(channel, Role::Client, OtKind::Ferret, rng)?;
            let plan = ots.receiver.plan(1);
            ots.run_soft_spoken(channel, &none, &plan)?;
            iterations.iter().try_for_each(|&step| ots.receiver.extend(channel, Step::Ferret(step)))?;
            Ok(ots.receiver.draw(ots.left_as_receiver())?.t)
        },
    );
    (server.0, server.1, client)
}

#[test]
fn iterations_of_every_small_size_are_right_and_keep_back_what_was_planned() {
    let mut seeds = 74_112;
    let (mut iterations, mut made) = (Vec::new(), 0);
    for (trees, log_secret, depth) in
        [(1, 1, 2), (3, 3, 2), (5, 7, 3), (1, 4, 9), (70, 5, 4), (33, 10, 5), (2, 0, 6)]
    {
        let set = LpnSet { trees, log_secret, depth };
        for kept in [0, 1, set.outputs() / 2, set.outputs()] {
            let seeds_after = seeds - set.seeds() + kept;
            iterations.push(Iteration { set, seeds_after });
            made += set.outputs() - kept;
            seeds = seeds_after;
        }
    }
    let (delta, q, t) = iterated(&iterations);
    assert_eq!((q.len() as u64, t.len() as u64), (made, made));
    assert!(q.iter().zip(t.iter()).all(|(q, t)| q & 1 == 0 && q ^ t == (t & 1) * delta));
}

#[test]
fn steps_out_of_order_are_errors() {
    let step = Step::Ferret(Iteration { set: LpnSet::SMALLEST, seeds_after: 74_112 });
    two_party(
        |channel, rng| {
            let mut ots = Ots::setup(channel, Role::Server, OtKind::Ferret, rng)?;
            let unseeded = [ots.sender.extend(channel, step), ots.receiver.extend(channel, step)];
            assert!(unseeded.into_iter().all(|result| matches!(result, Err(Error::Exhausted { .. }))));
            let mut ots = Ots::setup(channel, Role::Server, OtKind::SoftSpoken8, rng)?;
            let unknown = [ots.sender.extend(channel, step), ots.receiver.extend(channel, step)];
            assert!(unknown.into_iter().all(|result| matches!(result, Err(Error::Config { .. }))));
            Ok(())
        },
        |channel, rng| {
            Ots::setup(channel, Role::Client, OtKind::Ferret, rng)?;
            Ots::setup(channel, Role::Client, OtKind::SoftSpoken8, rng).map(drop)
        },
    );
}

/// Peak memory of both parties together with 7 million OTs drawn at once in each direction.
/// `cargo test --release -p eqo-protocol --lib peak_memory -- --ignored --nocapture`; Linux only.
#[test]
#[ignore = "prints peak memory"]
#[allow(clippy::print_stdout)]
fn peak_memory_of_both_parties() {
    let party = |role| {
        move |channel: &mut Channel, rng: &mut PartyRng| {
            let mut ots = Ots::setup(channel, role, OtKind::Ferret, rng)?;
            for _ in 0..2 {
                let short = [ots.left_as_sender(), ots.left_as_receiver()].map(|left| 7_000_000 - left);
                ots.prepare(channel, short[0], short[1])?;
                let drawn = (ots.sender.draw(7_000_000)?, ots.receiver.draw(7_000_000)?);
                channel.exchange(vec![0; 1])?;
                drop(drawn);
            }
            Ok(())
        }
    };
    two_party(party(Role::Server), party(Role::Client));
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().filter(|line| line.starts_with("VmHWM")).for_each(|line| println!("{line}"));
}

/// Nanoseconds of CPU that this thread has used.
fn thread_nanoseconds() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|field| field.parse().ok()).unwrap_or(0.0)
}

/// `cargo test --release -p eqo-protocol --lib cpu_time -- --ignored --nocapture`; Linux only.
#[test]
#[ignore = "prints CPU times"]
#[allow(clippy::print_stdout)]
fn cpu_time_of_each_party() {
    for set in LpnSet::ALL {
        let gain = set.gain() as usize;
        let timed = |channel: &mut Channel, rng: &mut PartyRng, role, counts: [usize; 2]| {
            let mut ots = Ots::setup(channel, role, OtKind::Ferret, rng)?;
            // The first reaches the set, the others run with it.
            let mut best = f64::INFINITY;
            ots.prepare(channel, counts[0], counts[1])?;
            for _ in 0..5 {
                let (left, start) = (ots.left_as_sender() + ots.left_as_receiver(), thread_nanoseconds());
                ots.prepare(channel, counts[0], counts[1])?;
                let made = ots.left_as_sender() + ots.left_as_receiver() - left;
                best = best.min((thread_nanoseconds() - start) / made as f64);
                drop(ots.sender.draw(ots.left_as_sender())?);
                drop(ots.receiver.draw(ots.left_as_receiver())?);
            }
            Ok(best)
        };
        let (server, client, _) = two_party(
            |channel, rng| timed(channel, rng, Role::Server, [gain, 0]),
            |channel, rng| timed(channel, rng, Role::Client, [0, gain]),
        );
        println!(
            "{set:?}: {server:.1} ns/COT as sender, {client:.1} as receiver; {:.1} and {:.1} M/core-s",
            1e3 / server,
            1e3 / client
        );
    }
}
