//! The speed of random OTs over loopback TCP, in CPU time of both parties together, kernel included: what a machine can
//! make per core, whatever else it does. Run alone and in release mode:
//!
//! `cargo test --release -p eqo-protocol --test ot_speed -- --ignored --nocapture`
//!
//! `EQO_OT=softspoken1` (or another kind's name) measures that kind alone.

use std::thread;
use std::time::Duration;

use cpu_time::ProcessTime;
use eqo_protocol::ot::{OtKind, Ots};
use eqo_protocol::transport::{Channel, Listener, Scope, TransportConfig, connect};
use eqo_protocol::{Error, PartyRng, Role};
use tokio::runtime::Builder;

const COUNT: usize = 1 << 24;

/// OTs prepared at once; they are hashed in draws that stay in the cache.
const PREPARED: usize = 1 << 16;
const DRAWN: usize = 1 << 10;

/// Runs of each kind; the fastest counts.
const RUNS: usize = 5;

#[derive(Clone, Copy)]
struct Work {
    role: Role,
    kind: OtKind,
}

/// One party: set-up, a warm-up of the caches, then `COUNT` random OTs. CPU time of the process at the start, and a sum of the pads.
fn party(channel: &mut Channel, work: Work) -> Result<(ProcessTime, u128), Error> {
    let mut ots = Ots::setup(channel, work.role, work.kind, &mut PartyRng::from_os()?)?;
    make(channel, &mut ots, work, PREPARED)?;
    // Both parties are here before either starts.
    channel.exchange(vec![0])?;
    let start = ProcessTime::now();
    let sum = make(channel, &mut ots, work, COUNT)?;
    Ok((start, sum))
}

fn make(channel: &mut Channel, ots: &mut Ots, work: Work, count: usize) -> Result<u128, Error> {
    let (mut pads, mut choices, mut sum) = ([[0; DRAWN]; 2], [false; DRAWN], 0);
    for _ in (0..count).step_by(PREPARED) {
        let (as_sender, as_receiver) = if work.role == Role::Server { (PREPARED, 0) } else { (0, PREPARED) };
        ots.prepare(channel, as_sender, as_receiver)?;
        for _ in (0..PREPARED).step_by(DRAWN) {
            let [zeros, ones] = &mut pads;
            match work.role {
                Role::Server => ots.random_send([zeros, ones])?,
                Role::Client => ots.random_recv(&mut choices, zeros)?,
            }
            sum ^= zeros[0] ^ ones[DRAWN - 1];
        }
    }
    Ok(sum)
}

/// CPU time of both parties, and the bits that the receiver sent for an OT.
fn run(kind: OtKind) -> Result<(Duration, f64), Error> {
    let runtime =
        Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a tokio runtime");
    let config = TransportConfig::default();
    let listener = Listener::bind("127.0.0.1:0", runtime.handle(), config)?;
    let address = listener.local_addr()?.to_string();
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            let mut channel = connect(&address, runtime.handle(), config)?;
            party(&mut channel, Work { role: Role::Client, kind })?;
            Ok(channel.meter().of(Scope::OtExtension).bytes_sent)
        });
        let (mut channel, _) = listener.accept(config.timeout)?.expect("a client");
        let (start, _) = party(&mut channel, Work { role: Role::Server, kind })?;
        let bytes = client.join().expect("client thread")?;
        Ok((start.elapsed(), 8.0 * bytes as f64 / (COUNT + PREPARED) as f64))
    })
}

/// The run with the least CPU time.
fn best(kind: OtKind) -> (Duration, f64) {
    let runs = (0..RUNS).map(|_| run(kind).expect("both parties succeed"));
    runs.min_by_key(|(time, _)| *time).expect("at least one run")
}

#[test]
#[ignore = "a measurement: run it alone, in release mode"]
fn random_ots_per_core_second_over_loopback() {
    println!("| kind | random OT, M per core-second | bits per OT |");
    println!("|---|---|---|");
    let wanted =
        |kind: &OtKind| std::env::var("EQO_OT").map_or(*kind != OtKind::Ferret, |name| name == kind.name());
    for kind in OtKind::ALL.into_iter().filter(wanted) {
        let (time, bits) = best(kind);
        println!("| {} | {:.1} | {bits:.3} |", kind.name(), COUNT as f64 / time.as_secs_f64() / 1e6);
    }
}
