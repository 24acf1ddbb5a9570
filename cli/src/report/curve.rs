//! The plot of a learning-rate sweep, as SVG text.

use eqo_train::fit::{Curve, Point};
use plotters::prelude::*;

use super::{BAR, Drawn, failure};
use crate::exit::Failure;

/// Loss, and the smoothed loss as a thick line, over the logarithm of the learning rate; empty for fewer than two points.
pub(crate) fn loss_by_rate(curve: &Curve) -> Result<String, Failure> {
    let mut svg = String::new();
    if curve.points.len() > 1 {
        draw(&mut svg, &curve.points).map_err(failure)?;
    }
    Ok(svg)
}

fn draw(svg: &mut String, points: &[Point]) -> Drawn {
    let rate = |at: usize| points[at].learning_rate;
    // One exploding step shouldn't flatten the rest: the plot ends at twice the highest smoothed start.
    let smoothed = points.iter().map(|point| point.smoothed);
    let lowest = smoothed.clone().fold(f64::INFINITY, f64::min);
    let highest = points[0].smoothed.max(lowest) * 2.0;
    let root = SVGBackend::with_string(svg, (720, 400)).into_drawing_area();
    let mut builder = ChartBuilder::on(&root);
    builder.margin(12).x_label_area_size(44).y_label_area_size(60);
    let rates = (rate(0)..rate(points.len() - 1)).log_scale();
    let mut chart = builder.build_cartesian_2d(rates, 0.0..highest)?;
    chart
        .configure_mesh()
        .max_light_lines(1)
        .x_label_formatter(&|rate| format!("{rate:.0e}"))
        .x_desc("learning rate")
        .y_desc("loss")
        .label_style(("sans-serif", 15))
        .draw()?;
    let line =
        |value: fn(&Point) -> f64| points.iter().map(move |p| (p.learning_rate, value(p).min(highest)));
    chart.draw_series(LineSeries::new(line(|p| p.loss), BAR.mix(0.35)))?;
    chart.draw_series(LineSeries::new(line(|p| p.smoothed), BAR.stroke_width(3)))?;
    Ok(root.present()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plot_has_both_lines_and_survives_a_loss_that_explodes() {
        let point = |step: i32| {
            let loss = if step == 30 { 1e30 } else { f64::from(40 - step) };
            Point { learning_rate: 1e-5 * 1.4_f64.powi(step), loss, smoothed: f64::from(40 - step) }
        };
        let svg = loss_by_rate(&Curve { points: (0..31).map(point).collect() }).unwrap();
        assert!(svg.matches("<polyline").count() >= 2 && svg.contains("stroke-width=\"3\""), "{svg}");
        assert!(svg.contains("learning rate") && !svg.contains("NaN") && !svg.contains("inf"));
        assert_eq!(loss_by_rate(&Curve::default()).unwrap(), "");
    }
}
