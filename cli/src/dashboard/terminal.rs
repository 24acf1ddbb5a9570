//! The terminal, taken and given back whatever happens.

use std::io::{self, Stderr};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

static OURS: AtomicBool = AtomicBool::new(false);

/// Raw mode and the second screen, on stderr, because stdout is for the result.
pub(super) fn enter() -> io::Result<Terminal<CrosstermBackend<Stderr>>> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let report = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            // Else the message would go to the second screen and vanish with it.
            restore();
            report(panic);
        }));
    });
    enable_raw_mode()?;
    OURS.store(true, Ordering::SeqCst);
    let entered = execute!(io::stderr(), EnterAlternateScreen)
        .and_then(|()| Terminal::new(CrosstermBackend::new(io::stderr())));
    entered.inspect_err(|_| restore())
}

/// Whether the terminal is in our mode.
pub(super) fn is_ours() -> bool {
    OURS.load(Ordering::SeqCst)
}

/// Gives the terminal back; does nothing a second time.
pub(super) fn restore() {
    if OURS.swap(false, Ordering::SeqCst) {
        // Nothing is left to be done about a terminal that doesn't answer.
        let _ = disable_raw_mode();
        let _ = execute!(io::stderr(), LeaveAlternateScreen, Show);
    }
}
