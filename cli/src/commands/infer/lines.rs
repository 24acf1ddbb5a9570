//! Images whose paths come on standard input, a line each: while nobody asks, inferences are prepared for whoever asks next.

use std::io::{self, BufRead};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, TryRecvError};
use std::thread;
use std::time::Duration;

use eqo_protocol::Error;

use super::Asking;
use crate::args::InferArgs;
use crate::exit::{Failure, Kind};
use crate::{interrupt, progress};

/// The image that stands for standard input.
const STDIN: &str = "-";

/// How soon a stop is noticed.
const POLL: Duration = Duration::from_millis(100);

/// Lines that were read and wait for their answer.
const AHEAD: usize = 64;

/// Whether images come by line.
pub(super) fn are_asked_for(args: &InferArgs) -> Result<bool, Failure> {
    let by_line = args.images == [Path::new(STDIN)];
    let wrong = |message: &str| Err(Failure::new(Kind::Usage, message));
    if args.images.iter().any(|image| image == Path::new(STDIN)) && !by_line {
        return wrong("-: expected no other images beside standard input; write all their paths there");
    }
    if by_line && args.parameters.batch > 1 {
        return wrong(
            "--batch: expected 1 where images come on standard input, whose lines are answered one by one",
        );
    }
    if !by_line && args.stock > 0 {
        return wrong(
            "--stock: expected images on standard input (-), between whose lines inferences are prepared",
        );
    }
    Ok(by_line)
}

/// Answers every line; between them prepares up to `stock` inferences, or as many as the server lets a client keep.
pub(super) fn answer_all(asking: &mut Asking<'_>, stock: usize) -> Result<(), Failure> {
    let stop = interrupt::watch()?;
    let lines = read_lines();
    let mut stock = stock;
    while !stop.load(std::sync::atomic::Ordering::SeqCst) {
        let line = match lines.try_recv() {
            Ok(line) => line,
            Err(TryRecvError::Disconnected) => break,
            Err(TryRecvError::Empty) if asking.client.prepared(1) < stock => {
                stock = prepare_one(asking, stock)?;
                continue;
            }
            Err(TryRecvError::Empty) => match lines.recv_timeout(POLL) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => break,
            },
        };
        let line = line.map_err(|error| {
            Failure::new(Kind::Data, format!("stdin: read failed: {error}; write a path a line in UTF-8"))
        })?;
        if !line.trim().is_empty() {
            asking.answer(&[PathBuf::from(line.trim())])?;
        }
    }
    Ok(())
}

/// Prepares an inference; how many the session may keep.
fn prepare_one(asking: &mut Asking<'_>, stock: usize) -> Result<usize, Failure> {
    match asking.client.prepare(1) {
        Ok(()) => Ok(stock),
        // Nothing was sent: the session is as good as before.
        Err(error @ Error::Config { .. }) => {
            let most = asking.client.prepared(1);
            progress::line(&format!("note: {most} of {stock} inferences are kept prepared: {error}"));
            Ok(most)
        }
        Err(error) => Err(error.into()),
    }
}

/// The lines of standard input, from a thread that may wait for them for ever.
fn read_lines() -> Receiver<io::Result<String>> {
    let (lines, read) = mpsc::sync_channel(AHEAD);
    thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            if lines.send(line).is_err() {
                return;
            }
        }
    });
    read
}
