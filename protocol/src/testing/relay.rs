//! What passes messages between two pipes and does to them what the faults say.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::faults::{Direction, Fault, FaultKind};
use crate::transport::FRAME_HEADER;

/// Where a message ends. Parties write sound messages, so lengths are believed.
#[derive(Clone, Copy)]
pub(super) enum Framing {
    /// Of [`Channel`](crate::transport::Channel).
    Frames,
    /// Of TLS.
    Records,
}

impl Framing {
    fn header(self) -> usize {
        match self {
            Self::Frames => FRAME_HEADER,
            Self::Records => 5,
        }
    }

    /// Length of what follows `header`.
    fn length(self, header: &[u8]) -> usize {
        match self {
            Self::Frames => u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize,
            Self::Records => usize::from(u16::from_be_bytes([header[3], header[4]])),
        }
    }
}

/// A fault that has happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Injected {
    /// Which one.
    pub fault: Fault,
    /// The first byte of its message: of a TLS record the type, 23 for what is encrypted.
    pub first: u8,
    /// Bytes of its message, header included.
    pub length: usize,
}

#[derive(Default)]
struct Log {
    injected: Vec<Injected>,
    /// Messages to the server and to the client.
    messages: [usize; 2],
}

/// Passes messages on until both parties have closed, or it is dropped.
pub struct Relay {
    log: Arc<Mutex<Log>>,
    tasks: [AbortHandle; 2],
}

impl Relay {
    /// Joins the pipes of server and client.
    pub(super) fn start(
        framing: Framing,
        [server, client]: [DuplexStream; 2],
        faults: &[Fault],
        runtime: &Handle,
    ) -> Self {
        let log = Arc::new(Mutex::new(Log::default()));
        let cut = watch::Sender::new(false);
        let ((from_server, to_server), (from_client, to_client)) =
            (tokio::io::split(server), tokio::io::split(client));
        let line = |direction, input, output| {
            let faults = faults.iter().filter(|fault| fault.direction == direction).copied().collect();
            let line =
                Line { framing, direction, faults, input, output, cut: cut.clone(), log: Arc::clone(&log) };
            runtime.spawn(line.run()).abort_handle()
        };
        let tasks = [
            line(Direction::ToServer, from_client, to_server),
            line(Direction::ToClient, from_server, to_client),
        ];
        Self { log, tasks }
    }

    /// The faults that have happened: those whose message came.
    pub fn injected(&self) -> Vec<Injected> {
        locked(&self.log).injected.clone()
    }

    /// Messages so far, to the server and to the client.
    pub fn messages(&self) -> [usize; 2] {
        locked(&self.log).messages
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// One direction.
struct Line {
    framing: Framing,
    direction: Direction,
    faults: Vec<Fault>,
    input: ReadHalf<DuplexStream>,
    output: WriteHalf<DuplexStream>,
    cut: watch::Sender<bool>,
    log: Arc<Mutex<Log>>,
}

impl Line {
    async fn run(mut self) {
        let mut cut = self.cut.subscribe();
        tokio::select! {
            // A party that is gone ends its direction, as on a real connection.
            _ = self.forward() => {}
            _ = cut.wait_for(|cut| *cut) => {}
        }
        let _ = self.output.shutdown().await;
    }

    async fn forward(&mut self) -> io::Result<()> {
        let mut late: Option<Vec<u8>> = None;
        for at in 0.. {
            let Some(mut message) = self.read().await? else { break };
            let held = late.take();
            match self.strike(at, &message) {
                None => self.output.write_all(&message).await?,
                Some(FaultKind::Drop) => {}
                Some(FaultKind::Delay(wait)) => {
                    sleep(wait).await;
                    self.output.write_all(&message).await?;
                }
                Some(FaultKind::Duplicate) => {
                    self.output.write_all(&message).await?;
                    self.output.write_all(&message).await?;
                }
                Some(FaultKind::Flip(bit)) => {
                    let bit = bit as usize % (8 * message.len());
                    message[bit / 8] ^= 1 << (bit % 8);
                    self.output.write_all(&message).await?;
                }
                Some(FaultKind::Reorder) => late = Some(message),
                Some(FaultKind::Stall) => std::future::pending().await,
                Some(FaultKind::Truncate) => {
                    self.output.write_all(&message[..message.len() / 2]).await?;
                    return self.end().await;
                }
                Some(FaultKind::Cut) => return self.end().await,
            }
            if let Some(held) = held {
                self.output.write_all(&held).await?;
            }
        }
        match late {
            Some(held) => self.output.write_all(&held).await,
            None => Ok(()),
        }
    }

    /// Counts a message, and says what happens to it.
    fn strike(&self, at: usize, message: &[u8]) -> Option<FaultKind> {
        let mut log = locked(&self.log);
        log.messages[usize::from(self.direction == Direction::ToClient)] += 1;
        let fault = *self.faults.iter().find(|fault| fault.at == at)?;
        log.injected.push(Injected { fault, first: message[0], length: message.len() });
        Some(fault.kind)
    }

    /// Ends both directions.
    async fn end(&mut self) -> io::Result<()> {
        self.output.flush().await?;
        self.cut.send_replace(true);
        Ok(())
    }

    /// The next message, what there is of one that its party didn't finish, or nothing.
    async fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let header = self.framing.header();
        let mut message = Vec::new();
        (&mut self.input).take(header as u64).read_to_end(&mut message).await?;
        if message.len() == header {
            let length = self.framing.length(&message);
            (&mut self.input).take(length as u64).read_to_end(&mut message).await?;
        }
        Ok((!message.is_empty()).then_some(message))
    }
}

fn locked(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}
