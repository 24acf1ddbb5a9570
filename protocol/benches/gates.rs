//! Time of the gates, both parties on one machine over a pipe in memory. Random OTs are made outside the measurement.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use eqo_checkpoints::cost::Group;
use eqo_protocol::Error;
use eqo_protocol::Role;
use eqo_protocol::gates::Party;
use eqo_protocol::gates::extend::extend;
use eqo_protocol::gates::requantize::requantize;
use eqo_protocol::ot::{OtKind, Ots};
use eqo_protocol::testing::two_party;

const ELEMENTS: usize = 16 * 32 * 32;

/// Runs `gate` at both parties after preparing `ots` OTs in each direction; the server's time.
fn timed(ots: usize, gate: impl Fn(&mut Party) -> Result<(), Error> + Sync) -> Duration {
    let (report, time) = mpsc::channel();
    let run = |role: Role, clock: Option<mpsc::Sender<Duration>>| {
        let gate = &gate;
        move |channel: &mut _, rng: &mut _| {
            let mut prepared = Ots::setup(channel, role, OtKind::SoftSpoken4, rng)?;
            prepared.prepare(channel, ots, ots)?;
            let start = Instant::now();
            gate(&mut Party { role, channel, ots: &mut prepared, rng })?;
            if let Some(clock) = clock {
                let _ = clock.send(start.elapsed());
            }
            Ok(())
        }
    };
    two_party(run(Role::Server, Some(report)), run(Role::Client, None));
    time.recv().unwrap_or_default()
}

fn activations(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("activations");
    group.throughput(Throughput::Elements(ELEMENTS as u64)).sample_size(10);
    for (ring, shift, act_bits) in [(18, 9, 6), (22, 12, 4)] {
        let groups = [Group { ring, shift, channels: vec![0] }];
        let run =
            |party: &mut Party| requantize(party, &groups, act_bits, ELEMENTS, vec![7; ELEMENTS]).map(drop);
        let name = BenchmarkId::new("requantize", format!("l{ring} s{shift} a{act_bits}"));
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|n| (0..n).map(|_| timed(ELEMENTS * 60, run)).sum());
        });
    }
    group.bench_function("extend 6 to 18 bits", |bencher| {
        let run = |party: &mut Party| extend(party, 6, 18, vec![7; ELEMENTS]).map(drop);
        bencher.iter_custom(|n| (0..n).map(|_| timed(ELEMENTS, run)).sum());
    });
    group.finish();
}

criterion_group!(benches, activations);
criterion_main!(benches);
