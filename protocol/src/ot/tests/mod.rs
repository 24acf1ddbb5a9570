//! The claims of this module, for every kind of OT.

mod correctness;
mod faults;
mod ferret;
mod kkot;
mod one_of_n;
mod serials;
mod speed;
mod traffic;

use super::*;
use crate::testing::two_party;
use crate::transport::{Meter, Scope};
use crate::{PartyRng, Role};

const KINDS: [OtKind; 5] = OtKind::ALL;

/// Set-up and `count` OTs in each direction.
fn ready(
    channel: &mut Channel,
    rng: &mut PartyRng,
    role: Role,
    kind: OtKind,
    count: usize,
) -> Result<Ots, Error> {
    let mut ots = Ots::setup(channel, role, kind, rng)?;
    ots.prepare(channel, count, count)?;
    channel.set_scope(Scope::Node(0));
    Ok(ots)
}

/// Runs both parties with `count` OTs in each direction of one kind.
pub(super) fn with_ots<S: Send, C: Send>(
    kind: OtKind,
    count: usize,
    server: impl FnOnce(&mut Channel, Ots) -> Result<S, Error> + Send,
    client: impl FnOnce(&mut Channel, Ots) -> Result<C, Error> + Send,
) -> (S, C, [Meter; 2]) {
    two_party(
        |channel, rng| ready(channel, rng, Role::Server, kind, count).and_then(|ots| server(channel, ots)),
        |channel, rng| ready(channel, rng, Role::Client, kind, count).and_then(|ots| client(channel, ots)),
    )
}

/// Fixes choices as receiver and tells the sender.
fn choose(channel: &mut Channel, ots: &mut Ots, choices: &[bool]) -> Result<ChosenOts, Error> {
    let (chosen, flips) = ots.choose(choices.to_vec())?;
    channel.send(flips)?;
    Ok(chosen)
}

/// The sender's side of [`choose`].
fn offer(channel: &mut Channel, ots: &mut Ots, count: usize) -> Result<OfferedOts, Error> {
    let flips = channel.recv(count.div_ceil(8))?;
    ots.offer(count, &flips)
}

fn one_of(count: usize, digit_bits: u32, message_bits: u32) -> [OneOfN; 1] {
    [OneOfN { count, digit_bits, message_bits }]
}
