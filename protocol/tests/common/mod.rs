//! Both parties with prepared OTs, and shares of test values.

use eqo_checkpoints::cost::{Ots as OtCount, Scope};
use eqo_protocol::gates::Party;
use eqo_protocol::ot::{OtKind, Ots};
use eqo_protocol::testing::{seeded, two_party};
use eqo_protocol::transport::{Channel, Meter};
use eqo_protocol::{Error, PartyRng, Role};
use rand::Rng;

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
