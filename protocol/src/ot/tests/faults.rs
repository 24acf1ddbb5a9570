//! Faults of the caller and of the peer end in errors.

use std::time::Duration;

use super::super::*;
use super::{KINDS, one_of, with_ots};
use crate::testing::{TEST_TIMEOUT, run_parties};
use crate::transport::{MAX_FRAME, Scope, Traffic};
use crate::{PartyRng, Role};

#[test]
fn using_more_ots_than_prepared_names_both_numbers_and_sends_nothing() {
    let (errors, _, meters) = with_ots(
        KINDS[2],
        128,
        |_, mut ots| {
            let errors = [
                ots.choose(vec![true; 129]).map(drop),
                ots.choose_randomly(129).map(drop),
                ots.offer(129, &[0; 17]).map(drop),
                ots.offer_randomly(129).map(drop),
            ];
            // A refusal takes nothing out of the stock.
            assert_eq!((ots.left_as_sender(), ots.left_as_receiver()), (128, 128));
            Ok(errors.map(|error| error.err().map(|error| error.to_string())))
        },
        |_, mut ots| {
            assert!(matches!(
                ots.bit_triples(200),
                Err(Error::Exhausted { needed: 200, available: 128, .. })
            ));
            assert!(ots.bit_triples(128).is_ok());
            assert!(matches!(ots.bit_triples(1), Err(Error::Exhausted { needed: 1, available: 0, .. })));
            Ok(())
        },
    );
    assert!(errors.iter().flatten().filter(|text| text.contains("129") && text.contains("128")).count() == 4);
    assert!(meters.iter().all(|meter| meter.of(Scope::Node(0)) == Traffic::default()));
}

#[test]
fn a_peer_that_stops_or_lies_in_setup_gives_an_error_and_no_hang() {
    type Fault = fn(&mut Channel) -> Result<(), Error>;
    let faults: [(&str, Fault); 5] = [
        ("closes at once", |_| Ok(())),
        ("sends a short hello", |channel| channel.send(vec![1; 65])),
        ("sends a hello that is no point", |channel| {
            channel.exchange([[1; 65].as_slice(), &[4]].concat()).map(drop)
        }),
        ("closes after its hello", |channel| {
            let mut hello = vec![0; 66];
            hello[32..64].copy_from_slice(&curve25519_dalek::constants::RISTRETTO_BASEPOINT_COMPRESSED.0);
            hello[64..].copy_from_slice(&[Role::Client as u8, 4]);
            channel.exchange(hello).map(drop)
        }),
        ("sends a frame of an impossible length", |channel| channel.send(vec![0xff; MAX_FRAME])),
    ];
    for (name, fault) in faults {
        let wait = Duration::from_secs(5);
        let outcome = run_parties(
            64,
            wait,
            |channel, rng| Ots::setup(channel, Role::Server, KINDS[2], rng).map(drop),
            |channel, _| fault(channel),
        );
        match outcome.server {
            Err(Error::PeerClosed { .. } | Error::PeerLength { .. } | Error::PeerData { .. }) => {}
            Err(other) => panic!("a peer that {name}: {other}"),
            Ok(()) => panic!("a peer that {name} was not noticed"),
        }
    }
}

#[test]
fn parties_of_the_same_role_or_another_k_refuse_each_other() {
    let run = |roles: [Role; 2], kinds: [OtKind; 2]| {
        let party = |i: usize| {
            move |channel: &mut Channel, rng: &mut PartyRng| {
                Ots::setup(channel, roles[i], kinds[i], rng).map(drop)
            }
        };
        run_parties(1 << 16, TEST_TIMEOUT, party(0), party(1))
    };
    let same_role = run([Role::Client; 2], [KINDS[0]; 2]);
    assert!(matches!(
        (same_role.server, same_role.client),
        (Err(Error::PeerData { .. }), Err(Error::PeerData { .. }))
    ));
    let other_k = run([Role::Server, Role::Client], [KINDS[0], KINDS[1]]);
    assert!(matches!(other_k.server, Err(Error::PeerIncompatible { .. })));
    assert!(matches!(other_k.client, Err(Error::PeerIncompatible { .. })));
    let other_kind = run([Role::Server, Role::Client], [OtKind::SoftSpoken8, OtKind::Ferret]);
    assert!(matches!(other_kind.server, Err(Error::PeerIncompatible { what: "kind of OT", .. })));
    assert!(matches!(other_kind.client, Err(Error::PeerIncompatible { what: "kind of OT", .. })));
    assert!(OtKind::soft_spoken(3).is_none() && OtKind::soft_spoken(8).is_some());
}

#[test]
fn a_peer_that_prepares_another_count_or_closes_gives_an_error() {
    for lie in [0, 1, 70_000] {
        let outcome = run_parties(
            1 << 10,
            Duration::from_secs(5),
            |channel, rng| Ots::setup(channel, Role::Server, KINDS[3], rng)?.prepare(channel, 1000, 0),
            |channel, rng| {
                let mut ots = Ots::setup(channel, Role::Client, KINDS[3], rng)?;
                ots.prepare(channel, 0, lie)
            },
        );
        assert!(matches!(outcome.server, Err(Error::PeerClosed { .. } | Error::PeerLength { .. })), "{lie}");
    }
}

#[test]
fn a_peer_that_plans_other_iterations_of_ferret_gives_an_error() {
    // Nothing, the first of two iterations, and two of which the second is a smaller one.
    for lie in [0, 1, 800_000] {
        let outcome = run_parties(
            1 << 20,
            Duration::from_secs(5),
            |channel, rng| {
                Ots::setup(channel, Role::Server, OtKind::Ferret, rng)?.prepare(channel, 0, 2_000_000)
            },
            |channel, rng| Ots::setup(channel, Role::Client, OtKind::Ferret, rng)?.prepare(channel, lie, 0),
        );
        assert!(matches!(outcome.server, Err(Error::PeerClosed { .. } | Error::PeerLength { .. })), "{lie}");
    }
}

#[test]
fn bad_widths_and_shapes_are_config_errors() {
    with_ots(
        KINDS[0],
        1024,
        |channel, mut ots| {
            // The OTs, and a run that they don't fit.
            let runs = [(5, 5, 1), (4, 4, 5), (4, 4, 0), (0, 0, 1), (200, 200, 1), (3, 4, 1), (5, 4, 1)];
            for (count, digit_bits, message_bits) in runs {
                let runs = one_of(1, digit_bits, message_bits);
                let chosen = ots.choose_randomly(count)?;
                assert!(matches!(ots.chosen_messages(chosen, &runs), Err(Error::Config { .. })), "{runs:?}");
                let offered = ots.offer_randomly(count)?;
                let result = ots.offered_messages(offered, &runs, |_, _| ());
                assert!(matches!(result, Err(Error::Config { .. })), "{runs:?}");
            }
            for bits in [0, 65, u32::MAX] {
                let chosen = ots.choose_randomly(1)?;
                let result = ots.cot_recv(channel, chosen, |_| CotShape { lanes: 1, bits }, |_, _| ());
                assert!(matches!(result, Err(Error::Config { .. })), "{bits} bits");
                let offered = ots.offer_randomly(1)?;
                let correlation = |_| Correlation { values: &[1], bits };
                let result = ots.cot_send(channel, offered, correlation, |_, _| ());
                assert!(matches!(result, Err(Error::Config { .. })), "{bits} bits");
            }
            Ok(())
        },
        |_, _| Ok(()),
    );
}

#[test]
fn a_peer_that_sends_fewer_choices_is_taken_to_flip_none_of_the_rest() {
    // What comes from a peer is received at its exact length; this is the safety net below it.
    with_ots(
        KINDS[1],
        128,
        |_, mut ots| {
            assert_eq!(ots.offer(100, &[0xff])?.count(), 100);
            assert_eq!(ots.offer(28, &[])?.count(), 28);
            Ok(())
        },
        |_, _| Ok(()),
    );
}
