//! The state as widgets; every size of terminal gets what fits.

use std::time::Instant;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Chart, Dataset, Gauge, GraphType, Paragraph};

use super::state::{Curve, State, clock};

/// Rows below which charts are left out.
const CHART_ROWS: u16 = 16;

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State) {
    let area = frame.area();
    let charts = if area.height >= CHART_ROWS && !state.loss.points.is_empty() { 3 } else { 0 };
    let [title, bar, figures, curves, log, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Fill(charts),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(Line::styled(state.title.as_str(), Modifier::BOLD), title);
    draw_bar(frame, bar, state);
    frame.render_widget(figures_of(state), figures);
    if charts > 0 {
        let [loss, rate] = Layout::horizontal([Constraint::Fill(2), Constraint::Fill(1)]).areas(curves);
        draw_curve(frame, loss, "loss", &state.loss, Color::Yellow);
        draw_curve(frame, rate, "learning rate", &state.rate, Color::Cyan);
    }
    draw_log(frame, log, state);
    let hint = match state.is_stopping {
        true => "stopping: the state is being saved; q again ends at once",
        false => "q or Ctrl-C: save and stop (continue with --resume)",
    };
    frame.render_widget(Line::styled(hint, Modifier::DIM), keys);
}

fn draw_bar(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let remaining = state.remaining(Instant::now()).map(|left| format!(", {} left", clock(left)));
    let counts = format!("{} of {}{}", state.done, state.total, remaining.unwrap_or_default());
    let label =
        if state.stage.is_empty() { "starting".to_owned() } else { format!("{} {counts}", state.stage) };
    let gauge = Gauge::default().ratio(state.share()).label(label);
    frame.render_widget(gauge.gauge_style(Style::new().fg(Color::Green).bg(Color::Black)), area);
}

/// The numbers of the last training step.
fn figures_of(state: &State) -> Line<'static> {
    let Some(step) = state.training else { return Line::default() };
    let percent = |share: f64| format!("{:.1}%", 100.0 * share);
    let validation = state.validation.map(|accuracy| ("validation", percent(accuracy)));
    let figures = [
        ("loss", format!("{:.4}", step.loss)),
        ("accuracy", percent(step.train_accuracy)),
        ("epoch", step.epoch.to_string()),
        ("images/s", format!("{:.0}", step.images_per_second)),
        ("loader idle", percent(step.idle_share)),
        ("learning rate", format!("{:.3e}", step.learning_rate)),
    ];
    let spans = figures[..2].iter().cloned().chain(validation).chain(figures[2..].iter().cloned());
    let spans = spans.flat_map(|(name, value)| {
        [Span::styled(format!("{name} "), Modifier::DIM), Span::raw(format!("{value}   "))]
    });
    Line::from_iter(spans)
}

fn draw_curve(frame: &mut Frame<'_>, area: Rect, name: &'static str, curve: &Curve, colour: Color) {
    let Some((steps, [least, most])) = curve.bounds() else { return };
    // A level line would have no height of its own.
    let margin = if most > least { 0.05 * (most - least) } else { most.abs().max(1e-9) };
    let number = |value: f64| if value.abs() < 0.01 { format!("{value:.1e}") } else { format!("{value:.3}") };
    let data = Dataset::default()
        .marker(Marker::Braille)
        .graph_type(GraphType::Line)
        .style(Style::new().fg(colour))
        .data(&curve.points);
    let axis = Axis::default().style(Modifier::DIM);
    let last = steps[1].max(steps[0] + 1.0);
    let chart = Chart::new(vec![data])
        .block(Block::bordered().title(name))
        .x_axis(axis.clone().bounds([steps[0], last]).labels(steps.map(|step| format!("{step:.0}"))))
        .y_axis(axis.bounds([least - margin, most + margin]).labels([number(least), number(most)]));
    frame.render_widget(chart, area);
}

/// As many of the last lines as fit.
fn draw_log(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let block = Block::bordered().title("log");
    let rows = usize::from(block.inner(area).height);
    let lines = state.lines.iter().skip(state.lines.len().saturating_sub(rows));
    let text: Vec<Line<'_>> = lines.map(|line| Line::raw(line.as_str())).collect();
    frame.render_widget(Paragraph::new(text).block(block), area);
}
