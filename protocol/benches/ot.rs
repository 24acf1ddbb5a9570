//! Throughput of random OTs for each k and each LPN instance, of vector COTs as a matmul uses them, and of 1-of-N OTs by extension. Both parties run in one process, each on
//! its thread, so a figure is what a machine with two free cores reaches end to end.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use eqo_protocol::ot::{Correlation, CotShape, KkotReceiver, KkotSender, LpnSet, OtKind, Ots};
use eqo_protocol::transport::{Channel, TransportConfig, memory_pair};
use eqo_protocol::{Error, PartyRng, Role};
use tokio::runtime::Runtime;

const RANDOM_OTS: usize = 1 << 20;
const COTS: usize = 1 << 16;
const MESSAGES: usize = 1 << 18;

/// Prepares `count` OTs with the server as sender, then runs both parties; the time is the server's, without set-up.
fn run(
    count: usize,
    kind: OtKind,
    server: impl FnOnce(&mut Channel, &mut Ots) -> Result<(), Error> + Send,
    client: impl FnOnce(&mut Channel, &mut Ots) -> Result<(), Error> + Send,
) -> Result<Duration, Error> {
    let runtime = Runtime::new().expect("a tokio runtime");
    let (mut one, mut other) = memory_pair(1 << 20, runtime.handle(), TransportConfig::default());
    thread::scope(|scope| {
        let client = scope.spawn(move || {
            let mut ots = Ots::setup(&mut other, Role::Client, kind, &mut PartyRng::from_os()?)?;
            ots.prepare(&mut other, 0, count)?;
            client(&mut other, &mut ots)
        });
        let mut ots = Ots::setup(&mut one, Role::Server, kind, &mut PartyRng::from_os()?)?;
        ots.prepare(&mut one, count, 0)?;
        let start = Instant::now();
        server(&mut one, &mut ots)?;
        client.join().expect("client thread")?;
        Ok(start.elapsed())
    })
}

fn timed(iterations: u64, once: impl Fn() -> Result<Duration, Error>) -> Duration {
    (0..iterations).map(|_| once().expect("both parties succeed")).sum()
}

/// Keeps the compiler from dropping the work that made a share.
fn use_share(share: &[u64]) {
    black_box(share);
}

fn random_cot(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("random OT");
    group.throughput(Throughput::Elements(RANDOM_OTS as u64)).sample_size(10);
    for kind in OtKind::ALL.into_iter().filter(|kind| *kind != OtKind::Ferret) {
        let once = || {
            let server = |channel: &mut Channel, ots: &mut Ots| ots.prepare(channel, RANDOM_OTS, 0);
            run(0, kind, server, |channel, ots| ots.prepare(channel, 0, RANDOM_OTS))
        };
        group.bench_function(BenchmarkId::new("k", kind.k()), |bencher| {
            bencher.iter_custom(|n| timed(n, once))
        });
    }
    group.finish();
}

/// Requests that each of Ferret's three sets meets in one iteration; the elements are the OTs that come out.
fn ferret(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ferret");
    group.sample_size(10);
    for set in LpnSet::ALL {
        let count = set.gain() as usize;
        let once = || {
            let server = |channel: &mut Channel, ots: &mut Ots| ots.prepare(channel, count, 0);
            // The first request also makes the seeds for the second, which is timed.
            run(count, OtKind::Ferret, server, |channel, ots| ots.prepare(channel, 0, count))
        };
        group.throughput(Throughput::Elements(set.gain()));
        group.bench_function(BenchmarkId::new("depth", set.depth), |bencher| {
            bencher.iter_custom(|n| timed(n, once))
        });
    }
    group.finish();
}

fn vector_cot(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("vector COT");
    group.throughput(Throughput::Elements(COTS as u64)).sample_size(10);
    for (lanes, bits) in [(1, 8), (16, 18), (64, 16), (256, 19)] {
        let row = vec![12345; lanes];
        let choices = vec![true; COTS];
        let send = |channel: &mut Channel, ots: &mut Ots| {
            let row = |_| Correlation { values: &row, bits };
            let flips = channel.recv(COTS / 8)?;
            let offered = ots.offer(COTS, &flips)?;
            ots.cot_send(channel, offered, row, |_, share| use_share(share))
        };
        let receive = |channel: &mut Channel, ots: &mut Ots| {
            let (chosen, flips) = ots.choose(choices.clone())?;
            channel.send(flips)?;
            ots.cot_recv(channel, chosen, |_| CotShape { lanes, bits }, |_, share| use_share(share))
        };
        let once = || run(COTS, OtKind::SoftSpoken4, send, receive);
        let name = BenchmarkId::new("lanes x bits", format!("{lanes} x {bits}"));
        group.bench_function(name, |bencher| bencher.iter_custom(|n| timed(n, once)));
    }
    group.finish();
}

/// One call of [`MESSAGES`] OTs; the time is the client's, which ends last, without set-up.
fn one_of_n(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("1-of-N OT");
    group.throughput(Throughput::Elements(MESSAGES as u64)).sample_size(10);
    for shape in [(2, 1), (4, 2), (16, 2), (16, 8)] {
        let choices: Vec<u8> = (0..MESSAGES).map(|j| (j % shape.0) as u8).collect();
        let name = BenchmarkId::new("options x bits", format!("{} x {}", shape.0, shape.1));
        let once = || one_call(&choices, shape);
        group.bench_function(name, |bencher| bencher.iter_custom(|n| timed(n, once)));
    }
    group.finish();
}

fn one_call(choices: &[u8], shape: (usize, u32)) -> Result<Duration, Error> {
    let runtime = Runtime::new().expect("a tokio runtime");
    let (mut one, mut other) = memory_pair(1 << 20, runtime.handle(), TransportConfig::default());
    thread::scope(|scope| {
        let server = scope.spawn(move || {
            let mut sender = KkotSender::setup(&mut one, &mut PartyRng::from_os()?)?;
            sender.send(&mut one, choices.len(), shape, |j, w| (j ^ w) as u8)
        });
        let mut receiver = KkotReceiver::setup(&mut other, &mut PartyRng::from_os()?)?;
        let start = Instant::now();
        black_box(receiver.recv(&mut other, choices, shape)?);
        let elapsed = start.elapsed();
        server.join().expect("server thread")?;
        Ok(elapsed)
    })
}

criterion_group!(benches, random_cot, ferret, vector_cot, one_of_n);
criterion_main!(benches);
