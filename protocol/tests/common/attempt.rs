//! Sessions over bad networks, and what came of them.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;
use std::time::Duration;

use eqo_checkpoints::Checkpoint;
use eqo_checkpoints::cost::OtKind;
use eqo_checkpoints::engine::class_of;
use eqo_checkpoints::testing::{Block, Spec, random_checkpoint, random_image};
use eqo_protocol::Error;
use eqo_protocol::session::client::{ClientConfig, Patience, PersistentClient};
use eqo_protocol::session::server::{Greeting, Return, ServerConfig, Session};
use eqo_protocol::session::{Parking, ParkingConfig};
use eqo_protocol::testing::{Direction, End, Fault, FaultKind, Injected, Relay, Said, Wire, faulty_pair};
use eqo_protocol::transport::{Channel, TlsClient, TlsServer, TransportConfig};
use proptest::sample::Index;
use tokio::runtime::Runtime;

use super::authority::{Authority, VALID};

/// How long a party waits on a bad network.
pub(crate) const HURRIED: Duration = Duration::from_millis(300);

/// How long it waits on a good one, on a busy machine.
const PATIENT: Duration = Duration::from_secs(30);

/// How often a client comes back for one request.
const RETURNS: u32 = 6;

/// Parties that haven't ended by then never will.
const WATCHDOG: Duration = Duration::from_secs(120);

/// What a client asks for, with the batch size.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Ask {
    Prepare(usize),
    Infer(usize),
    Classify(usize),
}

use Ask::{Classify, Infer, Prepare};

/// What clients ask for in these tests.
pub(crate) const SCRIPTS: [&[Ask]; 4] = [
    &[Infer(1)],
    &[Prepare(1), Infer(1)],
    &[Classify(2)],
    &[Prepare(2), Prepare(1), Infer(1), Classify(1), Infer(2)],
];

/// How many networks there are.
pub(crate) const NETWORKS: usize = 2;

/// Faults of one connection.
pub(crate) type Faults = Vec<(Direction, Index, FaultKind)>;

/// A session and what goes wrong in it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) network: usize,
    pub(crate) ot: OtKind,
    pub(crate) tls: bool,
    pub(crate) script: usize,
    /// Of the first connection.
    pub(crate) faults: Faults,
    /// Of the second one, on which the client comes back to its session; without it, it doesn't. Later ones have none.
    pub(crate) resumed: Option<Faults>,
}

/// What came of it.
pub(crate) struct Attempt {
    /// To each request that the client got an answer to: logits of each image, or its class as a number.
    pub(crate) answers: Vec<Vec<Vec<i64>>>,
    /// Whether the first connection lasted until requests could be made.
    pub(crate) opened: bool,
    /// How often the client came back.
    pub(crate) returns: u32,
    pub(crate) client: Result<(), Error>,
    /// Of the last connection.
    pub(crate) server: Result<(), Error>,
    pub(crate) injected: Vec<Injected>,
    /// Payloads of all frames from the base OTs on that the parties sent on all connections, before TLS.
    pub(crate) said: Vec<Vec<u8>>,
    messages: [usize; 2],
}

struct Network {
    checkpoint: Checkpoint,
    /// What the engine answers to each script.
    answers: Vec<Vec<Vec<Vec<i64>>>>,
}

static WORLD: LazyLock<[Network; NETWORKS]> = LazyLock::new(|| {
    [Spec::new([1, 5, 5], 3, vec![]), Spec::new([2, 6, 5], 4, vec![Block::OptionA])]
        .map(|spec| Network::new(random_checkpoint(3, &spec)))
});

static TLS: LazyLock<Wire> = LazyLock::new(|| {
    let authority = Authority::new();
    let server = TlsServer::new(&authority.party("localhost", VALID), None).unwrap();
    let client = TlsClient::new(&authority.party("client", VALID), "localhost").unwrap();
    Wire::Tls(server, client)
});

impl Network {
    fn new(checkpoint: Checkpoint) -> Self {
        let engine = checkpoint.engine();
        let answer = |ask: &Ask| {
            let (count, class_only) = match *ask {
                Prepare(_) => return None,
                Infer(count) => (count, false),
                Classify(count) => (count, true),
            };
            let logits = images(&checkpoint, count).into_iter().map(|image| engine.run(&image).unwrap());
            Some(logits.map(|all| if class_only { vec![class_of(&all) as i64] } else { all }).collect())
        };
        let answers = SCRIPTS.iter().map(|script| script.iter().filter_map(answer).collect()).collect();
        Self { checkpoint, answers }
    }
}

fn images(checkpoint: &Checkpoint, count: usize) -> Vec<Vec<u8>> {
    (0..count as u64).map(|seed| random_image(seed, checkpoint)).collect()
}

impl Plan {
    /// The session with its faults; if the client is left without answers, a new one on a good network.
    pub(crate) fn play(&self) -> Vec<Attempt> {
        let messages = self.messages();
        let placed = |faults: &Faults| {
            let fault = |&(direction, at, kind): &(Direction, Index, FaultKind)| {
                let of_direction = messages[usize::from(direction == Direction::ToClient)];
                Fault { direction, at: at.index(of_direction), kind }
            };
            faults.iter().map(fault).collect::<Vec<_>>()
        };
        let connections = [Some(&self.faults), self.resumed.as_ref()];
        let mut attempts = vec![self.attempt(connections.into_iter().flatten().map(placed).collect())];
        if attempts[0].answers.len() < self.expected().len() {
            attempts.push(self.attempt(Vec::new()));
        }
        attempts
    }

    /// The engine's answers.
    pub(crate) fn expected(&self) -> &'static [Vec<Vec<i64>>] {
        &WORLD[self.network].answers[self.script]
    }

    /// How many messages such a session takes in each direction, from one without faults.
    fn messages(&self) -> [usize; 2] {
        type Key = (usize, u8, bool, usize);
        static KNOWN: LazyLock<Mutex<HashMap<Key, [usize; 2]>>> = LazyLock::new(Mutex::default);
        let key = (self.network, self.ot.code(), self.tls, self.script);
        if let Some(&known) = KNOWN.lock().unwrap().get(&key) {
            return known;
        }
        let attempt = self.attempt(Vec::new());
        assert_eq!(attempt.answers, self.expected(), "{self:?} without a fault");
        assert!(attempt.client.is_ok() && attempt.server.is_ok());
        KNOWN.lock().unwrap().insert(key, attempt.messages);
        attempt.messages
    }

    /// A session on connections with these faults, and without any once they are used up.
    fn attempt(&self, faults: Vec<Vec<Fault>>) -> Attempt {
        let place = Arc::new(Place::new(self.clone(), faults));
        let at = Arc::clone(&place);
        let asked = self.outcome("client", &spawn(move || at.ask()));
        let connections = std::mem::take(&mut *place.connections.lock().unwrap());
        let served: Vec<_> = connections.iter().map(|one| self.outcome("server", &one.server)).collect();
        Attempt {
            answers: asked.answers,
            opened: asked.opened,
            returns: asked.returns,
            client: asked.end,
            server: served.into_iter().next_back().unwrap_or(Ok(())),
            injected: connections.iter().flat_map(|one| one.relay.injected()).collect(),
            said: connections.iter().flat_map(|one| &one.said).flat_map(secret).collect(),
            messages: connections.first().map_or([0; 2], |one| one.relay.messages()),
        }
    }

    fn outcome<T>(&self, who: &str, result: &Receiver<T>) -> T {
        match result.recv_timeout(WATCHDOG) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => panic!("the {who} hangs: {self:?}"),
            Err(RecvTimeoutError::Disconnected) => panic!("the {who} panicked: {self:?}"),
        }
    }
}

/// What a party says from its base OTs on, which begin with the only message of 66 bytes; greetings, graphs, tickets and lists of
/// what is kept come before.
fn secret(said: &Said) -> Vec<Vec<u8>> {
    said.payloads().into_iter().skip_while(|payload| payload.len() != 66).collect()
}

/// Where a client connects to a server.
struct Place {
    plan: Plan,
    runtime: Runtime,
    parking: Arc<Parking>,
    /// Of connections to come.
    faults: Mutex<std::vec::IntoIter<Vec<Fault>>>,
    connections: Mutex<Vec<Connection>>,
}

struct Connection {
    relay: Relay,
    said: [Said; 2],
    server: Receiver<Result<(), Error>>,
}

/// What a client has when it is done.
struct Asked {
    answers: Vec<Vec<Vec<i64>>>,
    opened: bool,
    returns: u32,
    end: Result<(), Error>,
}

impl Place {
    fn new(plan: Plan, faults: Vec<Vec<Fault>>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let parking = Arc::new(Parking::new(ParkingConfig::default()));
        let faults = Mutex::new(faults.into_iter());
        Self { plan, runtime: runtime.unwrap(), parking, faults, connections: Mutex::default() }
    }

    /// The next connection, with a server at its other end.
    fn dial(&self) -> Result<Channel, Error> {
        let faults = self.faults.lock().unwrap().next();
        let timeout = if faults.is_some() { HURRIED } else { PATIENT };
        let config = TransportConfig { timeout, ..TransportConfig::default() };
        let wire = if self.plan.tls { &*TLS } else { &Wire::Plaintext };
        let pair = faulty_pair(wire, &faults.unwrap_or_default(), self.runtime.handle(), config);
        let said = [pair.server.said(), pair.client.said()];
        let (network, parking) = (self.plan.network, Arc::clone(&self.parking));
        let server = spawn(move || serve(pair.server, network, &parking));
        self.connections.lock().unwrap().push(Connection { relay: pair.relay, said, server });
        pair.client.open()
    }

    fn ask(&self) -> Asked {
        let mut asked = Asked { answers: Vec::new(), opened: false, returns: 0, end: Ok(()) };
        asked.end = self.ask_all(&mut asked);
        asked
    }

    fn ask_all(&self, asked: &mut Asked) -> Result<(), Error> {
        let checkpoint = &WORLD[self.plan.network].checkpoint;
        let attempts = if self.plan.resumed.is_some() { RETURNS } else { 0 };
        let patience = Patience { attempts, pause: Duration::ZERO };
        let config = ClientConfig { ot: self.plan.ot, ..ClientConfig::default() };
        let mut client = PersistentClient::connect(|| self.dial(), &config, patience)?;
        asked.opened = true;
        for ask in SCRIPTS[self.plan.script] {
            match *ask {
                Prepare(batch) => client.prepare(batch)?,
                Infer(batch) => asked.answers.push(client.infer(&images(checkpoint, batch))?),
                Classify(batch) => {
                    let classes = client.classify(&images(checkpoint, batch))?;
                    asked.answers.push(classes.iter().map(|&class| vec![class as i64]).collect());
                }
            }
            asked.returns = client.reconnections();
        }
        client.close()
    }
}

/// Runs a party on a thread that nobody has to wait for.
fn spawn<T: Send + 'static>(party: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (done, result) = channel();
    thread::spawn(move || done.send(party()));
    result
}

fn serve(end: End, network: usize, parking: &Parking) -> Result<(), Error> {
    let back = Return { parking, client: b"the client" };
    let checkpoint = &WORLD[network].checkpoint;
    let mut session =
        Session::accept_or_resume(Greeting::recv(end.open()?)?, checkpoint, &ServerConfig::default(), back)?;
    while session.serve()? {}
    Ok(())
}
