//! Claims about what is shown.

use std::time::{Duration, Instant};

use eqo_train::evaluate::Score;
use eqo_train::fit;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::progress::Sink;

fn step(step: usize) -> fit::Progress {
    fit::Progress {
        step,
        steps: 200,
        epoch: 1 + step / 50,
        loss: 2.5 / (1.0 + step as f64 / 40.0),
        train_accuracy: 0.625,
        learning_rate: 0.1,
        images_per_second: 1234.4,
        idle_share: 0.034,
        validation: (step == 100).then_some(Score { correct: 3, total: 4 }),
        best: None,
    }
}

fn report(board: &Board, stage: &str, number: usize) {
    let training = Some(step(number));
    board.report(&Progress { stage, done: number, total: 200, note: String::new(), training });
}

fn shown(board: &Board, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw::draw(frame, &board.state())).unwrap();
    terminal.backend().to_string()
}

#[test]
fn a_training_shows_its_stage_figures_curves_and_log() {
    let board = Board::new("resnet in runs/x");
    assert!(shown(&board, 100, 30).contains("starting"));
    (1..=120).for_each(|number| report(&board, "float", number));
    board.line("first line\nWARN something");
    let screen = shown(&board, 120, 30);
    for text in [
        "resnet in runs/x",
        "float 120 of 200",
        "left",
        "loss 0.6250",
        "accuracy 62.5%",
        "validation 75.0%",
        "images/s 1234",
        "loader idle 3.4%",
        "learning rate 1.000e-1",
        "epoch 3",
        "WARN something",
        "q or Ctrl-C",
    ] {
        assert!(screen.contains(text), "{text} in\n{screen}");
    }
    let dots = screen.chars().filter(|c| ('\u{2801}'..='\u{28FF}').contains(c)).count();
    assert!(dots > 50, "curves are drawn:\n{screen}");
}

#[test]
fn the_next_stage_starts_new_curves_and_other_work_keeps_them() {
    let board = Board::new("run");
    (1..=200).for_each(|number| report(&board, "float", number));
    board.set("evaluate float", 10, 1000);
    assert_eq!(board.state().loss.points.len(), 200);
    assert!(shown(&board, 100, 30).contains("evaluate float 10 of 1000"));
    report(&board, "qat", 1);
    let screen = shown(&board, 100, 30);
    assert!(screen.contains("float: 200 of 200 in 0:00"), "a finished stage is logged:\n{screen}");
    assert!(screen.contains("float, step 100: 75.00% of 4 validation images"), "{screen}");
    assert_eq!(board.state().loss.points.len(), 1);
    assert!(board.state().validation.is_none());
}

#[test]
fn no_size_of_terminal_and_no_value_panics() {
    let board = Board::new("a title that is much wider than a narrow terminal is");
    for number in [1, 2, 3] {
        let wild = fit::Progress { loss: f64::NAN, learning_rate: 0.0, ..step(number) };
        let training = Some(wild);
        board.report(&Progress { stage: "qat", done: 5, total: 0, note: String::new(), training });
        report(&board, "qat", number);
    }
    board.line(&"a long line ".repeat(50));
    // The test backend itself can't show a width of 0.
    for width in (1..40).chain([200]) {
        for height in (0..24).chain([80]) {
            shown(&board, width, height);
        }
    }
}

#[test]
fn the_time_left_is_that_of_the_speed_so_far_from_where_the_stage_began() {
    let mut state = State::new("run");
    assert_eq!(state.remaining(Instant::now()), None);
    // Resumed after 100 of 200 steps.
    state.advance("float", 101, 200);
    state.advance("float", 150, 200);
    let left = state.remaining(Instant::now() + Duration::from_secs(100)).unwrap();
    assert!((99..=101).contains(&left.as_secs()), "{left:?}");
    assert_eq!(state::clock(Duration::from_secs(59)), "0:59");
    assert_eq!(state::clock(Duration::from_secs(3600 + 61)), "1:01:01");
}

#[test]
fn long_runs_are_thinned_out_and_keep_their_ends() {
    let mut curve = state::Curve::default();
    (0..100_000).for_each(|number| curve.push(number, number as f64));
    assert!(curve.points.len() <= 2048);
    assert_eq!(curve.bounds(), Some(([0.0, 99_999.0], [0.0, 99_999.0])));
}

#[test]
fn only_the_last_lines_are_kept() {
    let board = Board::new("run");
    (0..2 * state::LOG_LINES).for_each(|number| board.line(&format!("line {number}")));
    let shown = board.state();
    assert_eq!(
        (shown.lines.len(), shown.lines.back().map(String::as_str)),
        (state::LOG_LINES, Some("line 1999"))
    );
}

#[test]
fn q_and_ctrl_c_stop_and_nothing_else_does() {
    let key = |code, modifiers| is_stop(&KeyEvent::new(code, modifiers));
    assert!(key(KeyCode::Char('q'), KeyModifiers::NONE));
    assert!(key(KeyCode::Char('c'), KeyModifiers::CONTROL));
    assert!(!key(KeyCode::Char('c'), KeyModifiers::NONE));
    assert!(!key(KeyCode::Esc, KeyModifiers::NONE));
}
