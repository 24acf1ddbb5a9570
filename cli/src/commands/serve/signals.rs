//! SIGTERM and Ctrl-C stop the server, SIGHUP has it read the checkpoint again.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::runtime::Handle;

use super::Shared;
use crate::exit::{Failure, Kind};
use crate::interrupt;

/// Watches for what stops the server, and returns the flag that the first such signal sets. The second one ends the process.
pub(super) fn watch_stop(runtime: &Handle) -> Result<&'static AtomicBool, Failure> {
    let _inside = runtime.enter();
    let streams = stop_signals().map_err(|error| unwatched(&error))?;
    for mut stream in streams {
        runtime.spawn(async move {
            while stream.recv().await.is_some() {
                interrupt::request();
            }
        });
    }
    Ok(interrupt::flag())
}

/// Watches for the wish to reload, from now on.
pub(super) fn watch_reload(runtime: &Handle, shared: &Arc<Shared>) -> Result<(), Failure> {
    let _inside = runtime.enter();
    let Some(mut stream) = reload_signal().map_err(|error| unwatched(&error))? else { return Ok(()) };
    let shared = Arc::clone(shared);
    runtime.spawn(async move {
        while stream.recv().await.is_some() {
            let shared = Arc::clone(&shared);
            // One after the other; whether one failed, it has said itself.
            let _ = tokio::task::spawn_blocking(move || shared.reload()).await;
        }
    });
    Ok(())
}

#[cfg(unix)]
type Stream = tokio::signal::unix::Signal;

#[cfg(unix)]
fn stop_signals() -> std::io::Result<Vec<Stream>> {
    use tokio::signal::unix::{SignalKind, signal};
    [SignalKind::interrupt(), SignalKind::terminate()].into_iter().map(signal).collect()
}

#[cfg(unix)]
fn reload_signal() -> std::io::Result<Option<Stream>> {
    use tokio::signal::unix::{SignalKind, signal};
    signal(SignalKind::hangup()).map(Some)
}

#[cfg(windows)]
type Stream = tokio::signal::windows::CtrlC;

#[cfg(windows)]
fn stop_signals() -> std::io::Result<Vec<Stream>> {
    Ok(vec![tokio::signal::windows::ctrl_c()?])
}

#[cfg(windows)]
fn reload_signal() -> std::io::Result<Option<Stream>> {
    Ok(None)
}

fn unwatched(error: &std::io::Error) -> Failure {
    Failure::new(Kind::Usage, format!("signals can't be watched: {error}; run outside the sandbox"))
}
