//! What the fuzz targets share: a peer that has said everything before anybody listens, and ways to say it wrong.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use eqo_protocol::testing::{Wire, faulty_pair};
use eqo_protocol::transport::{Channel, FRAME_HEADER, TransportConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::{Handle, Runtime};

mod deviation;
pub mod parties;
pub mod returns;
pub mod sessions;

pub use deviation::deviate;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
});

/// The runtime of every channel.
pub fn runtime() -> &'static Handle {
    RUNTIME.handle()
}

/// The payloads that a party says.
pub type Transcript = Vec<Vec<u8>>;

/// A stream whose peer has said everything and left; what this party says is kept.
#[derive(Default)]
pub struct Said {
    words: Vec<u8>,
    heard: usize,
    /// What this party said.
    pub answers: Arc<Mutex<Vec<u8>>>,
}

impl Said {
    /// A peer that says `words`.
    pub fn new(words: Vec<u8>) -> Self {
        Self { words, ..Self::default() }
    }
}

impl AsyncRead for Said {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let length = out.remaining().min(self.words.len() - self.heard);
        out.put_slice(&self.words[self.heard..self.heard + length]);
        self.heard += length;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Said {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut answers = self.answers.lock().expect("nobody panics with it");
        // Enough for whoever reads it.
        if answers.len() < 1 << 16 {
            answers.extend_from_slice(bytes);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A channel to a peer that says `words` and leaves.
pub fn channel(words: Vec<u8>) -> Channel {
    over(Said::new(words))
}

/// The same with a peer that is there already.
pub fn over(said: Said) -> Channel {
    let config = TransportConfig { timeout: Duration::from_secs(20), ..TransportConfig::default() };
    Channel::over(said, runtime(), config)
}

/// Frames with these payloads, each of depth 1, which is always allowed.
pub fn frames(transcript: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for payload in transcript {
        bytes.extend((payload.len() as u32).to_le_bytes());
        bytes.extend(1_u32.to_le_bytes());
        bytes.extend(payload);
    }
    bytes
}

/// Bytes cut into payloads: a length of two bytes, then so many. What is longer than the rest takes all of it.
pub fn cut(mut data: &[u8]) -> Transcript {
    let mut payloads = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
        payloads.push(rest[..length].to_vec());
        data = &rest[length..];
    }
    payloads
}

/// What the server and the client say when both are honest.
pub fn record<T: Send>(
    server: impl FnOnce(Channel) -> T + Send,
    client: impl FnOnce(Channel) -> T + Send,
) -> [Transcript; 2] {
    let config = TransportConfig { timeout: Duration::from_secs(60), ..TransportConfig::default() };
    let pair = faulty_pair(&Wire::Plaintext, &[], runtime(), config);
    let said = [pair.server.said(), pair.client.said()];
    let open = |end: eqo_protocol::testing::End| end.open().expect("a pipe opens");
    let (at_server, at_client) = (open(pair.server), open(pair.client));
    std::thread::scope(|scope| {
        scope.spawn(|| server(at_server));
        client(at_client);
    });
    said.map(|said| said.payloads())
}

/// If `EQO_SEEDS` names a folder, puts `seeds` there and ends the program.
pub fn plant(seeds: impl IntoIterator<Item = Vec<u8>>) {
    let Some(folder) = std::env::var_os("EQO_SEEDS").map(PathBuf::from) else { return };
    std::fs::create_dir_all(&folder).expect("a folder for seeds");
    for (number, seed) in seeds.into_iter().enumerate() {
        std::fs::write(folder.join(format!("seed-{number:03}")), seed).expect("room for a seed");
    }
    std::process::exit(0);
}

/// A file in memory for readers that want a path; overwritten by the next call.
pub fn file(extension: &str, bytes: &[u8]) -> PathBuf {
    static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
        let memory = Path::new("/dev/shm");
        let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        made.expect("a folder for files")
    });
    let path = FOLDER.path().join("input").with_extension(extension);
    std::fs::write(&path, bytes).expect("room for an input");
    path
}

/// Bytes of a frame's header.
pub const HEADER: usize = FRAME_HEADER;
