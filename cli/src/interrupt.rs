//! Ctrl-C asks the running command to stop at the next safe place; a second one ends the process at once.

use std::io::Read;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit::{Failure, Kind};

static STOP: AtomicBool = AtomicBool::new(false);
static BEFORE_EXIT: OnceLock<fn()> = OnceLock::new();

/// Starts to listen for Ctrl-C and SIGTERM, and returns the flag they set.
pub(crate) fn watch() -> Result<&'static AtomicBool, Failure> {
    match ctrlc::set_handler(request) {
        Ok(()) | Err(ctrlc::Error::MultipleHandlers) => Ok(&STOP),
        Err(error) => Err(Failure::new(
            Kind::Usage,
            format!("Ctrl-C can't be watched: {error}; run outside the sandbox"),
        )),
    }
}

/// The flag that [`request`] sets, for commands that watch signals themselves.
pub(crate) fn flag() -> &'static AtomicBool {
    &STOP
}

/// What Ctrl-C does.
pub(crate) fn request() {
    if STOP.swap(true, Ordering::SeqCst) {
        if let Some(tidy) = BEFORE_EXIT.get() {
            tidy();
        }
        std::process::exit(Kind::Stopped as i32);
    }
}

/// `tidy` runs before a second Ctrl-C ends the process; the first caller wins.
#[cfg(feature = "train")]
pub(crate) fn before_exit(tidy: fn()) {
    let _ = BEFORE_EXIT.set(tidy);
}

/// Sets the flag from inside.
pub(crate) fn stop() {
    STOP.store(true, Ordering::SeqCst);
}

/// Sets the flag when standard input ends: a server never outlives the process that started it.
pub(crate) fn stop_with_stdin() {
    // An unreadable stdin has ended, too.
    let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
    stop();
}

/// [`Kind::Stopped`] once Ctrl-C came; `what` says what is left and how to go on.
pub(crate) fn check(what: &str) -> Result<(), Failure> {
    if STOP.load(Ordering::SeqCst) {
        Err(Failure::new(Kind::Stopped, format!("stopped; {what}")))
    } else {
        Ok(())
    }
}
