//! Both parties with prepared OTs, and shares of test values.

#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses its part; an Err is a failed test")]

pub(crate) mod baseline;
pub(crate) mod breaking;
pub(crate) mod returning;
pub(crate) mod session;
pub(crate) mod statistic;
pub(crate) mod transcript;

use eqo_checkpoints::Checkpoint;
use eqo_checkpoints::cost::{Gate, Ots as OtCount, Scope};
use eqo_checkpoints::graph::{Conv, Op};
use eqo_protocol::gates::Party;
use eqo_protocol::gates::larger::Larger;
use eqo_protocol::gates::requantize::Requantization;
use eqo_protocol::ot::{OtKind, Ots};
use eqo_protocol::testing::{seeded, two_party};
use eqo_protocol::transport::{Channel, Meter};
use eqo_protocol::{Error, PartyRng, Role};
use rand::Rng;

/// A network's first convolution.
pub(crate) fn first_conv(checkpoint: &Checkpoint) -> (&str, &Conv) {
    let conv = checkpoint.graph().nodes().iter().find_map(|node| match &node.op {
        Op::Conv(conv) => Some((node.name.as_str(), conv)),
        _ => None,
    });
    conv.unwrap()
}

/// Runs a gate at both parties; its traffic is booked under node 0.
pub(crate) fn run_gate<S: Send, C: Send>(
    needed: OtCount,
    server: impl FnOnce(&mut Party) -> Result<S, Error> + Send,
    client: impl FnOnce(&mut Party) -> Result<C, Error> + Send,
) -> (S, C, [Meter; 2]) {
    let counts = [needed.server_sends as usize, needed.client_sends as usize];
    two_party(
        |channel, rng| with_ots(channel, rng, Role::Server, counts, server),
        |channel, rng| with_ots(channel, rng, Role::Client, counts, client),
    )
}

fn with_ots<T>(
    channel: &mut Channel,
    rng: &mut PartyRng,
    role: Role,
    [server_sends, client_sends]: [usize; 2],
    gate: impl FnOnce(&mut Party) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut ots = Ots::setup(channel, role, OtKind::SoftSpoken2, rng)?;
    match role {
        Role::Server => ots.prepare(channel, server_sends, client_sends)?,
        Role::Client => ots.prepare(channel, client_sends, server_sends)?,
    }
    channel.set_scope(Scope::Node(0));
    gate(&mut Party { role, channel, ots: &mut ots, rng })
}

/// Runs a gate whose random OTs and traffic must be what the cost model says.
pub(crate) fn run_priced<S: Send, C: Send>(
    price: &Gate,
    server: impl FnOnce(&mut Party) -> Result<S, Error> + Send,
    client: impl FnOnce(&mut Party) -> Result<C, Error> + Send,
) -> (S, C) {
    let needed = price.ots();
    // As many in both directions: otherwise the gate's first message might travel together with the extension's last.
    let made = needed.server_sends.max(needed.client_sends).max(1);
    let (server, client, [meter, _]) = run_gate(
        both(made as usize),
        |party| {
            let result = server(party)?;
            let used = |left: usize| made.next_multiple_of(128) - left as u64;
            assert_eq!(used(party.ots.left_as_sender()), needed.server_sends, "{price:?}");
            assert_eq!(used(party.ots.left_as_receiver()), needed.client_sends, "{price:?}");
            Ok(result)
        },
        client,
    );
    let (measured, predicted) = (meter.of(Scope::Node(0)), price.flow());
    assert_eq!(measured.bytes_sent, predicted.to_client, "{price:?}");
    assert_eq!(measured.bytes_received, predicted.to_server, "{price:?}");
    assert_eq!((measured.frames, measured.rounds), (predicted.frames, predicted.rounds), "{price:?}");
    (server, client)
}

/// Prepares a requantization with the client's shares and runs it; the offline part is booked under `Offline(0)`.
pub(crate) fn requantize(
    gate: &Requantization,
    ots: usize,
    [server, client]: [Vec<u64>; 2],
) -> (Vec<u64>, Vec<u64>, [Meter; 2]) {
    run_gate(
        both(ots),
        |party| {
            party.channel.set_scope(Scope::Offline(0));
            let drawn = gate.server_draw(party)?;
            let offered = gate.server_offer(party, drawn)?;
            let prepared = gate.server_correct(party, offered)?;
            party.channel.set_scope(Scope::Node(0));
            gate.server_run(party, prepared, &server)
        },
        |party| {
            party.channel.set_scope(Scope::Offline(0));
            let drawn = gate.client_draw(party)?;
            let chosen = gate.client_choose(party, drawn, &client)?;
            let prepared = gate.client_correct(party, chosen)?;
            party.channel.set_scope(Scope::Node(0));
            gate.client_run(party, prepared)
        },
    )
}

/// Prepares matches with the client's shares of `f − g` and runs them: shares of `f − max(f, g)`.
pub(crate) fn larger(
    gate: &Larger,
    ots: usize,
    [server, client]: [Vec<u64>; 2],
) -> (Vec<u64>, Vec<u64>, [Meter; 2]) {
    run_gate(
        both(ots),
        |party| {
            party.channel.set_scope(Scope::Offline(0));
            let drawn = gate.server_draw(party)?;
            let prepared = gate.server_offer(party, drawn)?;
            party.channel.set_scope(Scope::Node(0));
            gate.server_run(party, prepared, &server)
        },
        |party| {
            party.channel.set_scope(Scope::Offline(0));
            let drawn = gate.client_draw(party)?;
            let prepared = gate.client_choose(party, drawn, &client)?;
            party.channel.set_scope(Scope::Node(0));
            gate.client_run(party, prepared)
        },
    )
}

/// `count` OTs in each direction.
pub(crate) fn both(count: usize) -> OtCount {
    OtCount { server_sends: count as u64, client_sends: count as u64 }
}

/// Additive shares of integers; the bits above any ring hold garbage on purpose.
pub(crate) fn share(values: &[i64], seed: u64) -> [Vec<u64>; 2] {
    let mut rng = seeded(seed);
    let server: Vec<u64> = values.iter().map(|_| rng.next_u64()).collect();
    let client =
        values.iter().zip(&server).map(|(&value, &share)| (value as u64).wrapping_sub(share)).collect();
    [server, client]
}

/// Sums of shares modulo `2^bits`.
pub(crate) fn reveal(server: &[u64], client: &[u64], bits: u8) -> Vec<u64> {
    assert_eq!(server.len(), client.len());
    let mask = u64::MAX >> (64 - bits);
    server.iter().zip(client).map(|(s, c)| s.wrapping_add(*c) & mask).collect()
}
