//! Ctrl-C asks the running command to stop at the next safe place; a second one ends the process at once.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit::{Failure, Kind};

static STOP: AtomicBool = AtomicBool::new(false);

/// Starts to listen for Ctrl-C and SIGTERM, and returns the flag they set.
pub(crate) fn watch() -> Result<&'static AtomicBool, Failure> {
    let handler = || {
        if STOP.swap(true, Ordering::SeqCst) {
            std::process::exit(Kind::Stopped as i32);
        }
    };
    match ctrlc::set_handler(handler) {
        Ok(()) | Err(ctrlc::Error::MultipleHandlers) => Ok(&STOP),
        Err(error) => Err(Failure::new(
            Kind::Usage,
            format!("Ctrl-C can't be watched: {error}; run outside the sandbox"),
        )),
    }
}

/// Sets the flag from inside.
pub(crate) fn stop() {
    STOP.store(true, Ordering::SeqCst);
}

/// [`Kind::Stopped`] once Ctrl-C came; `what` says what is left and how to go on.
pub(crate) fn check(what: &str) -> Result<(), Failure> {
    if STOP.load(Ordering::SeqCst) {
        Err(Failure::new(Kind::Stopped, format!("stopped; {what}")))
    } else {
        Ok(())
    }
}
