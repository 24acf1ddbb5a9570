//! The two plots, as SVG text.

use plotters::coord::ranged1d::{SegmentValue, SegmentedCoord};
use plotters::coord::types::RangedCoordusize;
use plotters::prelude::*;

use super::{LayerBytes, Stage};
use crate::exit::{Failure, Kind};
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
    let mut svg = String::new();
    if !layers.is_empty() {
        draw_layers(&mut svg, layers).map_err(failure)?;
    }
    Ok(svg)
}

pub(super) type Drawn = Result<(), Box<dyn std::error::Error>>;

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

fn draw_layers(svg: &mut String, layers: &[LayerBytes]) -> Drawn {
    let height = 80 + 22 * layers.len() as u32;
    let root = SVGBackend::with_string(svg, (820, height)).into_drawing_area();
    let most = layers.iter().map(|layer| layer.bytes).max().unwrap_or(0).max(1) as f64 / 1e6;
    let mut builder = ChartBuilder::on(&root);
    builder.margin(12).x_label_area_size(40).y_label_area_size(150);
    let mut chart = builder.build_cartesian_2d(0.0..1.05 * most, segments(layers.len()))?;
    let name = |at: &SegmentValue<usize>| match at {
        SegmentValue::CenterOf(row) => {
            from_top(layers, *row).map_or_else(String::new, |layer| layer.node.clone())
        }
        _ => String::new(),
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .max_light_lines(1)
        .y_labels(layers.len())
        .y_label_formatter(&name)
        .x_desc("MB")
        .label_style(("sans-serif", 13))
        .draw()?;
    chart.draw_series((0..layers.len()).filter_map(|row| {
        let bytes = from_top(layers, row)?.bytes as f64 / 1e6;
        let corners = [(0.0, SegmentValue::Exact(row)), (bytes, SegmentValue::Exact(row + 1))];
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

/// The layer in a row counted from the bottom.
fn from_top(layers: &[LayerBytes], row: usize) -> Option<&LayerBytes> {
    layers.get(layers.len().checked_sub(row + 1)?)
}

fn centred(size: u32) -> TextStyle<'static> {
    use plotters::style::text_anchor::{HPos, Pos, VPos};
    TextStyle::from(("sans-serif", size).into_font()).pos(Pos::new(HPos::Center, VPos::Center)).color(&WHITE)
}

pub(super) fn failure(error: Box<dyn std::error::Error>) -> Failure {
    Failure::new(
        Kind::Data,
        format!("report: drawing failed: {error}; the checkpoint and the tables are complete"),
    )
}

pub(super) const BAR: RGBColor = RGBColor(0x2b, 0x6c, 0x99);
