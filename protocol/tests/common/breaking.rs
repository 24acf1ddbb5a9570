//! A server that many connections reach, over lines that break where they're told to.

use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use eqo_checkpoints::Checkpoint;
use eqo_protocol::Error;
use eqo_protocol::session::server::{Greeting, Return, ServerConfig, Session};
use eqo_protocol::session::{Parking, ParkingConfig};
use eqo_protocol::testing::TEST_TIMEOUT;
use eqo_protocol::transport::{Channel, FRAME_HEADER, TransportConfig, memory_pair};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::transcript::{Message, runtime};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    ToServer,
    ToClient,
}

/// Where a line breaks: after so many frames in this direction; `within`: half of the next one still arrives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Break {
    pub(crate) direction: Direction,
    pub(crate) after: usize,
    pub(crate) within: bool,
}

/// What a line does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Works,
    /// Carries nothing and closes nothing.
    Stalled,
    Cut,
}

/// The payloads that a connection carried to the server and to the client.
pub(crate) struct Line([Vec<Message>; 2]);

impl Line {
    pub(crate) fn frames(&self) -> [usize; 2] {
        [self.0[0].len(), self.0[1].len()]
    }

    /// A message to the client.
    pub(crate) fn to_client(&self, at: usize) -> &[u8] {
        &self.0[1][at]
    }

    /// All but greetings, graphs, hashes and lists of what is kept.
    pub(crate) fn secret(&self) -> [&[Message]; 2] {
        let [to_server, to_client] = &self.0;
        // A client that comes back says one thing more.
        let public =
            2 + usize::from(to_server.first().is_some_and(|hello| hello[9..].iter().any(|&byte| byte != 0)));
        [to_server.get(public..).unwrap_or(&[]), to_client.get(2..).unwrap_or(&[])]
    }
}

type Carried = Arc<Mutex<[Vec<Message>; 2]>>;

pub(crate) struct Service {
    runtime: Runtime,
    pub(crate) checkpoint: Arc<Checkpoint>,
    parking: Mutex<Arc<Parking>>,
    /// Who connects.
    pub(crate) client: Vec<u8>,
    /// What it is offered.
    pub(crate) config: ServerConfig,
    state: Mutex<watch::Sender<State>>,
    lines: Mutex<Vec<Carried>>,
    sessions: Mutex<Vec<JoinHandle<Result<(), Error>>>>,
}

impl Service {
    pub(crate) fn new(checkpoint: Checkpoint, parking: ParkingConfig) -> Self {
        Self {
            runtime: runtime(),
            checkpoint: Arc::new(checkpoint),
            parking: Mutex::new(Arc::new(Parking::new(parking))),
            client: b"a certificate".to_vec(),
            config: ServerConfig::default(),
            state: Mutex::new(watch::Sender::new(State::Works)),
            lines: Mutex::default(),
            sessions: Mutex::default(),
        }
    }

    /// A connection to a session of its own.
    pub(crate) fn connect(&self, breaks: Option<Break>) -> Channel {
        let config = TransportConfig { timeout: TEST_TIMEOUT, ..TransportConfig::default() };
        let ((client, relay_in), (relay_out, server)) =
            (tokio::io::duplex(1 << 20), tokio::io::duplex(1 << 20));
        let (from_client, to_client) = tokio::io::split(relay_in);
        let (from_server, to_server) = tokio::io::split(relay_out);
        let state = watch::Sender::new(State::Works);
        let carried = Carried::default();
        let at = |direction| breaks.filter(|broken| broken.direction == direction);
        for (from, to, direction) in
            [(from_client, to_server, Direction::ToServer), (from_server, to_client, Direction::ToClient)]
        {
            let relay = Relay {
                state: state.clone(),
                carried: Arc::clone(&carried),
                breaks: at(direction),
                direction,
            };
            self.runtime.spawn(relay.run(from, to));
        }
        *self.state.lock().unwrap() = state;
        self.lines.lock().unwrap().push(carried);
        self.serve(Channel::over(server, self.runtime.handle(), config));
        Channel::over(client, self.runtime.handle(), config)
    }

    /// Forgets all sessions, as a server does that was killed.
    pub(crate) fn restart(&self) {
        *self.parking.lock().unwrap() = Arc::new(Parking::new(ParkingConfig::default()));
    }

    pub(crate) fn parking(&self) -> Arc<Parking> {
        Arc::clone(&self.parking.lock().unwrap())
    }

    fn serve(&self, channel: Channel) {
        let (checkpoint, parking) = (Arc::clone(&self.checkpoint), self.parking());
        let (client, config) = (self.client.clone(), self.config.clone());
        let session = move || -> Result<(), Error> {
            let back = Return { parking: &parking, client: &client };
            let mut session =
                Session::accept_or_resume(Greeting::recv(channel)?, &checkpoint, &config, back)?;
            while session.serve()? {}
            Ok(())
        };
        self.sessions.lock().unwrap().push(thread::spawn(session));
    }

    /// Breaks the last connection.
    pub(crate) fn cut(&self) {
        self.state.lock().unwrap().send_replace(State::Cut);
    }

    /// From now on the last connection carries nothing.
    pub(crate) fn stall(&self) {
        self.state.lock().unwrap().send_replace(State::Stalled);
    }

    /// Waits for all sessions; what their lines carried.
    pub(crate) fn hang_up(&self) -> Vec<Line> {
        self.ends();
        let lines = std::mem::take(&mut *self.lines.lock().unwrap());
        lines.into_iter().map(|carried| Line(std::mem::take(&mut carried.lock().unwrap()))).collect()
    }

    /// Waits for all sessions; the errors they ended with.
    pub(crate) fn ends(&self) -> Vec<String> {
        let sessions = std::mem::take(&mut *self.sessions.lock().unwrap());
        let ends = sessions.into_iter().map(|session| session.join().unwrap());
        ends.filter_map(|end| end.err().map(|error| error.to_string())).collect()
    }
}

/// Joins two parties; both results.
pub(crate) fn meet<S: Send, C: Send>(
    server: impl FnOnce(Channel) -> Result<S, Error> + Send,
    client: impl FnOnce(Channel) -> Result<C, Error> + Send,
) -> (Result<S, Error>, Result<C, Error>) {
    let runtime = runtime();
    let config = TransportConfig { timeout: TEST_TIMEOUT, ..TransportConfig::default() };
    let (one, other) = memory_pair(1 << 16, runtime.handle(), config);
    thread::scope(|scope| {
        let server = scope.spawn(|| server(one));
        let client = client(other);
        (server.join().unwrap(), client)
    })
}

/// One direction of a line.
struct Relay {
    state: watch::Sender<State>,
    carried: Carried,
    breaks: Option<Break>,
    direction: Direction,
}

impl Relay {
    async fn run(self, from: ReadHalf<impl AsyncReadExt>, to: WriteHalf<impl AsyncWriteExt>) {
        let mut state = self.state.subscribe();
        tokio::select! {
            () = self.carry(from, to) => (),
            _ = state.wait_for(|state| *state == State::Cut) => (),
        }
        // Both directions end together: their ends of the pipes are dropped.
        self.state.send_replace(State::Cut);
    }

    async fn carry(&self, mut from: ReadHalf<impl AsyncReadExt>, mut to: WriteHalf<impl AsyncWriteExt>) {
        let mut state = self.state.subscribe();
        let mut frames = 0;
        loop {
            let mut frame = vec![0; FRAME_HEADER];
            if from.read_exact(&mut frame).await.is_err() {
                return;
            }
            let length = u32::from_le_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
            frame.resize(FRAME_HEADER + length, 0);
            if from.read_exact(&mut frame[FRAME_HEADER..]).await.is_err() {
                return;
            }
            let _ = state.wait_for(|state| *state != State::Stalled).await;
            // What never arrived was still sent.
            self.carried.lock().unwrap()[self.direction as usize].push(frame[FRAME_HEADER..].to_vec());
            if let Some(broken) = self.breaks.filter(|broken| broken.after == frames) {
                let half = if broken.within { frame.len() / 2 } else { 0 };
                let _ = to.write_all(&frame[..half]).await;
                let _ = to.flush().await;
                return;
            }
            if to.write_all(&frame).await.is_err() {
                return;
            }
            frames += 1;
        }
    }
}
