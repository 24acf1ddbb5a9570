//! Both parties in one process, with seeded randomness, for tests.

mod faults;
mod relay;
mod tap;

use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;

use crate::transport::{Channel, Meter, TransportConfig, memory_pair};
use crate::{Error, PartyRng};

pub use faults::{Direction, End, Fault, FaultKind, Faulty, Wire, faulty_pair};
pub use relay::{Injected, Relay};
pub use tap::{Said, payloads};

/// How long a party of a test waits for the other.
pub const TEST_TIMEOUT: Duration = Duration::from_secs(20);

/// What both parties of [`run_parties`] ended with.
pub struct Outcome<S, C> {
    /// The server's result.
    pub server: Result<S, Error>,
    /// The client's result.
    pub client: Result<C, Error>,
    /// What the server's channel counted.
    pub server_meter: Meter,
    /// What the client's channel counted.
    pub client_meter: Meter,
}

/// Seeded randomness: the same seed gives the same run. Never for real inputs.
pub fn seeded(seed: u64) -> PartyRng {
    PartyRng::seeded(seed)
}

/// Runs both parties on threads of their own, joined by a pipe of `buffer` bytes each way.
///
/// # Panics
/// If a party panics.
pub fn run_parties<S: Send, C: Send>(
    buffer: usize,
    timeout: Duration,
    server: impl FnOnce(&mut Channel, &mut PartyRng) -> Result<S, Error> + Send,
    client: impl FnOnce(&mut Channel, &mut PartyRng) -> Result<C, Error> + Send,
) -> Outcome<S, C> {
    let runtime =
        Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime for tests");
    let (server_channel, client_channel) =
        memory_pair(buffer, runtime.handle(), TransportConfig { timeout, ..TransportConfig::default() });
    let (server, client) = thread::scope(|scope| {
        let server = scope.spawn(|| run_party(server_channel, 1, server));
        let client = scope.spawn(|| run_party(client_channel, 2, client));
        (server.join().expect("server thread"), client.join().expect("client thread"))
    });
    Outcome { server: server.0, client: client.0, server_meter: server.1, client_meter: client.1 }
}

/// [`run_parties`] over a wide pipe, for parties that must succeed: both outputs and both meters.
///
/// # Panics
/// If a party fails, with its error.
pub fn two_party<S: Send, C: Send>(
    server: impl FnOnce(&mut Channel, &mut PartyRng) -> Result<S, Error> + Send,
    client: impl FnOnce(&mut Channel, &mut PartyRng) -> Result<C, Error> + Send,
) -> (S, C, [Meter; 2]) {
    let outcome = run_parties(1 << 20, TEST_TIMEOUT, server, client);
    match (outcome.server, outcome.client) {
        (Ok(server), Ok(client)) => (server, client, [outcome.server_meter, outcome.client_meter]),
        (server, client) => panic!(
            "server: {}; client: {}",
            server.err().map_or("ok".into(), |error| error.to_string()),
            client.err().map_or("ok".into(), |error| error.to_string())
        ),
    }
}

fn run_party<T>(
    mut channel: Channel,
    seed: u64,
    party: impl FnOnce(&mut Channel, &mut PartyRng) -> Result<T, Error>,
) -> (Result<T, Error>, Meter) {
    let result = party(&mut channel, &mut PartyRng::seeded(seed));
    (result, channel.meter().clone())
}
