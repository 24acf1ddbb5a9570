//! One session over a bad network, and what came of it.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::Duration;

use eqo_checkpoints::Checkpoint;
use eqo_checkpoints::cost::OtKind;
use eqo_checkpoints::engine::class_of;
use eqo_checkpoints::testing::{Block, Spec, random_checkpoint, random_image};
use eqo_protocol::Error;
use eqo_protocol::session::client::{ClientConfig, connect};
use eqo_protocol::session::server::{ServerConfig, serve_connection};
use eqo_protocol::testing::{Direction, End, Fault, FaultKind, Injected, Wire, faulty_pair};
use eqo_protocol::transport::{TlsClient, TlsServer, TransportConfig};
use proptest::sample::Index;

use super::authority::{Authority, VALID};

/// How long a party waits on a bad network.
pub(crate) const HURRIED: Duration = Duration::from_millis(300);

/// How long it waits on a good one, on a busy machine.
const PATIENT: Duration = Duration::from_secs(30);

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

/// A session and what goes wrong in it.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) network: usize,
    pub(crate) ot: OtKind,
    pub(crate) tls: bool,
    pub(crate) script: usize,
    pub(crate) faults: Vec<(Direction, Index, FaultKind)>,
}

/// What came of it.
pub(crate) struct Attempt {
    /// To each request that the client got an answer to: logits of each image, or its class as a number.
    pub(crate) answers: Vec<Vec<Vec<i64>>>,
    pub(crate) client: Result<(), Error>,
    pub(crate) server: Result<(), Error>,
    pub(crate) injected: Vec<Injected>,
    /// Payloads of all frames that the parties sent, before TLS.
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
    /// The session with its faults; if the client is left without answers, once more on a good network.
    ///
    /// The second attempt is a session of its own. Where sessions can be taken up again, this is the place to do that instead.
    pub(crate) fn play(&self) -> Vec<Attempt> {
        let messages = self.messages();
        let fault = |&(direction, at, kind): &(Direction, Index, FaultKind)| {
            let of_direction = messages[usize::from(direction == Direction::ToClient)];
            Fault { direction, at: at.index(of_direction), kind }
        };
        let faults: Vec<Fault> = self.faults.iter().map(fault).collect();
        let mut attempts = vec![self.attempt(&faults, HURRIED)];
        if attempts[0].answers.len() < self.expected().len() {
            attempts.push(self.attempt(&[], PATIENT));
        }
        attempts
    }

    /// The engine's answers.
    pub(crate) fn expected(&self) -> &'static [Vec<Vec<i64>>] {
        &WORLD[self.network].answers[self.script]
    }

    /// Messages that are the same in every session: the graph and its hash.
    pub(crate) fn public(&self) -> [Vec<u8>; 2] {
        let graph = WORLD[self.network].checkpoint.graph();
        let json = graph.graph().to_json();
        let sent = [&(json.len() as u32).to_le_bytes(), json.as_bytes()].concat();
        [sent, [&[0], graph.graph_hash().as_slice()].concat()]
    }

    /// How many messages such a session takes in each direction, from one without faults.
    fn messages(&self) -> [usize; 2] {
        type Key = (usize, u8, bool, usize);
        static KNOWN: LazyLock<Mutex<HashMap<Key, [usize; 2]>>> = LazyLock::new(Mutex::default);
        let key = (self.network, self.ot.code(), self.tls, self.script);
        if let Some(&known) = KNOWN.lock().unwrap().get(&key) {
            return known;
        }
        let attempt = self.attempt(&[], PATIENT);
        assert_eq!(attempt.answers, self.expected(), "{self:?} without a fault");
        assert!(attempt.client.is_ok() && attempt.server.is_ok());
        KNOWN.lock().unwrap().insert(key, attempt.messages);
        attempt.messages
    }

    fn attempt(&self, faults: &[Fault], timeout: Duration) -> Attempt {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let config = TransportConfig { timeout, ..TransportConfig::default() };
        let wire = if self.tls { &*TLS } else { &Wire::Plaintext };
        let pair = faulty_pair(wire, faults, runtime.handle(), config);
        let heard = [pair.server.said(), pair.client.said()];
        let (network, ot, script) = (self.network, self.ot, self.script);
        let server = spawn(move || serve(pair.server, network));
        let client = spawn(move || ask(pair.client, (network, ot), SCRIPTS[script]));
        let (answers, client) = self.outcome("client", &client);
        let server = self.outcome("server", &server);
        let said = heard.iter().flat_map(|said| said.payloads()).collect();
        let (injected, messages) = (pair.relay.injected(), pair.relay.messages());
        Attempt { answers, client, server, injected, said, messages }
    }

    fn outcome<T>(&self, who: &str, result: &Receiver<T>) -> T {
        match result.recv_timeout(WATCHDOG) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => panic!("the {who} hangs: {self:?}"),
            Err(RecvTimeoutError::Disconnected) => panic!("the {who} panicked: {self:?}"),
        }
    }
}

/// Runs a party on a thread that nobody has to wait for.
fn spawn<T: Send + 'static>(party: impl FnOnce() -> T + Send + 'static) -> Receiver<T> {
    let (done, result) = channel();
    thread::spawn(move || done.send(party()));
    result
}

fn serve(end: End, network: usize) -> Result<(), Error> {
    serve_connection(end.open()?, &WORLD[network].checkpoint, &ServerConfig::default()).map(|_| ())
}

fn ask(end: End, (network, ot): (usize, OtKind), script: &[Ask]) -> (Vec<Vec<Vec<i64>>>, Result<(), Error>) {
    let mut answers = Vec::new();
    let run = || {
        let checkpoint = &WORLD[network].checkpoint;
        let mut client = connect(end.open()?, &ClientConfig { ot, ..ClientConfig::default() })?;
        for ask in script {
            match *ask {
                Prepare(batch) => client.prepare(batch)?,
                Infer(batch) => answers.push(client.infer(&images(checkpoint, batch))?),
                Classify(batch) => {
                    let classes = client.classify(&images(checkpoint, batch))?;
                    answers.push(classes.iter().map(|&class| vec![class as i64]).collect());
                }
            }
        }
        client.close().map(|_| ())
    };
    let result = run();
    (answers, result)
}
