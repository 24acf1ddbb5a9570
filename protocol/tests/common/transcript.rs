//! What each party receives, message by message, and in sections that both parties agree on.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::thread;

use eqo_protocol::testing::{TEST_TIMEOUT, seeded};
use eqo_protocol::transport::{Channel, FRAME_HEADER, TransportConfig};
use eqo_protocol::{Error, PartyRng};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::runtime::Runtime;

/// The payload of one message; these tests send none that takes two frames.
pub(crate) type Message = Vec<u8>;

/// No random message is by chance equal to it.
const MARK: [u8; 32] = *b"end of a section of a transcript";

/// Ends a section of both parties' transcripts.
pub(crate) fn mark(channel: &mut Channel) -> Result<(), Error> {
    channel.exchange(MARK.to_vec()).map(|_| ())
}

/// One party's messages in order, by section.
pub(crate) struct Transcript(pub(crate) Vec<Vec<Message>>);

impl Transcript {
    fn parse(heard: &[u8]) -> Self {
        let (mut sections, mut messages) = (Vec::new(), Vec::new());
        for payload in frames(heard) {
            if payload == MARK {
                sections.push(std::mem::take(&mut messages));
            } else {
                messages.push(payload);
            }
        }
        assert!(messages.is_empty(), "the last section has its mark");
        Self(sections)
    }
}

/// The payloads of all frames.
pub(crate) fn frames(heard: &[u8]) -> Vec<Message> {
    let (mut payloads, mut rest) = (Vec::new(), heard);
    while let Some((header, tail)) = rest.split_at_checked(FRAME_HEADER) {
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let (payload, tail) = tail.split_at(length);
        payloads.push(payload.to_vec());
        rest = tail;
    }
    assert!(rest.is_empty(), "whole frames only");
    payloads
}

/// What a channel has read so far.
pub(crate) type Heard = Arc<Mutex<Vec<u8>>>;

/// Two connected channels, the server's first, and what each of them reads.
pub(crate) fn tapped_pair(runtime: &Runtime) -> ([Channel; 2], [Heard; 2]) {
    let config = TransportConfig { timeout: TEST_TIMEOUT, ..TransportConfig::default() };
    let (one, other) = tokio::io::duplex(1 << 20);
    let heard: [Heard; 2] = Default::default();
    let open = |stream, heard: &Heard| {
        Channel::over(Tapped { stream, heard: Arc::clone(heard) }, runtime.handle(), config)
    };
    ([open(one, &heard[0]), open(other, &heard[1])], heard)
}

/// A runtime for both channels.
pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Runs both parties with these seeds; their results, and what each of them heard (the server first).
pub(crate) fn record<S: Send, C: Send>(
    [server_seed, client_seed]: [u64; 2],
    server: impl FnOnce(&mut Channel, &mut PartyRng) -> Result<S, Error> + Send,
    client: impl FnOnce(&mut Channel, &mut PartyRng) -> Result<C, Error> + Send,
) -> (S, C, [Transcript; 2]) {
    let runtime = runtime();
    let ([mut to_client, mut to_server], heard) = tapped_pair(&runtime);
    let (server, client) = thread::scope(|scope| {
        let server = scope.spawn(move || server(&mut to_client, &mut seeded(server_seed)));
        let client = scope.spawn(move || client(&mut to_server, &mut seeded(client_seed)));
        (server.join().unwrap(), client.join().unwrap())
    });
    match (server, client) {
        (Ok(server), Ok(client)) => {
            (server, client, heard.map(|heard| Transcript::parse(&heard.lock().unwrap())))
        }
        (server, client) => panic!("server: {:?}; client: {:?}", server.err(), client.err()),
    }
}

/// A stream that keeps a copy of what it reads.
struct Tapped {
    stream: DuplexStream,
    heard: Heard,
}

impl AsyncRead for Tapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.heard.lock().unwrap().extend_from_slice(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
