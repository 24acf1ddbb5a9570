//! Faults of the caller and of the peer end in errors.

use std::time::Duration;

use super::super::*;
use super::{KINDS, one_of, with_ots};
use crate::testing::{TEST_TIMEOUT, run_parties};
use crate::transport::MAX_FRAME;
use crate::{PartyRng, Role};

#[test]
fn using_more_ots_than_prepared_names_both_numbers_and_sends_nothing() {
    let (error, _, _) = with_ots(
        KINDS[2],
        128,
        |channel, mut ots| {
            Ok(ots.cot_send_scalars(channel, &[1; 129], |_| 8).err().map(|error| error.to_string()))
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
    assert!(error.is_some_and(|text| text.contains("129") && text.contains("128")));
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
        128,
        |channel, mut ots| {
            assert!(matches!(
                ots.one_of_n_send(channel, &one_of(1, 5, 1), &[0; 32]),
                Err(Error::Config { .. })
            ));
            assert!(matches!(
                ots.one_of_n_send(channel, &one_of(1, 4, 9), &[0; 16]),
                Err(Error::Config { .. })
            ));
            assert!(matches!(
                ots.one_of_n_send(channel, &one_of(1, 4, 1), &[0; 17]),
                Err(Error::Config { .. })
            ));
            assert!(matches!(ots.one_of_n_recv(channel, &one_of(1, 2, 1), &[4]), Err(Error::Config { .. })));
            assert!(matches!(
                ots.one_of_n_recv(channel, &one_of(1, 200, 1), &[4]),
                Err(Error::Config { .. })
            ));
            let uneven = ots.cot_exchange_scalars(channel, &[1], &[], |_| 8);
            assert!(matches!(uneven, Err(Error::Config { .. })));
            assert!(matches!(ots.cot_recv_scalars(channel, &[true], |_| 65), Err(Error::Config { .. })));
            Ok(())
        },
        |_, _| Ok(()),
    );
}
