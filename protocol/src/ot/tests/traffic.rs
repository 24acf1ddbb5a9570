//! Every byte and round is as documented.

use super::super::*;
use super::{KINDS, choose, offer, one_of, with_ots};
use crate::testing::{TEST_TIMEOUT, run_parties, two_party};
use crate::transport::{Scope, wire_bytes};
use crate::{PartyRng, Role};

#[test]
fn traffic_equals_the_documented_formulas_to_the_byte() {
    for kind in KINDS {
        for (as_server, as_client) in [(0, 0), (1, 0), (128, 129), (70_000, 4096), (5, 400_000)] {
            let (_, _, [server, client]) = two_party(
                |channel, rng| {
                    Ots::setup(channel, Role::Server, kind, rng)?.prepare(channel, as_server, as_client)
                },
                |channel, rng| {
                    Ots::setup(channel, Role::Client, kind, rng)?.prepare(channel, as_client, as_server)
                },
            );
            let setup: u64 = setup_payloads(kind).map(wire_bytes).iter().sum();
            let rounds = setup_payloads(kind).iter().filter(|bytes| **bytes > 0).count() as u64;
            let [server_sends, client_sends] =
                [as_server, as_client].map(|count| Extension::new(kind).plan(count as u64));
            let bytes = |payloads: &[(u64, u64)]| -> u64 {
                payloads.iter().map(|(bytes, times)| wire_bytes(*bytes) * times).sum()
            };
            let flow = |sends: &Plan, receives: &Plan| {
                bytes(&sends.from_sender()) + bytes(&receives.from_receiver())
            };
            let to_client = flow(&server_sends, &client_sends);
            let to_server = flow(&client_sends, &server_sends);
            let phases = if kind == OtKind::Ferret { 2 } else { 1 };
            for (meter, sent, received) in [(&server, to_client, to_server), (&client, to_server, to_client)]
            {
                let base = meter.of(Scope::BaseOt);
                assert_eq!(
                    (base.bytes_sent, base.bytes_received, base.rounds),
                    (setup, setup, rounds),
                    "{kind:?}"
                );
                let extension = meter.of(Scope::OtExtension);
                assert_eq!((extension.bytes_sent, extension.bytes_received), (sent, received), "{kind:?}");
                assert_eq!(extension.rounds, phases * u64::from(as_server + as_client > 0));
            }
        }
    }
    let messages = |kind, count| Extension::new(kind).plan(count).from_receiver();
    assert_eq!(messages(KINDS[2], 1000), [(31 * 2048, 0), (31 * 1024 / 8, 1)]);
    assert_eq!(messages(KINDS[0], 16_385), [(127 * 2048, 1), (127 * 16, 1)]);
}

#[test]
fn conversions_send_what_is_documented_to_the_byte() {
    let count = 40_001u64;
    let values = vec![3; 20];
    let (_, _, meters) = with_ots(
        KINDS[3],
        count as usize * 5,
        |channel, mut ots| {
            let offered = offer(channel, &mut ots, 40_001)?;
            ots.cot_send(channel, offered, |_| Correlation { values: &values, bits: 13 }, |_, _| ())?;
            channel.set_scope(Scope::Node(1));
            let offered = offer(channel, &mut ots, 4 * 40_001)?;
            ots.offered_messages(offered, &one_of(40_001, 4, 2), |_, _| ())
        },
        |channel, mut ots| {
            let chosen = choose(channel, &mut ots, &[true; 40_001])?;
            ots.cot_recv(channel, chosen, |_| CotShape { lanes: 20, bits: 13 }, |_, _| ())?;
            channel.set_scope(Scope::Node(1));
            let chosen = choose(channel, &mut ots, &[true; 4 * 40_001])?;
            ots.chosen_messages(chosen, &one_of(40_001, 4, 2))
        },
    );
    // Pads of messages cost nothing: who masks with them sends.
    let expected = [
        (wire_bytes((count * 20 * 13).div_ceil(8)), wire_bytes(count.div_ceil(8)), 2),
        (0, wire_bytes((count * 4).div_ceil(8)), 1),
    ];
    for (node, (down, up, rounds)) in expected.into_iter().enumerate() {
        let (server, client) = (meters[0].of(Scope::Node(node)), meters[1].of(Scope::Node(node)));
        assert_eq!((server.bytes_sent, server.bytes_received, server.rounds), (down, up, rounds));
        assert_eq!((client.bytes_sent, client.bytes_received, client.rounds), (up, down, rounds));
    }
}

#[test]
fn preparing_many_chunks_both_ways_through_a_narrow_pipe_does_not_deadlock() {
    let party = |role| {
        move |channel: &mut Channel, rng: &mut PartyRng| {
            Ots::setup(channel, role, KINDS[0], rng)?.prepare(channel, 900_000, 900_000)
        }
    };
    let outcome = run_parties(8 << 10, TEST_TIMEOUT, party(Role::Server), party(Role::Client));
    assert!(outcome.server.is_ok() && outcome.client.is_ok());
    assert_eq!(outcome.client_meter.of(Scope::OtExtension).rounds, 1);
}
