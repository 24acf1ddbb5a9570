//! Frames on a byte stream: `u32` payload length, `u32` causal depth (both little-endian), payload.

use std::io::{self, IoSlice};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, BufWriter};
use tokio::sync::mpsc::{Receiver, Sender};

use super::pool::Pool;

pub use eqo_checkpoints::cost::{FRAME_HEADER, MAX_FRAME, frame_count, wire_bytes};

/// Small writes and reads are gathered in buffers of this size; what is longer bypasses them.
const STREAM_BUFFER: usize = 8 << 10;

pub(super) struct Frame {
    pub(super) depth: u32,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    pub(super) fn wire_bytes(&self) -> u64 {
        (FRAME_HEADER + self.payload.len()) as u64
    }
}

/// Cuts a payload at [`MAX_FRAME`]; one that fits in a frame isn't copied.
pub(super) fn split(payload: Vec<u8>, depth: u32) -> Vec<Frame> {
    if payload.len() > MAX_FRAME {
        payload.chunks(MAX_FRAME).map(|part| Frame { depth, payload: part.to_vec() }).collect()
    } else if payload.is_empty() {
        Vec::new()
    } else {
        vec![Frame { depth, payload }]
    }
}

/// Why no more frames will come.
pub(super) enum End {
    Closed { within_frame: bool },
    Oversized(u32),
    Failed(io::Error),
}

/// Reads frames into `queue` until the stream or the queue ends; whether the stream broke.
pub(super) async fn read_frames<S: AsyncRead + Unpin>(
    stream: S,
    queue: Sender<Result<Frame, End>>,
    pool: Pool,
) -> bool {
    let mut stream = BufReader::with_capacity(STREAM_BUFFER, stream);
    loop {
        let frame = read_frame(&mut stream, &pool).await;
        let (ended, broken) = (frame.is_err(), matches!(frame, Err(End::Failed(_))));
        if queue.send(frame).await.is_err() || ended {
            return broken;
        }
    }
}

async fn read_frame<S: AsyncRead + Unpin>(stream: &mut S, pool: &Pool) -> Result<Frame, End> {
    let mut header = [0; FRAME_HEADER];
    let mut have = 0;
    while have < FRAME_HEADER {
        match stream.read(&mut header[have..]).await.map_err(End::Failed)? {
            0 => return Err(End::Closed { within_frame: have > 0 }),
            more => have += more,
        }
    }
    let [l0, l1, l2, l3, d0, d1, d2, d3] = header;
    let length = u32::from_le_bytes([l0, l1, l2, l3]);
    if length as usize > MAX_FRAME {
        return Err(End::Oversized(length));
    }
    let mut payload = pool.take(length as usize);
    stream.read_exact(&mut payload).await.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => End::Closed { within_frame: true },
        _ => End::Failed(error),
    })?;
    Ok(Frame { depth: u32::from_le_bytes([d0, d1, d2, d3]), payload })
}

/// Writes the frames of `queue`, flushes whenever it runs empty, and shuts the stream down once it is closed.
pub(super) async fn write_frames<S: AsyncWrite + Unpin>(
    stream: S,
    mut queue: Receiver<Frame>,
    pool: Pool,
) -> io::Result<()> {
    let mut stream = BufWriter::with_capacity(STREAM_BUFFER, stream);
    while let Some(frame) = queue.recv().await {
        write_frame(&mut stream, &frame).await?;
        pool.give(frame.payload);
        while let Ok(frame) = queue.try_recv() {
            write_frame(&mut stream, &frame).await?;
            pool.give(frame.payload);
        }
        stream.flush().await?;
    }
    stream.shutdown().await
}

async fn write_frame<S: AsyncWrite + Unpin>(stream: &mut BufWriter<S>, frame: &Frame) -> io::Result<()> {
    // `Channel` splits payloads at MAX_FRAME, so the length fits.
    let mut header = [0; FRAME_HEADER];
    header[..4].copy_from_slice(&(frame.payload.len() as u32).to_le_bytes());
    header[4..].copy_from_slice(&frame.depth.to_le_bytes());
    let mut sent = 0;
    if frame.payload.len() >= STREAM_BUFFER {
        // Header and payload in one system call: a segment with a header alone would wake the peer for nothing.
        stream.flush().await?;
        let parts = [IoSlice::new(&header), IoSlice::new(&frame.payload)];
        sent = stream.get_mut().write_vectored(&parts).await?;
    }
    stream.write_all(header.get(sent..).unwrap_or_default()).await?;
    stream.write_all(&frame.payload[sent.saturating_sub(FRAME_HEADER)..]).await
}
