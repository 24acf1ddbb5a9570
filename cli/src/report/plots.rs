//! The plots of reports, as SVG text.

use plotters::coord::ranged1d::{SegmentValue, SegmentedCoord};
use plotters::coord::types::RangedCoordusize;
use plotters::prelude::*;

use super::scatter::{Dot, Scatter, Series};
use super::{BAR, Drawn, LayerBytes, Stage, failure};
use crate::exit::Failure;
use crate::output::percent;

/// One bar a stage, from 0 to 100%.
pub(super) fn accuracy_by_stage(stages: &[Stage]) -> Result<String, Failure> {
    let mut svg = String::new();
    if !stages.is_empty() {
        draw_stages(&mut svg, stages).map_err(failure)?;
    }
    Ok(svg)
}

/// One horizontal bar a layer, the first layer on top.
pub(super) fn bytes_by_layer(layers: &[LayerBytes]) -> Result<String, Failure> {
    let bars: Vec<Bar> = layers.iter().map(|layer| (layer.node.clone(), layer.bytes as f64 / 1e6)).collect();
    bars_by_layer(&bars, "MB")
}

/// A label and how long its bar is.
pub(super) type Bar = (String, f64);

/// One horizontal bar for each label, the first on top; negative ones go to the left.
pub(super) fn bars_by_layer(bars: &[Bar], description: &str) -> Result<String, Failure> {
    let mut svg = String::new();
    if !bars.is_empty() {
        draw_bars(&mut svg, bars, description).map_err(failure)?;
    }
    Ok(svg)
}

/// Points joined in their order, and marked ones beside them with what they are; both axes start at 0.
pub(super) fn front(
    points: &[(f64, f64)],
    marked: &[(&str, f64, f64)],
    axes: [&str; 2],
) -> Result<String, Failure> {
    if points.is_empty() {
        return Ok(String::new());
    }
    let all = || points.iter().copied().chain(marked.iter().map(|&(_, x, y)| (x, y)));
    let most = |of: fn((f64, f64)) -> f64| 1.1 * all().map(of).fold(f64::MIN_POSITIVE, f64::max);
    let marked = marked.iter().map(|&(name, x, y)| Dot::new(name, x, y)).collect();
    let scatter = Scatter {
        axes,
        ranges: [0.0..most(|at| at.0), 0.0..most(|at| at.1)],
        line: points.to_vec(),
        series: vec![
            Series {
                name: "",
                style: BAR.filled(),
                dots: points.iter().map(|&(x, y)| Dot::new("", x, y)).collect(),
            },
            Series { name: "", style: BLACK.stroke_width(2), dots: marked },
        ],
    };
    scatter.svg()
}

fn draw_stages(svg: &mut String, stages: &[Stage]) -> Drawn {
    let root = SVGBackend::with_string(svg, (640, 320)).into_drawing_area();
    let mut builder = ChartBuilder::on(&root);
    builder.margin(12).x_label_area_size(36).y_label_area_size(56);
    let mut chart = builder.build_cartesian_2d(segments(stages.len()), 0.0..100.0)?;
    let name = |at: &SegmentValue<usize>| match at {
        SegmentValue::CenterOf(index) => {
            stages.get(*index).map_or_else(String::new, |stage| stage.name.to_owned())
        }
        _ => String::new(),
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .max_light_lines(1)
        .x_labels(stages.len())
        .x_label_formatter(&name)
        .y_desc("accuracy, %")
        .label_style(("sans-serif", 15))
        .draw()?;
    chart.draw_series(stages.iter().enumerate().map(|(index, stage)| {
        let corners =
            [(SegmentValue::Exact(index), 0.0), (SegmentValue::Exact(index + 1), 100.0 * stage.accuracy())];
        let mut bar = Rectangle::new(corners, BAR.filled());
        bar.set_margin(0, 0, 40, 40);
        bar
    }))?;
    chart.draw_series(stages.iter().enumerate().map(|(index, stage)| {
        let at = (SegmentValue::CenterOf(index), (100.0 * stage.accuracy() - 9.0).max(2.0));
        Text::new(percent(stage.accuracy()), at, centred(15))
    }))?;
    Ok(root.present()?)
}

fn draw_bars(svg: &mut String, bars: &[Bar], description: &str) -> Drawn {
    let height = 80 + 22 * bars.len() as u32;
    let root = SVGBackend::with_string(svg, (820, height)).into_drawing_area();
    let values = || bars.iter().map(|(_, value)| *value);
    let (least, most) = (values().fold(0.0, f64::min), values().fold(f64::MIN_POSITIVE, f64::max));
    let mut builder = ChartBuilder::on(&root);
    builder.margin(12).x_label_area_size(40).y_label_area_size(150);
    let mut chart = builder.build_cartesian_2d(1.05 * least..1.05 * most, segments(bars.len()))?;
    let name = |at: &SegmentValue<usize>| match at {
        SegmentValue::CenterOf(row) => {
            from_top(bars, *row).map_or_else(String::new, |(label, _)| label.clone())
        }
        _ => String::new(),
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .max_light_lines(1)
        .y_labels(bars.len())
        .y_label_formatter(&name)
        .x_desc(description)
        .label_style(("sans-serif", 13))
        .draw()?;
    chart.draw_series((0..bars.len()).filter_map(|row| {
        let (_, value) = from_top(bars, row)?;
        let corners = [(0.0, SegmentValue::Exact(row)), (*value, SegmentValue::Exact(row + 1))];
        let mut bar = Rectangle::new(corners, BAR.filled());
        bar.set_margin(3, 3, 0, 0);
        Some(bar)
    }))?;
    Ok(root.present()?)
}

/// One segment for each of `count` bars; plotters' integer ranges include their end.
fn segments(count: usize) -> SegmentedCoord<RangedCoordusize> {
    (0..count.saturating_sub(1)).into_segmented()
}

/// The bar in a row counted from the bottom.
fn from_top(bars: &[Bar], row: usize) -> Option<&Bar> {
    bars.get(bars.len().checked_sub(row + 1)?)
}

fn centred(size: u32) -> TextStyle<'static> {
    use plotters::style::text_anchor::{HPos, Pos, VPos};
    TextStyle::from(("sans-serif", size).into_font()).pos(Pos::new(HPos::Center, VPos::Center)).color(&WHITE)
}
