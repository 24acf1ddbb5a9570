//! The live display of a run: curves, figures, last log lines, on the terminal's second screen.
//!
//! A thread draws what the run reports and reads the keys; `q` and Ctrl-C ask the run to stop as a signal does. The terminal
//! is given back when the [`Dashboard`] is dropped, before a second Ctrl-C ends the process, and on a panic.

use std::collections::VecDeque;
use std::env;
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use eqo_quant::pipeline::Progress;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::interrupt;
use crate::progress::{self, Sink};

mod draw;
mod state;
mod terminal;
#[cfg(test)]
mod tests;

use state::State;

/// How often the screen is drawn, and how long a key may wait.
const REFRESH: Duration = Duration::from_millis(200);

/// Whether stderr is a terminal that can show it.
pub(crate) fn is_possible() -> bool {
    io::stderr().is_terminal() && env::var_os("TERM").is_some_and(|name| name != "dumb")
}

/// What the run reports to and the screen is drawn from.
pub(crate) struct Board {
    state: Mutex<State>,
    closed: AtomicBool,
}

impl Board {
    fn new(title: &str) -> Self {
        Self { state: Mutex::new(State::new(title)), closed: AtomicBool::new(false) }
    }

    /// A step of the run.
    pub(crate) fn report(&self, step: &Progress<'_>) {
        let mut state = self.state();
        state.advance(step.stage, step.done, step.total);
        if let Some(training) = step.training {
            state.train(training);
        }
    }

    /// Whoever panicked while holding it left something that can still be drawn.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Board {
    fn set(&self, label: &str, done: usize, total: usize) {
        self.state().advance(label, done, total);
    }

    fn line(&self, text: &str) {
        self.state().log(text);
    }
}

/// The open display.
pub(crate) struct Dashboard {
    board: Arc<Board>,
    screen: Option<JoinHandle<()>>,
}

impl Dashboard {
    /// Takes the terminal.
    ///
    /// # Errors
    /// The system's reason, when it can't be had; then it is as it was.
    pub(crate) fn open(title: &str) -> io::Result<Self> {
        let mut terminal = terminal::enter()?;
        interrupt::before_exit(terminal::restore);
        let board = Arc::new(Board::new(title));
        progress::redirect(Some(board.clone()));
        let shown = board.clone();
        let screen = thread::spawn(move || {
            while !shown.closed.load(Ordering::Relaxed) && terminal::is_ours() {
                let drawn = terminal.draw(|frame| draw::draw(frame, &shown.state()));
                if drawn.is_err() || take_keys(&shown).is_err() {
                    break;
                }
            }
        });
        Ok(Self { board, screen: Some(screen) })
    }

    /// What the run reports to.
    pub(crate) fn board(&self) -> &Board {
        &self.board
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        self.board.closed.store(true, Ordering::Relaxed);
        if let Some(screen) = self.screen.take() {
            // A screen that failed has said so through the panic hook.
            let _ = screen.join();
        }
        terminal::restore();
        progress::redirect(None);
        let lines: VecDeque<String> = std::mem::take(&mut self.board.state().lines);
        lines.iter().for_each(|line| progress::line(line));
    }
}

/// Waits for keys until it is time to draw again.
fn take_keys(board: &Board) -> io::Result<()> {
    if !event::poll(REFRESH)? {
        return Ok(());
    }
    if let Event::Key(key) = event::read()?
        && is_stop(&key)
    {
        board.state().is_stopping = true;
        interrupt::request();
    }
    Ok(())
}

/// `q` or Ctrl-C, which a terminal in raw mode doesn't turn into a signal.
fn is_stop(key: &KeyEvent) -> bool {
    let interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind == KeyEventKind::Press && (key.code == KeyCode::Char('q') || interrupt)
}
