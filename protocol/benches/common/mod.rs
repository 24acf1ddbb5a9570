//! Both parties in one process with prepared random OTs, and a clock of the server's parts.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use criterion::BenchmarkGroup;
use criterion::measurement::WallTime;
use eqo_protocol::gates::Party;
use eqo_protocol::ot::{OtKind, Ots};
use eqo_protocol::testing::two_party;
use eqo_protocol::transport::Channel;
use eqo_protocol::{Error, PartyRng, Role};

/// Called by a gate at the end of each of its parts.
pub(crate) type Lap<'l> = dyn FnMut() + 'l;

/// A gate at either party; its parts end in laps.
pub(crate) type Gate<'g> = dyn Fn(&mut Party, &mut Lap) -> Result<(), Error> + Sync + 'g;

/// One benchmark for each part of a gate that takes `ots` OTs in each direction, which are made outside the measurement.
pub(crate) fn bench(group: &mut BenchmarkGroup<WallTime>, ots: usize, parts: &[&str], gate: &Gate) {
    for (part, name) in parts.iter().enumerate() {
        group.bench_function(*name, |bencher| {
            bencher.iter_custom(|n| (0..n).map(|_| laps(ots, gate)[part]).sum());
        });
    }
}

/// How long each part took at the server, waiting included.
fn laps(ots: usize, gate: &Gate) -> Vec<Duration> {
    let (report, laps) = mpsc::channel();
    let run = |role: Role, clock: Option<mpsc::Sender<Duration>>| {
        move |channel: &mut Channel, rng: &mut PartyRng| {
            let mut prepared = Ots::setup(channel, role, OtKind::SoftSpoken4, rng)?;
            prepared.prepare(channel, ots, ots)?;
            channel.exchange(vec![0])?;
            let mut start = Instant::now();
            let mut lap = || {
                if let Some(clock) = &clock {
                    // The receiver outlives both parties.
                    let _ = clock.send(start.elapsed());
                }
                start = Instant::now();
            };
            gate(&mut Party { role, channel, ots: &mut prepared, rng }, &mut lap)
        }
    };
    two_party(run(Role::Server, Some(report)), run(Role::Client, None));
    laps.iter().collect()
}
