//! Both parties of one primitive: two threads, joined by TCP over the loopback.

use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

use cpu_time::ProcessTime;
use eqo_protocol::gates::Party;
use eqo_protocol::ot::Ots;
use eqo_protocol::transport::{self, Channel, Listener, TransportConfig};
use eqo_protocol::{Error, PartyRng, Role};

use super::catalogue::Primitive;
use crate::exit::{Failure, Kind};
use crate::party;

/// Longest wait of one party for the other.
const TIMEOUT: Duration = Duration::from_secs(120);

/// What a primitive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The base OTs.
    Setup,
    /// The random OTs.
    Extension,
    /// The gate on top of them.
    Gate,
}

/// What a phase took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    /// Both directions, with frame headers.
    pub(super) bytes: f64,
    /// Longest chain of messages.
    pub(super) rounds: u64,
    /// Processor time of all threads.
    pub(super) seconds: f64,
}

/// What a run took, phase by phase, as the server saw it.
pub(super) struct Measured {
    pub(super) setup: Cost,
    pub(super) extension: Cost,
    /// Random OTs made: an extension may make more than it is asked for.
    pub(super) made: usize,
    /// Those of them that the gate used up.
    pub(super) used: usize,
    /// The gate before its inputs are known.
    pub(super) offline: Cost,
    /// The gate afterwards.
    pub(super) online: Cost,
}

impl Measured {
    /// What the gate took before its inputs were known, with the random OTs it used up: those left over aren't its price.
    pub(super) fn gate_offline(&self) -> Cost {
        let share = self.used as f64 / self.made.max(1) as f64;
        let (ots, gate) = (self.extension, self.offline);
        Cost {
            bytes: share * ots.bytes + gate.bytes,
            rounds: ots.rounds + gate.rounds,
            seconds: share * ots.seconds + gate.seconds,
        }
    }
}

/// Runs `primitive` once.
pub(super) fn run(primitive: &Primitive) -> Result<Measured, Failure> {
    let runtime = party::runtime()?;
    let config = TransportConfig { timeout: TIMEOUT, link: None };
    let listener = Listener::bind("127.0.0.1:0", runtime.handle(), config)?;
    let address = listener.local_addr()?.to_string();
    let connect = || Ok(transport::connect(&address, runtime.handle(), config)?);
    let accept = || match listener.accept(TIMEOUT)? {
        Some((channel, _)) => Ok(channel),
        None => {
            let message = format!("{address}: expected this process's other party, found none; try again");
            Err(Failure::new(Kind::Peer, message))
        }
    };
    thread::scope(|scope| {
        let client = scope.spawn(|| play(&connect, Role::Client, primitive));
        let measured = play(&accept, Role::Server, primitive)?;
        client.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        Ok(measured)
    })
}

/// Opens a connection to the other party.
type Open<'o> = dyn Fn() -> Result<Channel, Failure> + 'o;

/// One party's part.
fn play(open: &Open<'_>, role: Role, primitive: &Primitive) -> Result<Measured, Failure> {
    let mut rng = PartyRng::from_os()?;
    let (mut ots, setup) = timed(open, |channel| Ots::setup(channel, role, primitive.ot, &mut rng))?;
    let [server_sends, client_sends] = primitive.ots;
    let (as_sender, as_receiver) = match role {
        Role::Server => (server_sends, client_sends),
        Role::Client => (client_sends, server_sends),
    };
    let ((), extension) = timed(open, |channel| ots.prepare(channel, as_sender, as_receiver))?;
    let made = left(&ots);
    let (gate, offline) =
        timed(open, |channel| (primitive.gate)(&mut Party { role, channel, ots: &mut ots, rng: &mut rng }))?;
    let ((), online) =
        timed(open, |channel| gate(&mut Party { role, channel, ots: &mut ots, rng: &mut rng }))?;
    Ok(Measured { setup, extension, made, used: made - left(&ots), offline, online })
}

fn left(ots: &Ots) -> usize {
    ots.left_as_sender() + ots.left_as_receiver()
}

/// Runs `body` from when both parties are ready until both are done, on a connection of its own: rounds are a longest
/// chain of messages, so a message before the first would shorten it.
fn timed<T>(
    open: &Open<'_>,
    body: impl FnOnce(&mut Channel) -> Result<T, Error>,
) -> Result<(T, Cost), Failure> {
    let mut channel = open()?;
    meet(&mut channel)?;
    let (before, start) = (channel.meter().total(), processor_time()?);
    let result = body(&mut channel)?;
    let after = channel.meter().total();
    meet(&mut channel)?;
    let seconds = processor_time()?.duration_since(start).as_secs_f64();
    let bytes = after.bytes_sent + after.bytes_received - before.bytes_sent - before.bytes_received;
    Ok((result, Cost { bytes: bytes as f64, rounds: after.rounds - before.rounds, seconds }))
}

/// Of all threads of this process, those that move frames included.
fn processor_time() -> Result<ProcessTime, Failure> {
    ProcessTime::try_now().map_err(|error| {
        let next = "run it where the system counts a process's time";
        Failure::new(Kind::Data, format!("processor time: read failed: {error}; {next}"))
    })
}

/// Waits until the other party is here, too.
fn meet(channel: &mut Channel) -> Result<(), Error> {
    channel.exchange(vec![0]).map(drop)
}
