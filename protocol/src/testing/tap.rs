//! What a party says, as it says it: before TLS, and before anything happens to it on the way.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::transport::FRAME_HEADER;

/// The bytes that a party has written so far, in order.
#[derive(Clone, Default)]
pub struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    /// The payloads of all whole frames.
    pub fn payloads(&self) -> Vec<Vec<u8>> {
        payloads(&self.bytes())
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The payloads of the frames in `bytes`, without one that was cut off.
pub fn payloads(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut found, mut rest) = (Vec::new(), bytes);
    while let Some((header, tail)) = rest.split_at_checked(FRAME_HEADER) {
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let Some((payload, tail)) = tail.split_at_checked(length) else { break };
        found.push(payload.to_vec());
        rest = tail;
    }
    found
}

/// A stream that keeps a copy of what is written to it.
pub(super) struct Tapped<S> {
    stream: Pin<Box<S>>,
    said: Said,
}

impl<S> Tapped<S> {
    pub(super) fn new(stream: S, said: Said) -> Self {
        Self { stream: Box::pin(stream), said }
    }
}

impl<S: AsyncRead> AsyncRead for Tapped<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_read(context, buffer)
    }
}

impl<S: AsyncWrite> AsyncWrite for Tapped<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(self.stream.as_mut().poll_write(context, bytes))?;
        self.said.bytes().extend_from_slice(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(context)
    }
}
